"""The network that was chosen, drawn as AutoX3D's Fig. 5 draws it (Jiang et al., WACV 2022, Sec. 5.4).

One block per group, from left to right; its width is the expansion, its colour the kernel, the number in it
the output channels; a star is an attention block after the group. Choice names are read as
``<stage>.<group>.<what>`` with what = kernel, expansion, channels, attention; any of them may be missing
(then it was not searched). Spaces whose names read otherwise are drawn as a grid (:mod:`.choice_grid`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mmnas_video.space import Value

from .style import INK, KERNEL_COLOURS, MUTED, drawing, kernel_colour, kernel_label, new_drawing, text_on

_NAME = re.compile(r'(?P<stage>[^.]+)\.(?P<group>[^.]+)\.(?P<what>kernel|expansion|channels|attention)')
#: Inches: width of one unit of expansion, block height, gap between blocks, gap between stages, most of one
#: row.
UNIT, HEIGHT, GAP, STAGE_GAP, ROW = 0.165, 0.6, 0.15, 0.18, 12.2
#: Width drawn where the expansion is not searched; the block is hatched to say so.
NO_EXPANSION = 2.25
#: Inches that the legend takes at most: two widths of expansion, two kinds of attention.
LEGEND_WIDTH = 10.0
#: Room above a block (repeats), below it (kernel, stage) and for the legend, in inches.
_ABOVE, _BELOW, _LEGEND = 0.34, 0.62, 0.42
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
    width: float = field(init=False, default=0.0)  # inches

    def __post_init__(self) -> None:
        self.width = UNIT * (self.expansion if self.expansion else NO_EXPANSION)


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


def describe_arch(groups: tuple[GroupGlyph, ...]) -> str:
    """The groups in words, as Sec. 5.4 does: kernels used, expansions, where attention stands."""
    parts = []
    kernels = [g.kernel for g in groups if g.kernel is not None]
    if kernels:
        counts = sorted({k: kernels.count(k) for k in kernels}.items(), key=lambda item: (-item[1], str(item[0])))
        parts.append(
            'Kernels: ' + ', '.join(f'{kernel_label(k)} in {n}' for k, n in counts) + f' of {len(groups)} groups.'
        )
    ratios = [g.expansion for g in groups if g.expansion]
    if ratios:
        parts.append(f'Expansion: {min(ratios):g} to {max(ratios):g}, mean {sum(ratios) / len(ratios):.2f}.')
    at = {kind: [g.name for g in groups if g.attention == kind] for kind in dict.fromkeys(g.attention for g in groups)}
    placed = [
        f'{ATTENTION_STARS.get(k, (k, True))[0]} after {", ".join(names)}' for k, names in at.items() if k != 'none'
    ]
    parts.append('Attention: ' + ('; '.join(placed) if placed else 'none') + '.')
    return ' '.join(parts)


def _rows(groups: tuple[GroupGlyph, ...]) -> list[list[GroupGlyph]]:
    """Split into rows that fit; a stage stays whole unless it alone is longer than a row."""
    stages: list[list[GroupGlyph]] = []
    for g in groups:
        if stages and stages[-1][0].stage == g.stage and _length([*stages[-1], g]) <= ROW:
            stages[-1].append(g)
        else:
            stages.append([g])
    rows: list[list[GroupGlyph]] = []
    for stage in stages:
        if rows and _length(rows[-1] + stage) <= ROW:
            rows[-1] += stage
        else:
            rows.append(list(stage))
    return rows


def _stack(g: GroupGlyph) -> float:
    """Inches by which the repeats of a group peep out behind its block, to the right and above."""
    return 0.045 * (min(g.blocks or 1, 4) - 1)


def _step(g: GroupGlyph, following: GroupGlyph | None) -> float:
    """Inches from the right edge of a block to the next block."""
    star = 0.2 if g.attention != 'none' else 0.0
    return _stack(g) + GAP + star + (STAGE_GAP if following is not None and following.stage != g.stage else 0.0)


def _length(row: list[GroupGlyph]) -> float:
    return sum(g.width + _step(g, n) for g, n in zip(row, [*row[1:], None], strict=True))


def arch_figure(arch: Mapping[str, Value], blocks: Mapping[str, int] | None = None, title: str = '') -> Figure:
    """Draw an AutoX3D-like arch.

    Args:
        arch: choice name -> value.
        blocks: number of blocks per group, where known.
        title: written above.

    Returns:
        A figure. Every block is a patch with the gid ``block:<group>``, every star a line with
        ``star:<group>``.

    Raises:
        ValueError: the names are not those of an AutoX3D-like space (see :func:`read_groups`).
    """
    groups = read_groups(arch, blocks)
    if not groups:
        raise ValueError(f'arch: found the names {list(arch)[:3]}, expected <stage>.<group>.<kernel|expansion|...>')
    rows = _rows(groups)
    width = max(*(_length(row) for row in rows), LEGEND_WIDTH) + 0.1
    pitch = _ABOVE + HEIGHT + _BELOW
    top = 0.3 if title else 0.0
    height = top + _LEGEND + pitch * len(rows)
    with drawing():
        figure, axes = new_drawing(width, height, title)
        _draw_legend(axes, groups, height - top - 0.2)
        for i, row in enumerate(rows):
            _draw_row(axes, row, height - top - _LEGEND - pitch * i - _ABOVE - HEIGHT, more=i + 1 < len(rows))
    return figure


def _draw_row(axes: Axes, row: list[GroupGlyph], bottom: float, more: bool) -> None:
    x, middle = 0.08, bottom + HEIGHT / 2
    first_of_stage = x
    for g, following in zip(row, [*row[1:], None], strict=True):
        _draw_block(axes, g, x, bottom)
        right, step = x + g.width, _step(g, following)
        if following is not None or more:
            axes.plot([right, right + step], [middle, middle], color=MUTED, linewidth=1.2, zorder=0)
        if g.attention != 'none':
            _draw_star(axes, g, right + _stack(g) + (GAP + 0.2) / 2, middle)
        if following is None or following.stage != g.stage:
            _draw_bracket(axes, g.stage, first_of_stage, right, bottom - 0.3)
            first_of_stage = right + step
        x = right + step


def _draw_block(axes: Axes, g: GroupGlyph, x: float, bottom: float) -> None:
    colour = kernel_colour(g.kernel)
    # Repeats peep out behind the block, so that depth is seen before it is read.
    for k in range(min(g.blocks or 1, 4) - 1, 0, -1):
        axes.add_patch(
            Rectangle(
                (x + 0.045 * k, bottom + 0.045 * k),
                g.width,
                HEIGHT,
                facecolor=colour,
                edgecolor=INK,
                linewidth=0.5,
                alpha=0.45,
                zorder=1,
            )
        )
    block = Rectangle(
        (x, bottom),
        g.width,
        HEIGHT,
        facecolor=colour,
        edgecolor=INK,
        linewidth=0.8,
        zorder=2,
        hatch=None if g.expansion else '//',
    )
    block.set_gid(f'block:{g.name}')
    axes.add_patch(block)
    centre = x + g.width / 2
    if g.channels is not None:
        axes.text(
            centre,
            bottom + HEIGHT / 2,
            f'{g.channels}',
            color=text_on(colour),
            fontsize=8.5,
            fontweight='bold',
            ha='center',
            va='center',
            zorder=3,
        )
    if g.blocks:
        axes.text(
            centre,
            bottom + HEIGHT + _stack(g) + 0.1,
            f'×{g.blocks}',
            color=INK,
            fontsize=7.5,
            ha='center',
            va='center',
        )
    if g.kernel is not None:
        axes.text(centre, bottom - 0.1, kernel_label(g.kernel), color=INK, fontsize=7, ha='center', va='center')


def _draw_star(axes: Axes, g: GroupGlyph, x: float, y: float) -> None:
    filled = ATTENTION_STARS.get(g.attention, ('', True))[1]
    axes.add_line(_star(filled, x, y, gid=f'star:{g.name}'))


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


def _draw_bracket(axes: Axes, stage: str, left: float, right: float, y: float) -> None:
    axes.plot([left, left, right, right], [y + 0.07, y, y, y + 0.07], color=MUTED, linewidth=1.0)
    match = re.fullmatch(r's(\d+)', stage)
    axes.text(
        (left + right) / 2,
        y - 0.13,
        f'stage {match[1]}' if match else stage,
        color=INK,
        fontsize=8,
        ha='center',
        va='center',
    )


def _draw_legend(axes: Axes, groups: tuple[GroupGlyph, ...], y: float) -> None:
    """All six kernels (that one is never used is a finding), the scale of widths, the stars in use."""
    x = 0.08
    axes.text(x, y, 'kernel t×s²', color=INK, fontsize=7.5, va='center')
    x += 0.74
    for kernel, colour in KERNEL_COLOURS.items():
        axes.add_patch(Rectangle((x, y - 0.08), 0.2, 0.16, facecolor=colour, edgecolor=INK, linewidth=0.5))
        axes.text(x + 0.25, y, kernel_label(kernel), color=INK, fontsize=7.5, va='center')
        x += 0.62
    x += 0.1
    axes.text(x, y, 'width = expansion', color=INK, fontsize=7.5, va='center')
    x += 1.08
    ratios = [g.expansion for g in groups if g.expansion]
    for ratio in dict.fromkeys((min(ratios), max(ratios)) if ratios else ()):
        axes.plot([x, x, x + UNIT * ratio, x + UNIT * ratio], [y + 0.06, y, y, y + 0.06], color=INK, linewidth=1.0)
        axes.text(x + UNIT * ratio + 0.05, y, f'{ratio:g}', color=INK, fontsize=7.5, va='center')
        x += UNIT * ratio + 0.42
    for kind in dict.fromkeys(g.attention for g in groups if g.attention != 'none'):
        label, filled = ATTENTION_STARS.get(kind, (kind, True))
        axes.add_line(_star(filled, x + 0.08, y, gid=f'legend:{kind}'))
        axes.text(x + 0.22, y, label, color=INK, fontsize=7.5, va='center')
        x += 0.8
