"""The network that was chosen, drawn as AutoX3D's Fig. 5 draws it (Jiang et al., WACV 2022, Sec. 5.4).

One block per group, from left to right, as :mod:`.group_glyphs` draws it. Spaces that have no diagram of their own are
drawn as a grid (:mod:`.choice_grid`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmnas_video.space import Value

from .group_glyphs import (
    ATTENTION_STARS,
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
from .style import MUTED, drawing, kernel_label, new_drawing

#: Inches: gap between stages, most of one row.
STAGE_GAP, ROW = 0.18, 12.2
#: Room above a block (repeats), below it (kernel, stage) and for the legend, in inches.
_ABOVE, _BELOW, _LEGEND = 0.34, 0.62, 0.42


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
        low, high = min(ratios), max(ratios)
        several = f' to {high:g}, mean {sum(ratios) / len(ratios):.2f}' if low < high else ''
        parts.append(f'Expansion: {low:g}{several}.')
    at = {kind: [g.name for g in groups if g.attention == kind] for kind in dict.fromkeys(g.attention for g in groups)}
    placed = [
        f'{ATTENTION_STARS.get(k, (k, True))[0]} after {", ".join(names)}' for k, names in at.items() if k != 'none'
    ]
    parts.append('Attention: ' + ('; '.join(placed) if placed else 'none') + '.')
    return ' '.join(parts)


def _step(g: GroupGlyph, following: GroupGlyph | None) -> float:
    """Inches from the right edge of a block to the next block."""
    star = STAR if g.attention != 'none' else 0.0
    return stack(g) + GAP + star + (STAGE_GAP if following is not None and following.stage != g.stage else 0.0)


def _length(row: Sequence[GroupGlyph]) -> float:
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
    rows = split_rows(groups, _length, ROW)
    width = max(*(_length(row) for row in rows), LEGEND_WIDTH) + 0.1
    pitch = _ABOVE + HEIGHT + _BELOW
    top = 0.3 if title else 0.0
    height = top + _LEGEND + pitch * len(rows)
    with drawing():
        figure, axes = new_drawing(width, height, title)
        draw_legend(axes, groups, height - top - 0.2)
        for i, row in enumerate(rows):
            _draw_row(axes, row, height - top - _LEGEND - pitch * i - _ABOVE - HEIGHT, more=i + 1 < len(rows))
    return figure


def _draw_row(axes: Axes, row: list[GroupGlyph], bottom: float, more: bool) -> None:
    x, middle = 0.08, bottom + HEIGHT / 2
    first_of_stage = x
    for g, following in zip(row, [*row[1:], None], strict=True):
        draw_block(axes, g, x, bottom)
        right, step = x + g.width, _step(g, following)
        if following is not None or more:
            axes.plot([right, right + step], [middle, middle], color=MUTED, linewidth=1.2, zorder=0)
        if g.attention != 'none':
            draw_star(axes, g, right + stack(g) + (GAP + STAR) / 2, middle)
        if following is None or following.stage != g.stage:
            draw_bracket(axes, g.stage, first_of_stage, right, bottom - 0.3)
            first_of_stage = right + step
        x = right + step
