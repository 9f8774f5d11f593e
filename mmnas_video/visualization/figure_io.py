"""Figures as files and as parts of a page."""

from __future__ import annotations

import io
import math
import os
import re
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from mmnas_video.space import write_atomic, write_text_atomic

from .style import CARD, INK, LINE, MUTED, PAPER, drawing

#: What a page puts in the place of a colour.
OF_PAGE = {INK: 'currentColor', PAPER: 'none', CARD: 'var(--card)', MUTED: 'var(--soft)', LINE: 'var(--blue)'}
#: Pixels per inch of the PNG files: sharp on a slide, about 100 KB.
PNG_DPI = 144
#: Pixels that the smallest words of a figure have in a page at least: below that it is scrolled, not shrunk.
LEAST_TEXT = 9.0


def svg_text(figure: Figure) -> str:
    """The figure as an SVG document: the same bytes for the same figure (no date, fixed ids)."""
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format='svg', facecolor=PAPER)
    figure.set_layout_engine('none')  # the layout is found: a PNG of the same figure need not find it again
    text = buffer.getvalue().decode('utf-8')
    text = re.sub(r'<metadata>.*?</metadata>\s*', '', text, flags=re.S)
    # matplotlib names six fonts per text; the reader's own sans-serif is what is wanted, and it halves the
    # file.
    return re.sub(r"'DejaVu Sans'[^;\"]*", 'system-ui, sans-serif', text)


def inline_svg(text: str, prefix: str, label: str) -> str:
    """An ``<svg>`` element for a page: takes the page's text colour, lies on its background.

    Args:
        text: what :func:`svg_text` gave.
        prefix: put before every id, because all the figures of a page share one name space. Letters, digits,
            '-'.
        label: what a screen reader says. Plain text; it is escaped here.

    Returns:
        The element, without width and height (its viewBox keeps the proportions; the page gives the width).
    """
    text = text[text.index('<svg') :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'url\(#([^)]+)\)', rf'url(#{prefix}-\1)', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    for colour, of_page in OF_PAGE.items():
        text = text.replace(colour, of_page)
    text = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r'\1', text, count=1)
    text = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r'\1', text, count=1)
    return text.replace('<svg', f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1).strip()


def readable_width(figure: Figure) -> int:
    """The width in CSS pixels at which the smallest words of a figure are :data:`LEAST_TEXT` pixels high.

    Rounded down: a pixel more than a phone has, and each curve gets a scroll bar.
    """
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    smallest = min(sizes, default=9.0) * 96 / 72
    return math.floor(96 * figure.get_figwidth() * LEAST_TEXT / smallest)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write the figure to ``path``; the suffix (``.svg``, ``.png``) says how. Atomic, as all that a search
    leaves.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix == '.svg':
        write_text_atomic(path, svg_text(figure))
    elif path.suffix == '.png':
        with io.BytesIO() as file, drawing():
            figure.savefig(file, format='png', dpi=PNG_DPI, facecolor='white', metadata={'Software': None})
            write_atomic(path, file.getvalue())
    else:
        raise ValueError(f'figure file {str(path)!r}: found the suffix {path.suffix!r}, expected .svg or .png')
    return path
