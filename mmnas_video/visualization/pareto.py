"""Score against cost of what was evaluated, with the networks that nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from .evaluated import COSTS, Evaluated, Panel, front_of, target_label, targets_of
from .recorded import RecordedSearch
from .style import INK, MUTED, ORANGE, SERIES, drawing, dress, legend, new_figure

#: First word of a row's name -> marker, size, filled, zorder. A network by hand is the square.
MARKS: dict[str, tuple[str, float, bool, int]] = {'searched': ('*', 13, True, 4), 'random': ('o', 6, False, 3)}
BY_HAND = ('s', 6.0, True, 3)
#: More small dots than this are a picture within an SVG: as shapes they would make the page slow.
MOST_SHAPES = 500


def pareto_figure(
    panel: Panel,
    records: Sequence[RecordedSearch],
    points: Sequence[Sequence[Evaluated]],
    others: Sequence[Sequence[Evaluated]] = (),
    cost: str = 'macs',
) -> Figure:
    """One kind of score against cost.

    Args:
        panel: which kind.
        records: the searches; of several each has its own colour.
        points: of each search what is drawn in full. The front is that of these points.
        others: of each search what else was evaluated, small dots behind; none if empty.
        cost: ``'macs'``, ``'params'`` or ``'latency_ms'``, which all networks then have.

    Returns:
        A figure of one axes, x in millions of MACs or parameters or in ms.
    """
    with drawing():
        figure = new_figure(4.3, 3.0)
        axes = dress(figure.add_subplot(), panel.title, COSTS[cost].label, panel.score)
        draw = _draw_rows if panel.name == 'trained' else _draw_cloud
        for i, (record, found) in enumerate(zip(records, points, strict=True)):
            draw(axes, found, cost, SERIES[i % len(SERIES)], record.name if len(records) > 1 else '')
            if others and others[i]:
                _draw_others(axes, others[i], cost, SERIES[i % len(SERIES)])
            front = [found[k] for k in front_of(panel, found, cost)]
            _draw_front(axes, front, cost, SERIES[i % len(SERIES)], dots=panel.name != 'trained')
        targets = targets_of(records, cost)
        for target in targets:
            label = 'target' if len(targets) == 1 else target_label(target, cost)
            axes.axvline(target / COSTS[cost].scale, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label=label)
        axes.margins(0.1)
        # Below the words of the axis: among the points it would hide some, and its marks would be taken for others.
        below = axes.transAxes + ScaledTranslation(0, -0.55, figure.dpi_scale_trans)
        place = dict(loc='upper left', bbox_to_anchor=(0, 0), bbox_transform=below, borderaxespad=0, borderpad=0)
        short = all(len(label) <= 18 for label in axes.get_legend_handles_labels()[1])
        legend(axes, **place, ncols=2 if short else 1, frameon=False)
    return figure


def positions(figure: Figure, points: Sequence[Evaluated], cost: str = 'macs') -> list[tuple[float, float]]:
    """Where the points lie in a finished :func:`pareto_figure`: points (1/72 inch) from its upper left corner."""
    axes, box, scale = figure.axes[0], figure.bbox, 72 / figure.dpi
    if not points:
        return []
    found = axes.transData.transform(_xy(points, cost))
    return [(scale * float(x), scale * (box.height - float(y))) for x, y in found]


def _xy(points: Sequence[Evaluated], cost: str) -> np.ndarray:
    """(P, 2): cost in the unit of its axis, score."""
    unit = COSTS[cost].scale
    return np.array([(getattr(point, cost) / unit, point.score) for point in points], dtype=float).reshape(-1, 2)


def _draw_cloud(axes: Axes, points: Sequence[Evaluated], cost: str, colour: str, name: str) -> None:
    if points:
        cloud = dict(linestyle='none', marker='o', markersize=3.6, color=colour, alpha=0.7, markeredgewidth=0)
        axes.plot(*_xy(points, cost).T, **cloud, label=name or None)


def _draw_others(axes: Axes, points: Sequence[Evaluated], cost: str, colour: str) -> None:
    dots = dict(linestyle='none', marker='o', markersize=1.8, color=colour, alpha=0.35, markeredgewidth=0, zorder=1)
    axes.plot(*_xy(points, cost).T, **dots, rasterized=len(points) > MOST_SHAPES)


def _draw_rows(axes: Axes, points: Sequence[Evaluated], cost: str, colour: str, name: str) -> None:
    labelled: set[str] = set()
    for point, (x, top1) in zip(points, _xy(points, cost), strict=True):
        kind = _kind(point.name)
        marker, size, filled, zorder = MARKS.get(kind, BY_HAND)
        star = kind == 'searched'
        # One search: the legend names the kinds. Several: it names the searches, and the caption the kinds.
        label = name or kind
        style: dict[str, Any] = dict(
            markerfacecolor=(ORANGE if star and not name else colour) if filled else 'none',
            markeredgecolor=INK if star else colour,
        )
        axes.plot(
            [x],
            [top1],
            linestyle='none',
            marker=marker,
            markersize=size,
            markeredgewidth=1.0,
            label=None if label in labelled else label,
            zorder=zorder,
            **style,
        )
        labelled.add(label)


def _kind(name: str) -> str:
    """What a row is, by the first word of its name: searched, random, or the name itself."""
    word = name.split(' ')[0]
    return word if word in MARKS else name


def _draw_front(axes: Axes, front: Sequence[Evaluated], cost: str, colour: str, dots: bool) -> None:
    if front:
        axes.step(*_xy(front, cost).T, where='post', color=colour, linewidth=1.4)
    if front and dots:  # the marks of rows say what they are, and stay as they are
        axes.plot(*_xy(front, cost).T, linestyle='none', marker='o', markersize=4, color=colour, zorder=2)
