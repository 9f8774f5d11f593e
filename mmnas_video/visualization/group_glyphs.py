"""What stands for a group of blocks in a picture: a block, the star of an attention after it, and their legend.

A block's width is the expansion, its colour the kernel, the number in it the output channels; a star is an attention
block after the group. Choice names are read as ``<stage>.<group>.<what>`` with what = kernel, expansion, channels,
attention; any of them may be missing (then it was not searched).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mmnas_video.space import Value

from .style import INK, KERNEL_COLOURS, MUTED, draw_words, kernel_colour, kernel_label, text_on

T = TypeVar('T', bound=Any)
_NAME = re.compile(r'(?P<stage>[^.]+)\.(?P<group>[^.]+)\.(?P<what>kernel|expansion|channels|attention)')
#: Inches: width of one unit of expansion, block height, gap between blocks.
UNIT, HEIGHT, GAP = 0.165, 0.6, 0.15
#: Inches that a star takes after its block.
STAR = 0.2
#: Width drawn where the expansion is not searched; the block is hatched to say so.
NO_EXPANSION = 2.25
#: Inches that the legend takes at most: two widths of expansion, two kinds of attention.
LEGEND_WIDTH = 10.0
#: Attention -> (name in the legend, filled star).
ATTENTION_STARS: dict[str, tuple[str, bool]] = {'glore': ('GloRe', True), 'nonlocal': ('non-local', False)}


@dataclass
class GroupGlyph:
    """What is drawn for one group. None where the arch does not say."""

    name: str
    stage: str
    kernel: Value = None
    expansion: float | None = None
    channels: Value = None
    attention: str = 'none'
    blocks: int | None = None
    prefix: str = ''  # of the name in gids, where a picture has several chains
    unit: float = UNIT

    @property
    def width(self) -> float:
        """Inches."""
        return self.unit * (self.expansion or NO_EXPANSION)


def read_groups(arch: Mapping[str, Value], blocks: Mapping[str, int] | None = None) -> tuple[GroupGlyph, ...]:
    """The groups of an AutoX3D-like arch in the order of its names; empty if it is none.

    Args:
        arch: choice name -> value.
        blocks: number of blocks per group (``'s1.g2' -> 2``), where known.
    """
    found: dict[str, dict[str, Value]] = {}
    for name, value in arch.items():
        match = _NAME.fullmatch(name)
        if match:
            found.setdefault(f'{match["stage"]}.{match["group"]}', {})[match['what']] = value
    groups = []
    for name, values in found.items():
        expansion = values.get('expansion')
        wide = isinstance(expansion, (int, float)) and not isinstance(expansion, bool) and 0 < expansion < 100
        groups.append(
            GroupGlyph(
                name,
                name.split('.')[0],
                values.get('kernel'),
                float(expansion) if wide else None,
                values.get('channels'),
                str(values.get('attention') or 'none'),
                (blocks or {}).get(name),
            )
        )
    return tuple(groups) if any(g.kernel is not None or g.expansion for g in groups) else ()


def split_rows(parts: Sequence[T], length: Callable[[Sequence[T]], float], most: float) -> list[list[T]]:
    """Split what has a ``stage`` into rows that fit; a stage stays whole unless it alone is longer than a row.

    Args:
        parts: from left to right.
        length: inches of some parts beside one another.
        most: inches of a row.
    """
    stages: list[list[T]] = []
    for part in parts:
        if stages and stages[-1][0].stage == part.stage and length([*stages[-1], part]) <= most:
            stages[-1].append(part)
        else:
            stages.append([part])
    rows: list[list[T]] = []
    for stage in stages:
        if rows and length(rows[-1] + stage) <= most:
            rows[-1] += stage
        else:
            rows.append(list(stage))
    return rows


def stack(g: GroupGlyph) -> float:
    """Inches by which the repeats of a group peep out behind its block, to the right and above."""
    return 0.045 * (min(g.blocks or 1, 4) - 1)


def draw_block(axes: Axes, g: GroupGlyph, x: float, bottom: float) -> None:
    """A group with its repeats behind it, its lower left corner at (``x``, ``bottom``); gid ``block:<group>``."""
    colour = kernel_colour(g.kernel)
    colours = dict(facecolor=colour, edgecolor=INK)
    # Repeats peep out behind the block, so that depth is seen before it is read.
    for k in range(min(g.blocks or 1, 4) - 1, 0, -1):
        corner = (x + 0.045 * k, bottom + 0.045 * k)
        axes.add_patch(Rectangle(corner, g.width, HEIGHT, **colours, linewidth=0.5, alpha=0.45, zorder=1))
    hatch = None if g.expansion else '//'
    block = Rectangle((x, bottom), g.width, HEIGHT, **colours, linewidth=0.8, zorder=2, hatch=hatch)
    block.set_gid(f'block:{g.prefix}{g.name}')
    axes.add_patch(block)
    centre = x + g.width / 2
    if g.channels is not None:
        draw_words(
            axes,
            centre,
            bottom + HEIGHT / 2,
            f'{g.channels}',
            8.5 * min(g.unit / UNIT, 1),  # so that three digits fit the narrowest block
            color=text_on(colour),
            fontweight='bold',
            ha='center',
            zorder=3,
        )
    if g.blocks:
        draw_words(axes, centre, bottom + HEIGHT + stack(g) + 0.1, f'×{g.blocks}', 7.5, ha='center')
    if g.kernel is not None:
        draw_words(axes, centre, bottom - 0.1, kernel_label(g.kernel), 7, ha='center')


def draw_star(axes: Axes, g: GroupGlyph, x: float, y: float) -> None:
    """The attention after a group; gid ``star:<group>``."""
    filled = ATTENTION_STARS.get(g.attention, ('', True))[1]
    axes.add_line(_star(filled, x, y, gid=f'star:{g.prefix}{g.name}'))


def _star(filled: bool, x: float, y: float, gid: str) -> Line2D:
    star = Line2D(
        [x],
        [y],
        marker='*',
        markersize=12,
        linestyle='none',
        color='#b3261e',
        markerfacecolor='#e5484d' if filled else '#ffffff',
        markeredgewidth=1.0,
        zorder=4,
    )
    star.set_gid(gid)
    return star


def draw_bracket(axes: Axes, stage: str, left: float, right: float, y: float) -> None:
    """A stage's name under its blocks."""
    axes.plot([left, left, right, right], [y + 0.07, y, y, y + 0.07], color=MUTED, linewidth=1.0)
    match = re.fullmatch(r's(\d+)', stage)
    draw_words(axes, (left + right) / 2, y - 0.13, f'stage {match[1]}' if match else stage, 8, ha='center')


def draw_legend(axes: Axes, groups: Sequence[GroupGlyph], y: float) -> None:
    """All six kernels (that one is never used is a finding), the scale of widths, the stars in use."""
    x = 0.08
    draw_words(axes, x, y, 'kernel t×s²', 7.5)
    x += 0.74
    for kernel, colour in KERNEL_COLOURS.items():
        axes.add_patch(Rectangle((x, y - 0.08), 0.2, 0.16, facecolor=colour, edgecolor=INK, linewidth=0.5))
        draw_words(axes, x + 0.25, y, kernel_label(kernel), 7.5)
        x += 0.62
    x += 0.1
    draw_words(axes, x, y, 'width = expansion', 7.5)
    x += 1.08
    ratios, unit = [g.expansion for g in groups if g.expansion], groups[0].unit
    for ratio in dict.fromkeys((min(ratios), max(ratios)) if ratios else ()):
        axes.plot([x, x, x + unit * ratio, x + unit * ratio], [y + 0.06, y, y, y + 0.06], color=INK, linewidth=1.0)
        draw_words(axes, x + unit * ratio + 0.05, y, f'{ratio:g}', 7.5)
        x += unit * ratio + 0.42
    for kind in dict.fromkeys(g.attention for g in groups if g.attention != 'none'):
        label, filled = ATTENTION_STARS.get(kind, (kind, True))
        axes.add_line(_star(filled, x + 0.08, y, gid=f'legend:{kind}'))
        draw_words(axes, x + 0.22, y, label, 7.5)
        x += 0.8
