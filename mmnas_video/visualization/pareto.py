"""Score against cost of everything that was evaluated, with the networks that nothing beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .recorded import RecordedSearch, number
from .style import INK, MUTED, ORANGE, SERIES, drawing, dress, legend, new_figure

#: Most points drawn per search; the front is computed over all of them and always drawn.
MAX_POINTS = 800
MEGA = 1e6


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point dominates, by rising cost.

    Args:
        points: (cost, score) pairs; less cost and more score are better. Pairs with NaN never count.

    Returns:
        Indices into ``points``. Point a dominates b if it costs no more, scores no less, and is better in
        one of the two; equal points do not dominate each other, so both stay. O(n log n).
    """
    order = sorted(
        (i for i, (cost, score) in enumerate(points) if not (math.isnan(cost) or math.isnan(score))),
        key=lambda i: (points[i][0], -points[i][1]),
    )
    front: list[int] = []
    for i in order:
        # By the sorting, what stands in the front costs no more; its last member has the best score so far.
        if not front or points[i][1] > points[front[-1]][1] or tuple(points[i]) == tuple(points[front[-1]]):
            front.append(i)
    return front


def candidate_points(record: RecordedSearch) -> list[tuple[float, float]]:
    """(MACs, score with inherited weights) of every candidate line that has both."""
    pairs = [(number(line, 'macs'), number(line, 'score')) for line in record.candidates]
    return [(macs, score) for macs, score in pairs if macs is not None and score is not None]


def row_points(record: RecordedSearch) -> list[tuple[str, float, float]]:
    """(name, MACs, top-1 in 0..1) of every row of the comparison table that has both figures."""
    rows = [(str(row['name']), number(row, 'macs'), number(row, 'top1')) for row in record.rows]
    return [(name, macs, top1) for name, macs, top1 in rows if macs is not None and top1 is not None]


def pareto_figure(records: Sequence[RecordedSearch]) -> Figure:
    """Two panels, each with its own front: candidates by their inherited-weight score, and networks trained
    alone.

    The two scores are not the same thing (inherited weights are usually worse, and may be a likelihood), so
    they never share an axis. A panel without points is left out.
    """
    panels = [
        draw
        for draw, points in ((_draw_candidates, candidate_points), (_draw_rows, row_points))
        if any(points(record) for record in records)
    ]
    with drawing():
        figure = new_figure(5.4 * max(len(panels), 1), 3.3)
        if not panels:
            dress(figure.add_subplot(), 'Nothing evaluated yet', 'MACs [M]', 'score')
        for i, draw in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), i)
            draw(axes, records)
            target = next((record.target for record in records if record.target), None)
            if target:
                axes.axvline(target / MEGA, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label='target')
            legend(axes, loc='best')
    return figure


def _draw_candidates(axes: Axes, records: Sequence[RecordedSearch]) -> None:
    dress(axes, 'Candidates, inherited weights', 'MACs [M]', 'score')
    for i, record in enumerate(records):
        points = np.array(candidate_points(record), dtype=float).reshape(-1, 2)
        colour = SERIES[i % len(SERIES)]
        keep = np.unique(np.linspace(0, max(len(points) - 1, 0), min(len(points), MAX_POINTS)).round().astype(int))
        name = record.name if len(records) > 1 else 'candidate'
        axes.plot(
            points[keep, 0] / MEGA,
            points[keep, 1],
            linestyle='none',
            marker='o',
            markersize=3.2,
            color=colour,
            alpha=0.45,
            markeredgewidth=0,
            label=name if len(points) else None,
        )
        _draw_front(axes, points, colour)


def _draw_rows(axes: Axes, records: Sequence[RecordedSearch]) -> None:
    dress(axes, 'Trained alone, each the same way', 'MACs [M]', 'top-1 [%]')
    for i, record in enumerate(records):
        rows = row_points(record)
        points = np.array([(macs, 100 * top1) for _, macs, top1 in rows], dtype=float).reshape(-1, 2)
        colour = SERIES[i % len(SERIES)]
        _draw_front(axes, points, colour)
        labelled: set[str] = set()
        for (name, _, _), (macs, top1) in zip(rows, points, strict=True):
            kind = _kind(name)
            star = kind == 'searched'
            # One search: the legend names the kinds. Several: it names the searches, and the caption the
            # kinds.
            label = kind if len(records) == 1 else record.name
            face = 'none' if kind == 'random' else ORANGE if star and len(records) == 1 else colour
            marker = {'searched': '*', 'random': 'o'}.get(kind, 's')
            axes.plot(
                [macs / MEGA],
                [top1],
                linestyle='none',
                marker=marker,
                markersize=13 if star else 6,
                color=colour,
                markerfacecolor=face,
                markeredgecolor=INK if star else colour,
                markeredgewidth=1.0,
                label=None if label in labelled else label,
                zorder=4 if star else 3,
            )
            labelled.add(label)
    axes.margins(0.12)


def _kind(name: str) -> str:
    """What a row is, by the first word of its name: searched, random, or the name itself."""
    word = name.split(' ')[0]
    return word if word in ('searched', 'random') else name


def _draw_front(axes: Axes, points: np.ndarray, colour: str) -> None:
    front = points[pareto_front([(cost, score) for cost, score in points])]
    if len(front):
        axes.step(front[:, 0] / MEGA, front[:, 1], where='post', color=colour, linewidth=1.4)
        axes.plot(
            front[:, 0] / MEGA,
            front[:, 1],
            linestyle='none',
            marker='o',
            markersize=3.4,
            color=colour,
            zorder=2,
        )
