"""A cell drawn as P3D-DARTS's Fig. 2 draws it (Peng et al., ICIP 2019): nodes, and the operators on their connections.

From left to right: the outputs of the two previous cells, the nodes, and the cell's output, which has the nodes'
outputs side by side. Each output runs along a row of its own; a connection branches off that row, goes through its
operator and down into its node, so that no two lie on one another.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from mmnas_video.space import Genotype, input_label

from .style import INK, MUTED, draw_label, draw_words, drawing, new_drawing, title_width

#: Operator -> (name in Table 1, colour). Convolutions are blue and orange as kernels are in the other diagrams.
OPERATORS: dict[str, tuple[str, str]] = {
    'conv_1': ('Conv 1', '#c4def5'),
    'conv_3': ('Conv 3', '#1b68ad'),
    'spe_conv_3': ('SpeConv 3', '#fcc27c'),
    'dil_conv_3': ('DilConv 3', '#c55a00'),
    'max_pool_3': ('MPool 3', '#009e73'),
    'avg_pool_3': ('APool 3', '#a9dcc9'),
    'skip': ('Skip Con', '#d7dade'),
}
#: Inches: an operator's label, a node's box (height, width), distances of arrows into a node, of rows, of an operator
#: from its row, of things that are beside one another, and of all from the edge.
LABEL, BOX, BOX_WIDTH, SLOT, ROW, HANG, GAP, MARGIN = (0.78, 0.22), 0.26, 0.62, 0.14, 0.56, 0.26, 0.16, 0.1


def describe_cell(cell: Genotype) -> str:
    """The cell in words: how often each operator stands in it, and what each node adds up."""
    operators = [op for pairs in cell.nodes for _, op in pairs]
    counts = {op: operators.count(op) for op in OPERATORS if op in operators}
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    parts = [f'{len(operators)} connections: ' + ', '.join(f'{OPERATORS[op][0]} {n}' for op, n in ranked) + '.']
    for node, pairs in enumerate(cell.nodes):
        summands = ' + '.join(f'{OPERATORS[op][0]} of {input_label(i)}' for i, op in pairs)
        parts.append(f'Node {node} = {summands or "nothing"}.')
    return ' '.join(parts)


def cell_figure(cell: Genotype, title: str = '') -> Figure:
    """Draw a cell.

    Args:
        cell: what :func:`~mmnas_video.space.read_cell` reads out of an arch.
        title: written above.

    Returns:
        A figure. Gids: ``source:<input>`` for the boxes of both previous cells (0, 1) and of the nodes (2 and up),
        ``edge:<node>:<input>`` for a connection, ``op:<node>:<input>`` for its operator, ``join:<node>`` for a node's
        way to ``output``.
    """
    rows, top = len(cell.nodes) + 2, 0.3 if title else 0.0
    width = max(_ends(cell)[-1] + GAP + BOX_WIDTH + MARGIN, title_width(title))
    height = top + 2 * MARGIN + ROW * (rows - 1) + BOX
    with drawing():
        figure, axes = new_drawing(width, height, title)
        heights = [height - top - MARGIN - BOX / 2 - ROW * i for i in range(rows)]
        _draw_cell(axes, cell, heights)
        _draw_output(axes, width - MARGIN - BOX_WIDTH, _ends(cell)[2:], heights[2:])
    return figure


def _ends(cell: Genotype) -> list[float]:
    """Right edges of the boxes of both previous cells and of the nodes."""
    found = [MARGIN + BOX_WIDTH] * 2
    for pairs in cell.nodes:
        found.append(found[-1] + _column(len(pairs)))
    return found


def _draw_cell(axes: Axes, cell: Genotype, heights: list[float]) -> None:
    """Everything but the output; ``heights`` are those of the rows."""
    starts = _ends(cell)
    branches = starts[:2]  # the last connection that branches off the rows of both previous cells
    for i in (0, 1):
        _draw_box(axes, MARGIN, (heights[i], heights[i]), f'source:{i}', input_label(i))
    for node, pairs in enumerate(cell.nodes):
        left, right, y = starts[node + 1], starts[node + 2], heights[node + 2]
        width = _node_width(len(pairs))
        _draw_box(axes, right - width, (y, y), f'source:{node + 2}', f'{node}', width)
        for k, (source, op) in enumerate(pairs):
            # The highest source turns down last, so that no two arrows cross on their way.
            x, branch = right - width / 2 + SLOT * ((len(pairs) - 1) / 2 - k), left + GAP / 2
            _draw_edge(axes, branch, heights[source], x, y + BOX / 2, f'edge:{node}:{source}')
            place = (left + GAP + LABEL[0] / 2, heights[source] - HANG)
            draw_label(axes, *OPERATORS[op], place, LABEL, f'op:{node}:{source}', fontsize=7.5)
            if source < 2:
                branches[source] = branch
    for i in (0, 1):
        axes.plot([starts[i], branches[i]], [heights[i]] * 2, color=MUTED, linewidth=1.1, zorder=1)


def _node_width(arrows: int) -> float:
    return max(BOX_WIDTH, SLOT * (arrows + 1))


def _column(arrows: int) -> float:
    """Inches of a node's column: its operators' labels, then the node."""
    return GAP + LABEL[0] + GAP + _node_width(arrows)


def _draw_box(
    axes: Axes, x: float, heights: tuple[float, float], gid: str, text: str, width: float = BOX_WIDTH
) -> None:
    """A box from ``x`` on, around the lowest and the highest of its rows."""
    low, high = heights[0] - BOX / 2, heights[1] + BOX / 2
    box = FancyBboxPatch(
        (x, low),
        width,
        high - low,
        boxstyle='round,pad=0,rounding_size=0.05',
        facecolor='none',
        edgecolor=INK,
        zorder=3,
    )
    box.set_gid(gid)
    axes.add_patch(box)
    middle = x + width / 2, (low + high) / 2
    draw_words(axes, *middle, text, 8.5, fontweight='bold', ha='center', zorder=4)


def _draw_edge(axes: Axes, branch: float, height: float, x: float, end: float, gid: str) -> None:
    """Off the row at ``branch``, through the place of the operator, down at ``x`` to ``end``."""
    corner, y = 0.06, height - HANG
    places = [(branch, height), (branch, y + corner), (branch, y), (branch + corner, y)]
    places += [(x - corner, y), (x, y), (x, y - corner), (x, end)]
    turn = [Path.LINETO, Path.CURVE3, Path.CURVE3]
    _add_arrow(axes, Path(places, [Path.MOVETO, *turn, *turn, Path.LINETO]), gid)
    axes.plot([branch], [height], marker='o', markersize=3.2, color=MUTED, linestyle='none', zorder=2)


def _add_arrow(axes: Axes, path: Path, gid: str) -> None:
    arrow = FancyArrowPatch(
        path=path, arrowstyle='-|>', mutation_scale=7, color=MUTED, linewidth=1.1, joinstyle='round', zorder=1
    )
    arrow.set_gid(gid)
    axes.add_patch(arrow)


def _draw_output(axes: Axes, x: float, starts: list[float], heights: list[float]) -> None:
    for node, (start, y) in enumerate(zip(starts, heights, strict=True)):
        _add_arrow(axes, Path([(start, y), (x, y)]), f'join:{node}')
    _draw_box(axes, x, (min(heights), max(heights)), 'output', 'C{t}')
