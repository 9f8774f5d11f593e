"""What every figure shares: colours that survive colour blindness and a dark page, and figures without
pyplot.

pyplot keeps global state and picks a GUI backend; a search that draws a figure per epoch would leak figures
through it. Here a figure is an object that is drawn by the Agg canvas and then forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

#: Text and lines. ``figure_io`` turns it into ``currentColor`` in a page, so it must be used for nothing
#: else.
INK = '#1f2328'
#: Paper under a figure. ``figure_io`` turns it into ``none`` in a page.
PAPER = '#fefefe'
#: Behind a legend. ``figure_io`` turns it into the card's colour in a page.
CARD = '#fdfdfd'
#: Grid lines and remarks: a grey that reads on white and on near-black (4.1 : 1 and 4.6 : 1).
MUTED = '#7b848f'

#: Series colours: Okabe and Ito (2008), "Color universal design", the ones that read on both page colours.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00'
#: The blue of lines and points. ``figure_io`` makes it lighter in a dark page, where BLUE has a contrast of 3.4; it
#: must not be used where words stand on it.
LINE = '#0073b3'
SERIES: tuple[str, ...] = (LINE, ORANGE, GREEN, PINK, SKY, AMBER)

#: Kernel colours: the hue says how far it looks in time (grey 1, blue 3, orange 5 frames), the shade how far
#: in space (light 3x3, dark 5x5). Grey, blue and orange stay apart for all common colour deficiencies.
KERNEL_COLOURS: dict[str, str] = {
    't1_s3': '#c9ced4',
    't1_s5': '#6b737c',
    't3_s3': '#8cc2ee',
    't3_s5': '#1b68ad',
    't5_s3': '#fcc27c',
    't5_s5': '#c55a00',
}
#: From improbable to certain. Opaque, so that :func:`text_on` holds on a light page and on a dark one.
SHADES = ('#dfeaf4', '#0072b2')
#: A kernel that is none of the six (or is not searched).
OTHER_KERNEL = '#a5b5a0'

_RC = {
    'svg.fonttype': 'none',  # text stays text: small, searchable, and it takes the page's colour
    'svg.hashsalt': 'mmnas-video',  # the same data gives the same bytes
    'font.family': 'sans-serif',
    'font.size': 9.0,
    'axes.titlesize': 9.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': 8.5,
    'xtick.labelsize': 8.0,
    'ytick.labelsize': 8.0,
    'legend.fontsize': 8.0,
    'legend.framealpha': 0.9,
    'lines.linewidth': 1.6,
    'text.parse_math': False,  # names come from files: a '$' in one is a dollar sign
    'path.simplify': True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which figures are made and saved; the caller's own are restored."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def new_figure(width: float, height: float, layout: str | None = 'constrained') -> Figure:
    """An empty figure of ``width`` x ``height`` inches with an Agg canvas."""
    figure = Figure(figsize=(width, height), facecolor=PAPER, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str = '', xlabel: str = '', ylabel: str = '') -> Axes:
    """Quiet axes: no box, a light grid, ink in the page's colour."""
    axes.set_title(title, color=INK)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    axes.set_facecolor('none')
    axes.tick_params(colors=INK, width=0.6, length=3)
    axes.grid(True, color=MUTED, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ('left', 'bottom'))
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
    return axes


def legend(axes: Axes, **options: object) -> None:
    """A legend of the labelled artists, if there are any."""
    if axes.get_legend_handles_labels()[0]:
        look = dict(labelcolor=INK, fancybox=False, facecolor=CARD, edgecolor=MUTED)
        made = axes.legend(**look, **options)
        made.get_frame().set_linewidth(0.6)
        for text, name in zip(made.get_texts(), shortened([text.get_text() for text in made.get_texts()]), strict=True):
            text.set_text(name)


def shortened(names: Sequence[str], most: int = 36) -> list[str]:
    """Names for a legend, where longer ones leave the plot no room: without what long ones begin with alike, so that
    they are still told apart."""
    long = [name for name in names if len(name) > most]
    differ = (i for i, letters in enumerate(zip_longest(*long)) if len({*letters}) > 1)
    alike = max(next(differ, 0) - 6, 0)
    kept = [name if len(name) <= most else f'{"…" * (alike > 0)}{name[alike:]}' for name in names]
    return [name if len(name) <= most else f'{name[: most - 1]}…' for name in kept]


def kernel_colour(kernel: object) -> str:
    """Fill colour of a kernel type; a neutral one where the kernel is unknown."""
    return KERNEL_COLOURS.get(str(kernel), OTHER_KERNEL)


def kernel_label(kernel: object) -> str:
    """``'t3_s5'`` as a reader writes it: ``'3×5²'``."""
    match = re.fullmatch(r't(\d+)_s(\d+)', str(kernel))
    return f'{match[1]}×{match[2]}²' if match else str(kernel)


def shade(ends: tuple[str, str], share: float) -> str:
    """The colour at ``share`` (0..1, clipped) of the way from one to the other."""
    share = min(max(share, 0.0), 1.0)
    pairs = [[int(end[i : i + 2], 16) for end in ends] for i in (1, 3, 5)]
    return '#' + ''.join(f'{round(low + share * (high - low)):02x}' for low, high in pairs)


def text_on(colour: str) -> str:
    """Black or white, whichever reads better on ``colour`` (WCAG 2 relative luminance)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return '#000000' if (luminance + 0.05) ** 2 > 1.05 * 0.05 else '#ffffff'


def draw_words(axes: Axes, x: float, y: float, text: str, size: float, **more: Any) -> None:
    """Words whose middle is at height ``y``; they begin at ``x``, unless ``ha`` says otherwise.

    Args:
        x, y: in inches.
        size: in points.
        more: as of matplotlib's ``text``.
    """
    axes.text(x, y, text, fontsize=size, **{'color': INK, 'va': 'center', **more})


def draw_label(
    axes: Axes, text: str, colour: str, at: tuple[float, float], size: tuple[float, float], gid: str, fontsize: float
) -> None:
    """A word on a filled pill.

    Args:
        at, size: of its middle (x, y), and (width, height), in inches.
    """
    (x, y), (width, height) = at, size
    pill = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle=f'round,pad=0,rounding_size={height / 2}',
        facecolor=colour,
        edgecolor=INK,
        linewidth=0.5,
        zorder=3,
    )
    pill.set_gid(gid)
    axes.add_patch(pill)
    draw_words(axes, x, y, text, fontsize, color=text_on(colour), ha='center', zorder=4)


def title_width(title: str) -> float:
    """Inches that a drawing's title takes at most, with what is left free beside it."""
    return 0.2 + 0.095 * len(title) if title else 0.0


def new_drawing(width: float, height: float, title: str = '') -> tuple[Figure, Axes]:
    """A figure to draw in by inches from its lower left corner, with a title in its upper left one.

    Args:
        width, height: inches.
    """
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    if title:
        draw_words(axes, 0.08, height - 0.18, title, 10, fontweight='bold')
    return figure, axes
