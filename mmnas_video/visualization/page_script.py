"""The script of the report page: points that answer, text that copies. The page reads without it."""

import base64
import hashlib

SCRIPT = """
'use strict';
(() => {
  const block = document.getElementById('networks');
  const packed = block ? JSON.parse(block.textContent) : {};
  const unpacked = new Map();
  const NEAR = 18;  // pixels between a pointer and the point it means

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    return JSON.parse(await new Response(stream).text());
  }
  function network(key) {
    if (!unpacked.has(key)) unpacked.set(key, unpack(packed[key]));
    return unpacked.get(key);
  }
  function picture(data, prefix) {  // two may be seen at once: each has ids of its own
    const text = data.svg.replace(/(id="|#)seen-/g, `$1${prefix}-`);
    const parsed = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
    return document.importNode(parsed, true);
  }
  function add(parent, tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text) made.textContent = text;
    parent.append(made);
    return made;
  }
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = add(document.body, 'textarea');
      area.value = text;
      area.select();
      const done = document.execCommand('copy');
      area.remove();
      return done;
    }
  }
  const said = (done) => done ? 'Copied' : 'The browser refused; select the text and copy it';

  // ---------------------------------------------------------------- the note at a point
  const tip = add(document.body, 'div', 'tip');
  tip.hidden = true;
  tip.setAttribute('aria-hidden', 'true');  // the point's own label says it
  let active = null;

  function place(point) {
    const at = point.getBoundingClientRect(), box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - box.width / 2), innerWidth - box.width - 8);
    const above = at.top - box.height - 8;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above >= 8 ? above : Math.min(at.bottom + 8, Math.max(8, innerHeight - box.height - 8))}px`;
  }
  async function hover(point) {
    if (point === active) return;
    leave();
    active = point;
    point.classList.add('on');
    tip.replaceChildren();
    add(tip, 'b', '', point.getAttribute('aria-label'));
    tip.hidden = false;
    place(point);
    if (!point.dataset.n) return;
    const data = await network(point.dataset.n);
    if (point !== active || tip.hidden) return;
    if (data.svg) add(tip, 'div', 'small-plot').append(picture(data, 'tip'));
    add(tip, 'p', '', data.words || data.values.join(', '));
    place(point);
  }
  function leave() {
    if (active) active.classList.remove('on');
    active = null;
    tip.hidden = true;
  }

  // ---------------------------------------------------------------- the network of a point
  async function open(point) {
    if (!point.dataset.n) return;
    const box = point.closest('.explore').querySelector('.detail');
    const data = await network(point.dataset.n);
    leave();
    document.querySelectorAll('.points .open').forEach((other) => other.classList.remove('open'));
    point.classList.add('open');
    box.querySelector('h3').textContent = point.getAttribute('aria-label');
    const plot = box.querySelector('.plot');
    plot.replaceChildren(...(data.svg ? [picture(data, 'open')] : []));
    plot.style.setProperty('--min', `${data.width[0]}px`);
    plot.style.setProperty('--w', `${Math.max(...data.width)}px`);
    box.querySelector('.words').textContent = data.words || data.values.join(', ');
    box.querySelector('.differs').textContent = data.differs;
    box.querySelector('pre').textContent = data.json;
    box.querySelector('.said').textContent = '';
    box.querySelector('.copy').onclick = async () => {
      box.querySelector('.said').textContent = said(await copy(data.json));
    };
    const close = () => {
      box.hidden = true;
      point.classList.remove('open');
      point.focus();
    };
    box.querySelector('.close').onclick = close;
    box.onkeydown = (event) => { if (event.key === 'Escape') close(); };
    box.hidden = false;
    box.focus({preventScroll: true});
    box.scrollIntoView({block: 'nearest'});
  }

  // ---------------------------------------------------------------- pointer and keys
  for (const svg of document.querySelectorAll('svg.points')) {
    const points = [...svg.querySelectorAll('circle')];
    if (!points.length) continue;
    const height = (point) => -Number(point.getAttribute('cy'));
    const byScore = [...points].sort((a, b) => height(a) - height(b));
    const nearest = (event) => {
      let best = null, least = NEAR * NEAR;
      for (const point of points) {
        const box = point.getBoundingClientRect();
        const away = (event.clientX - box.left - box.width / 2) ** 2 + (event.clientY - box.top - box.height / 2) ** 2;
        if (away < least) [best, least] = [point, away];
      }
      return best;
    };
    const tabStop = (point) => points.forEach((other) => { other.tabIndex = other === point ? 0 : -1; });
    const step = (order, from, by) => order[Math.min(Math.max(order.indexOf(from) + by, 0), order.length - 1)];
    tabStop(byScore[byScore.length - 1]);
    const area = svg.parentElement;
    area.addEventListener('pointermove', (event) => {
      const point = nearest(event);
      area.style.cursor = point ? 'pointer' : '';
      if (point) hover(point); else if (active && points.includes(active)) leave();
    });
    area.addEventListener('pointerleave', leave);
    area.addEventListener('click', (event) => {
      const point = nearest(event);
      if (point) { tabStop(point); open(point); }
    });
    // On the box, not on the <svg>: with such a listener that would be a stop of the Tab key itself.
    area.addEventListener('focusin', (event) => {
      if (event.target.matches('circle:focus-visible')) hover(event.target);
    });
    area.addEventListener('focusout', leave);
    area.addEventListener('keydown', (event) => {
      const from = event.target;
      if (!points.includes(from)) return;
      const moves = {
        ArrowRight: () => step(points, from, 1), ArrowLeft: () => step(points, from, -1),
        ArrowUp: () => step(byScore, from, 1), ArrowDown: () => step(byScore, from, -1),
        Home: () => points[0], End: () => points[points.length - 1],
      };
      if (event.key in moves) {
        const to = moves[event.key]();
        tabStop(to);
        to.focus();
      } else if (event.key === 'Enter' || event.key === ' ') {
        open(from);
      } else if (event.key === 'Escape') {
        leave();
      } else {
        return;
      }
      event.preventDefault();
    });
  }
  addEventListener('scroll', leave, {passive: true});

  // ---------------------------------------------------------------- commands and files
  for (const text of document.querySelectorAll('pre.copied')) {
    const button = add(text.parentElement, 'button', 'over', 'Copy');
    button.type = 'button';
    button.onclick = async () => {
      button.textContent = (await copy(text.textContent)) ? 'Copied' : 'Refused';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    };
  }
})();
"""

#: What the page's policy allows to run: this script and no other.
SCRIPT_HASH = 'sha256-' + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
