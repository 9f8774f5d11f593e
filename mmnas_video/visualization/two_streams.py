"""Two streams and what joins them, drawn in the manner of Auto-TSNet's Fig. 3 (Gong et al., ICCV 2021, Sec. 5.10).

The sparse stream above, the dense one below, groups of one name under one another; between them an arrow wherever the
dense stream joins the sparse one, with the kind of fusion on it. Fig. 3 shows the expansion by the height of a block;
here it is the width, as in all other pictures of groups (:mod:`.group_glyphs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mmnas_video.space import FUSIONS, STREAMS, Value, stream_values

from .arch_diagram import describe_arch
from .group_glyphs import (
    GAP,
    HEIGHT,
    LEGEND_WIDTH,
    STAR,
    GroupGlyph,
    draw_block,
    draw_bracket,
    draw_legend,
    draw_star,
    read_groups,
    split_rows,
    stack,
)
from .style import GREEN, INK, MUTED, PINK, draw_label, draw_words, drawing, new_drawing

#: Fusion -> (on its arrow, in the legend, colour). The word on the arrow tells them apart also without the colour.
FUSION_LABELS: dict[str, tuple[str, str, str]] = {
    'time_strided_sampling': ('sample', 'time-strided sampling', '#8f6fd6'),
    'time_strided_conv': ('conv', 'time-strided convolution', GREEN),
    'time_to_channel': ('T→C', 'time-to-channel', PINK),
}
#: Of a fusion that is none of these.
OTHER_FUSION = '#a5b5a0'
#: Inches: one unit of expansion (two streams are longer than one), room for an arrow, gap between stages, most of one
#: row, room for the streams' names and for the head, a fusion's label, and from one stream's blocks to the other's.
UNIT, ARROW, STAGE_GAP, ROW, NAMES, HEAD, LABEL, BETWEEN = 0.145, 0.24, 0.18, 13.0, 0.78, 0.42, (0.46, 0.17), 0.86
#: Room above the blocks (repeats), below them (kernel, stage), for the legend, and for one line of it, in inches.
_ABOVE, _BELOW, _LEGEND, _LINE = 0.34, 0.62, 0.4, 0.28


@dataclass(frozen=True)
class Column:
    """What stands above one another.

    Attributes:
        name, stage: of the groups, such as ``'s2.g1'`` and ``'s2'``.
        groups: stream -> its group.
        fusion: what joins the sparse stream after it; None where nothing can.
    """

    name: str
    stage: str
    groups: Mapping[str, GroupGlyph]
    fusion: str | None = None

    @property
    def width(self) -> float:
        """Inches of the wider block with its repeats."""
        return max(g.width + stack(g) for g in self.groups.values())

    @property
    def star(self) -> float:
        """Inches for attention, in all streams, so that the next blocks begin under one another."""
        return STAR if any(g.attention != 'none' for g in self.groups.values()) else 0.0


def read_streams(arch: Mapping[str, Value], blocks: Mapping[str, int] | None = None) -> tuple[Column, ...]:
    """The columns of a two-stream arch (or of one of its streams alone) in the order of its names; empty if it is none.

    Args:
        arch: choice name -> value, with names as :func:`~mmnas_video.space.tsnet_space` gives them.
        blocks: number of blocks per group (``'sparse.s1.g2' -> 2``), where known.
    """
    found: dict[str, dict[str, GroupGlyph]] = {}
    for stream in STREAMS:
        for g in read_groups(stream_values(arch, stream), stream_values(blocks or {}, stream)):
            found.setdefault(g.name, {})[stream] = replace(g, prefix=f'{stream}.', unit=UNIT)
    fusions = {name: arch.get(f'fusion.{name}') for name in found}
    return tuple(
        Column(name, name.split('.')[0], groups, None if fusions[name] is None else str(fusions[name]))
        for name, groups in found.items()
    )


def describe_streams(columns: Sequence[Column]) -> str:
    """Both streams in words, then where which fusion stands."""
    parts = []
    for stream in _streams(columns):
        groups = tuple(c.groups[stream] for c in columns if stream in c.groups)
        parts.append(f'{stream.capitalize()} stream: {describe_arch(groups)}')
    sites = {c.name: c.fusion for c in columns if c.fusion is not None}
    if sites:
        kinds = [kind for kind in dict.fromkeys(sites.values()) if kind != 'none']
        placed = [
            f'{_fusion(kind)[1]} after {", ".join(name for name, found in sites.items() if found == kind)}'
            for kind in kinds
        ]
        none = sum(kind == 'none' for kind in sites.values())
        parts.append(f'Fusion: {"; ".join([*placed, f"none at {none} of {len(sites)} places"])}.')
    return ' '.join(parts)


def streams_figure(columns: Sequence[Column], frames: Mapping[str, int] | None = None, title: str = '') -> Figure:
    """Draw two streams, or one alone.

    Args:
        columns: what :func:`read_streams` reads out of an arch; at least one.
        frames: stream -> frames that it is given, where known.
        title: written above.

    Returns:
        A figure. Gids: ``block:<stream>.<group>``, ``star:<stream>.<group>``, ``fusion:<group>`` for an arrow,
        ``kind:<group>`` for the label on it, and ``head`` where the streams end.
    """
    streams = _streams(columns)
    rows = split_rows(columns, _length, ROW - NAMES - HEAD)
    width = max(*(NAMES + _length(row) + HEAD for row in rows), LEGEND_WIDTH) + 0.1
    pitch = _ABOVE + HEIGHT * len(streams) + BETWEEN * (len(streams) - 1) + _BELOW
    top, legend = 0.3 if title else 0.0, _LEGEND + _LINE * any(c.fusion for c in columns)
    height = top + legend + pitch * len(rows)
    with drawing():
        figure, axes = new_drawing(width, height, title)
        draw_legend(axes, [c.groups[s] for s in streams for c in columns if s in c.groups], height - top - 0.2)
        if any(c.fusion for c in columns):
            _draw_fusion_legend(axes, columns, height - top - 0.2 - _LINE)
        for i, row in enumerate(rows):
            highest = height - top - legend - pitch * i - _ABOVE - HEIGHT
            bottoms = {stream: highest - (HEIGHT + BETWEEN) * k for k, stream in enumerate(streams)}
            _draw_names(axes, bottoms, frames or {})
            _draw_row(axes, row, bottoms, last=i + 1 == len(rows))
    return figure


def _streams(columns: Sequence[Column]) -> list[str]:
    return [stream for stream in STREAMS if any(stream in c.groups for c in columns)]


def _fusion(kind: str) -> tuple[str, str, str]:
    return FUSION_LABELS.get(kind, (kind[:6], kind, OTHER_FUSION))


def _step(column: Column, following: Column | None) -> float:
    """Inches from the end of the blocks to the next ones."""
    arrow = ARROW if column.fusion is not None else 0.0
    return GAP + column.star + arrow + (STAGE_GAP if following is not None and following.stage != column.stage else 0.0)


def _length(row: Sequence[Column]) -> float:
    return sum(c.width + _step(c, n) for c, n in zip(row, [*row[1:], None], strict=True))


def _draw_names(axes: Axes, bottoms: Mapping[str, float], frames: Mapping[str, int]) -> None:
    for stream, bottom in bottoms.items():
        text = f'{stream}\n{frames[stream]} frames' if stream in frames else stream
        draw_words(axes, 0.08, bottom + HEIGHT / 2, text, 8)


def _draw_row(axes: Axes, row: Sequence[Column], bottoms: Mapping[str, float], last: bool) -> None:
    x = first_of_stage = NAMES
    middles = {stream: bottom + HEIGHT / 2 for stream, bottom in bottoms.items()}
    for column, following in zip(row, [*row[1:], None], strict=True):
        end, step = x + column.width, _step(column, following)
        for stream, g in column.groups.items():
            draw_block(axes, g, x, bottoms[stream])
            if g.attention != 'none':
                draw_star(axes, g, end + (GAP + column.star) / 2, middles[stream])
        if column.fusion not in (None, 'none') and len(middles) == 2:
            _draw_fusion(axes, column, end + GAP / 2 + column.star + ARROW / 2, middles)
        if following is None or following.stage != column.stage:
            draw_bracket(axes, column.stage, first_of_stage, end, min(bottoms.values()) - 0.3)
            first_of_stage = end + step
        x = end + step
    for y in middles.values():
        axes.plot([NAMES - 0.08, x + (0 if last else 0.1)], [y, y], color=MUTED, linewidth=1.2, zorder=0)
    if last:
        _draw_head(axes, x, list(middles.values()))


def _draw_fusion(axes: Axes, column: Column, x: float, middles: Mapping[str, float]) -> None:
    """An arrow from the dense stream up into the sparse one, with its kind on it."""
    sparse, dense = (middles[stream] for stream in STREAMS)
    colour = _fusion(column.fusion or '')[2]
    arrow = FancyArrowPatch(
        (x, dense),
        (x, sparse + 0.02),  # the tip ends a little before
        arrowstyle='-|>',
        mutation_scale=9,
        shrinkA=0,
        shrinkB=0,
        color=colour,
        linewidth=1.6,
        zorder=2,
    )
    arrow.set_gid(f'fusion:{column.name}')
    axes.add_patch(arrow)
    axes.plot([x], [dense], marker='o', markersize=3.6, color=colour, linestyle='none', zorder=2)
    _draw_label(axes, column.fusion or '', x, sparse - HEIGHT / 2 - 0.2 - LABEL[1] / 2, f'kind:{column.name}')


def _draw_label(axes: Axes, kind: str, x: float, y: float, gid: str) -> None:
    short, _, colour = _fusion(kind)
    draw_label(axes, short, colour, (x, y), LABEL, gid, fontsize=7)


def _draw_head(axes: Axes, x: float, heights: Sequence[float]) -> None:
    low, high = min(heights) - 0.28, max(heights) + 0.28
    box = FancyBboxPatch(
        (x, low),
        HEAD - 0.14,
        high - low,
        boxstyle='round,pad=0,rounding_size=0.05',
        facecolor='none',
        edgecolor=INK,
    )
    box.set_gid('head')
    axes.add_patch(box)
    draw_words(axes, x + (HEAD - 0.14) / 2, (low + high) / 2, 'head', 8, ha='center', rotation=90)


def _draw_fusion_legend(axes: Axes, columns: Sequence[Column], y: float) -> None:
    """All kinds, and those that only this network has (that one is never used is a finding)."""
    draw_words(axes, 0.08, y, 'fusion, dense to sparse', 7.5)
    used = (c.fusion for c in columns if c.fusion is not None)
    x = 1.42
    for kind in dict.fromkeys((*FUSIONS, *used)):
        if kind != 'none':
            _draw_label(axes, kind, x + LABEL[0] / 2, y, f'legend:{kind}')
            draw_words(axes, x + LABEL[0] + 0.06, y, _fusion(kind)[1], 7.5)
            x += LABEL[0] + 0.25 + 0.058 * len(_fusion(kind)[1])
