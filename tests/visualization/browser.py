"""A headless Chromium, and what a reader sees in it."""

import os
import shutil

import pytest

INSTALL = 'apt-get install chromium chromium-driver'


def start():
    """A headless Chromium; skips the test where there is none, but fails it in CI."""
    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    driver = shutil.which('chromedriver')
    if not (chromium and driver):
        text = f'found no Chromium with its driver: {INSTALL}'
        pytest.fail(text) if os.environ.get('CI') else pytest.skip(text)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def resize(browser, width, height=850, dark=False, touch=False):
    """The size of the window in CSS pixels, and the reader's own colour scheme."""
    metrics = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': touch}
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
    scheme = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
    browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [scheme]})


#: Every piece of text that is shown: its words, its size in pixels, and the contrast (WCAG 2) with what lies behind it.
#: In a picture that is the last shape before it in whose box its middle lies.
TEXTS = """
const parse = (text) => {
  const numbers = (text.match(/[\\d.]+/g) || []).map(Number);
  return text === 'none' || text === 'transparent' ? [0, 0, 0, 0] : [...numbers.slice(0, 3), numbers[3] ?? 1];
};
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const luminance = (colour) => {
  const [r, g, b] = colour.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
};
const inside = (box, x, y) => box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
const found = [];
for (const svg of document.querySelectorAll('svg:not(.points)')) {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  if (!scale) continue;
  const paper = behind(svg.parentElement);
  const shapes = [...svg.querySelectorAll('path, rect')].filter((shape) => !shape.closest('defs, clipPath'));
  const boxes = shapes.map((shape) => shape.getBoundingClientRect());
  for (const text of svg.querySelectorAll('text')) {
    if (!text.textContent.trim()) continue;
    const style = getComputedStyle(text), box = text.getBoundingClientRect();
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    let ground = paper;
    shapes.forEach((shape, i) => {
      const look = getComputedStyle(shape), before = shape.compareDocumentPosition(text) & 4;
      if (!before || look.fill === 'none' || !inside(boxes[i], x, y)) return;
      const fill = parse(look.fill);
      fill[3] *= Number(look.fillOpacity) * Number(look.opacity);
      ground = over(fill, ground);
    });
    const words = text.textContent.trim();
    found.push(['svg', words, parseFloat(style.fontSize) * scale, contrast(parse(style.fill), ground)]);
  }
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
  if (!words || element.closest('svg, script, textarea') || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  found.push(['html', words, parseFloat(style.fontSize), contrast(parse(style.color), behind(element))]);
}
return found;
"""


def shown_texts(browser):
    """[(``'svg'`` or ``'html'``, words, pixels, contrast)] of all that is shown."""
    return [tuple(found) for found in browser.execute_script(TEXTS)]


def console(browser):
    """What the browser has complained of since the last call."""
    return [entry['message'] for entry in browser.get_log('browser')]
