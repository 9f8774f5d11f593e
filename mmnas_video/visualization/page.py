"""The parts of a self-contained HTML page. What comes from a file is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .page_css import CSS
from .page_script import SCRIPT, SCRIPT_HASH

_SUPERSCRIPT = str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻')
#: Inches: figures that are narrower stand two in a row.
SMALL = 5.0


def text(value: object) -> str:
    """Any value as escaped text."""
    return escape(str(value), quote=True)


def page(title: str, body: str, data: str = '') -> str:
    """A whole document: nothing that is fetched, no script but ours (the policy says so to the browser too).

    Args:
        title: plain text.
        body: HTML.
        data: data blocks that the script reads.
    """
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src '{SCRIPT_HASH}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n'
        f'<body>\n<main>\n{body}\n</main>\n{data}<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


def section(title: str, body: str) -> str:
    """A titled card; nothing if there is nothing in it."""
    return f'<section>\n<h2>{text(title)}</h2>\n{body}\n</section>\n' if body else ''


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A definition list of (name, plain text); empty values are left out."""
    items = ''.join(f'<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>' for name, value in pairs if value)
    items = items.replace('SearchHook</dd>', '<wbr>SearchHook</dd>')  # where a narrow column may break it
    return f'<dl class="facts">{items}</dl>'


def note(title: str, lines: Sequence[str]) -> str:
    """A box of remarks; nothing if there are none."""
    if not lines:
        return ''
    return (
        f'<div class="note"><b>{text(title)}</b><ul>'
        + ''.join(f'<li>{text(line)}</li>' for line in lines)
        + '</ul></div>\n'
    )


def figure(svg: str, caption: str, width: float, min_width: int = 0) -> str:
    """A picture with its caption.

    Args:
        svg: an ``<svg>`` element (:func:`.figure_io.inline_svg`) and what lies over it, not escaped.
        caption: plain text.
        width: its natural width in inches. Small figures may grow to fill a column, others are drawn no wider.
        min_width: pixels below which it is scrolled rather than shrunk, so that a phone can read it.
    """
    most = max(round(width * 96 * (1.35 if width < SMALL else 1)), min_width)
    return (
        f'<figure style="--w:{most}px;--min:{min_width}px"><div class="scroll"><div class="plot">{svg}</div></div>'
        f'<figcaption>{text(caption)}</figcaption></figure>\n'
    )


def command(shown: str) -> str:
    """A command line or a file that can be copied."""
    return f'<div class="code"><pre class="copied">{text(shown)}</pre></div>'


def big(number: int) -> str:
    """An exact integer for reading: with separators while short, else ``2.4 × 10³²`` (no-break spaces)."""
    if number < 10**7:
        return f'{number:,}'
    exponent = len(str(number)) - 1
    mantissa = round(number / 10**exponent, 1)
    if mantissa >= 10:
        mantissa, exponent = mantissa / 10, exponent + 1
    return f'{mantissa:.1f}\u00a0×\u00a010{str(exponent).translate(_SUPERSCRIPT)}'


def mega(number: float | None, digits: int = 2) -> str:
    """Millions; an en dash where unknown."""
    return '–' if number is None else f'{number / 1e6:,.{digits}f}'


def percent(share: float | None) -> str:
    """A share of 0..1 in per cent; an en dash where unknown."""
    return '–' if share is None else f'{100 * share:.1f}'


def bounds(budget: Any) -> str:
    """A budget as a reader wants it: ``{'macs': [None, 12e6]}`` is ``MACs ≤ 12.00 M``."""
    if not isinstance(budget, Mapping):
        return plain(budget)
    parts = []
    for name, bound in budget.items():
        low, high = bound if isinstance(bound, (list, tuple)) and len(bound) == 2 else (None, bound)
        label, show = _BOUNDS.get(name, (name, plain))
        if low is not None or high is not None:
            left = f'{show(low)} ≤ ' if low is not None else ''
            right = f' ≤ {show(high)}' if high is not None else ''
            parts.append(f'{left}{label}{right}')
    return ', '.join(parts)


def _millions(value: Any) -> str:
    return f'{mega(value)}\u00a0M' if isinstance(value, (int, float)) else plain(value)


def _milliseconds(value: Any) -> str:
    return f'{plain(value)}\u00a0ms'


#: A bound of a budget -> how it is called, and its figures.
_BOUNDS = {
    'macs': ('MACs', _millions),
    'params': ('parameters', _millions),
    'latency_ms': ('latency', _milliseconds),
}


def plain(value: Any) -> str:
    """A JSON value as a reader wants it: numbers with separators, objects as ``key value``, lists too."""
    if value is None or value == {} or value == []:
        return ''
    if isinstance(value, Mapping):
        return ', '.join(f'{key} {plain(item) or "–"}' for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ', '.join(plain(item) or '–' for item in value)
    if isinstance(value, float):
        return f'{value:.6g}'
    large = isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**4
    return f'{value:,}' if large else str(value)
