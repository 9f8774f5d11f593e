"""How a search went, epoch by epoch: cost against the target, score and loss, how much is still undecided.

The x axis of all of them is the epoch. An epoch's own figures stand at its number, the steps that led to it
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .evaluated import COSTS, target_label, targets_of
from .recorded import RecordedSearch, finite, number
from .style import AMBER, GREEN, INK, LINE, MUTED, ORANGE, PINK, SERIES, drawing, dress, legend, new_figure

#: Most points of one curve: as many as a page has pixels to show.
MAX_POINTS = 240
MEGA = 1e6
#: Where a legend hides no part of a curve that may be anywhere: above the axes, at the right of the title.
ABOVE = dict(loc='lower right', bbox_to_anchor=(1, 1), borderaxespad=0, borderpad=0.3, frameon=False)


@dataclass(frozen=True)
class Curve:
    """One curve of a figure that has several, one above the other.

    Attributes:
        label: of the vertical axis.
        x, y: epochs and values, both (P,).
        colour: of the line.
        dots: whether a few points are marked, or a thin line is drawn of many.
        drawstyle: matplotlib's.
        finish: what else its axes get.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    dots: bool = True
    drawstyle: str = 'default'
    finish: Callable[[Axes], object] = lambda axes: None


def epoch_series(record: RecordedSearch, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, values) of ``key`` in the epoch lines, both (E,); lines without a finite one are left out."""
    pairs = [(line['epoch'], number(line, key)) for line in record.epochs]
    good = [(x, y) for x, y in pairs if y is not None]
    return np.array([x for x, _ in good], dtype=float), np.array([y for _, y in good], dtype=float)


def step_positions(record: RecordedSearch) -> np.ndarray:
    """Where each step line stands on the epoch axis, shape (S,): the steps of epoch e lie in (e - 1, e].

    An epoch under way is given the length of the others, so that it does not look finished.
    """
    steps = np.array([number(line, 'step') or 0 for line in record.steps], dtype=float)
    epochs = np.array([number(line, 'epoch') or 0 for line in record.steps], dtype=float)
    if not steps.size:
        return steps
    names, first = np.unique(epochs, return_index=True)
    starts = steps[first]
    lengths = np.diff(starts)
    seen = steps[-1] - starts[-1] + 1
    last = max(seen, float(np.median(lengths))) if lengths.size else seen
    return np.interp(steps + 1, [*starts, starts[-1] + last], [*(names - 1), names[-1]])


def step_series(record: RecordedSearch, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(positions on the epoch axis, values) of ``key`` in the step lines that have a finite one."""
    values = [number(line, key) for line in record.steps]
    keep = np.array([value is not None for value in values], dtype=bool)
    return step_positions(record)[keep] if keep.size else np.zeros(0), np.array([v for v in values if v is not None])


def bin_means(x: np.ndarray, y: np.ndarray, points: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` means of consecutive (x, y), each over as nearly the same number as can be."""
    if x.size <= points:
        return x, y
    edges = np.linspace(0, x.size, points + 1).astype(int)
    counts = np.diff(edges)
    return np.add.reduceat(x, edges[:-1]) / counts, np.add.reduceat(y, edges[:-1]) / counts


def thin(x: np.ndarray, y: np.ndarray, points: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` of the points themselves, evenly, first and last among them."""
    if x.size <= points:
        return x, y
    keep = np.linspace(0, x.size - 1, points).round().astype(int)
    return x[keep], y[keep]


def sampled_range(record: RecordedSearch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(epochs, 10th, 90th percentile of the MACs that were sampled in each), each of shape (E,)."""
    macs: dict[float, list[float]] = {}
    for line in record.steps:
        epoch, values = number(line, 'epoch'), line.get('macs')
        if epoch is not None and isinstance(values, list):
            macs.setdefault(epoch, []).extend(v for v in values if finite(v) is not None)
    found = [(epoch, *np.percentile(values, (10, 90))) for epoch, values in sorted(macs.items()) if values]
    table = np.array(found, dtype=float).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def cost_figures(records: Sequence[RecordedSearch]) -> dict[str, Figure]:
    """Name of the picture -> :func:`cost_figure`, of every cost that the epoch lines have."""
    names = {'macs': 'macs', 'latency': 'latency_ms'}
    known = {k: cost for k, cost in names.items() if any(epoch_series(record, cost)[0].size for record in records)}
    return {name: cost_figure(records, cost) for name, cost in known.items()}


def cost_figure(records: Sequence[RecordedSearch], cost: str = 'macs') -> Figure:
    """MACs, or ms, of the most probable arch per epoch against the target (AutoX3D's Fig. 4)."""
    axis = COSTS[cost]
    with drawing():
        figure = new_figure(4.3, 3.0)
        axes = _epoch_axes(figure.add_subplot(), 'Cost of the most probable network', axis.label)
        for i, record in enumerate(records):
            x, y = thin(*epoch_series(record, cost))
            if not x.size:
                continue  # beside others that have a latency table
            name = record.name if len(records) > 1 else 'most probable network'
            axes.plot(
                x,
                y / axis.scale,
                color=SERIES[i % len(SERIES)],
                label=name,
                marker='o' if x.size < 30 else None,
                markersize=3,
            )
            if len(records) == 1 and cost == 'macs':
                _draw_sampled(axes, record)
        for target in targets_of(records, cost):
            axes.axhline(
                target / axis.scale,
                color=INK,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
                label=target_label(target, cost),
            )
        legend(axes, loc='best')
    return figure


def _draw_sampled(axes: Axes, record: RecordedSearch) -> None:
    epochs, low, high = sampled_range(record)
    if epochs.size > 1:
        keep = np.unique(np.linspace(0, epochs.size - 1, min(epochs.size, MAX_POINTS)).round().astype(int))
        axes.fill_between(
            epochs[keep],
            low[keep] / MEGA,
            high[keep] / MEGA,
            color=LINE,
            alpha=0.16,
            linewidth=0,
            label='sampled networks, 10–90 %',
        )


def score_figure(record: RecordedSearch) -> Figure | None:
    """Score per epoch; per step the training loss, or the samples' mean score where no loss is recorded."""
    named = any(number(line, 'loss') is not None for line in record.steps)
    steps = step_series(record, 'loss') if named else mean_scores(record)
    return _stacked(
        'Score',
        Curve('score', *thin(*epoch_series(record, 'score')), GREEN),
        Curve('loss' if named else 'sampled score', *bin_means(*steps), ORANGE, dots=False),
    )


def mean_scores(record: RecordedSearch) -> tuple[np.ndarray, np.ndarray]:
    """(positions on the epoch axis, mean score of the archs sampled in the step), both (S,)."""
    lists = [line.get('scores') for line in record.steps]
    scores = [[s for s in one if finite(s) is not None] if isinstance(one, list) else [] for one in lists]
    keep = np.array([bool(values) for values in scores], dtype=bool)
    means = np.array([sum(values) / len(values) for values in scores if values])
    return step_positions(record)[keep], means


def certainty_figure(record: RecordedSearch) -> Figure | None:
    """Entropy of the whole distribution per epoch, and the effective sample size 1/Σw² per step."""
    sampled = max((len(line['weights']) for line in record.steps if isinstance(line.get('weights'), list)), default=0)
    entropy = Curve('entropy [nats]', *thin(*epoch_series(record, 'entropy')), LINE)

    def number_sampled(axes: Axes) -> None:
        if sampled:
            # 1 = one arch takes the whole gradient; K = all count alike, and the scores teach nothing.
            axes.axhline(sampled, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label=f'K = {sampled} sampled')
            axes.set_ylim(0, sampled * 1.12)
            legend(axes, **ABOVE)

    return _stacked(
        'How much is undecided',
        replace(entropy, finish=lambda axes: axes.set_ylim(0, 1.06 * max(entropy.y.max(initial=0.0), 1e-3))),
        Curve('eff. sample size', *bin_means(*step_series(record, 'ess')), PINK, dots=False, finish=number_sampled),
    )


def changed_choices(record: RecordedSearch) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, number of choices whose most probable value has changed since the last), both (E - 1,)."""
    best = [
        (line['epoch'], line['most_probable']) for line in record.epochs if isinstance(line.get('most_probable'), list)
    ]
    changes = [
        (epoch, sum(a != b for a, b in zip(now, before, strict=True)))
        for (_, before), (epoch, now) in pairwise(best)
        if len(now) == len(before)
    ]
    table = np.array(changes, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def collapse_figure(record: RecordedSearch) -> Figure | None:
    """What shows a collapse: the share of smallest values in the most probable arch, and how it changes."""
    x, share = thin(*epoch_series(record, 'smallest_share'))
    changed = Curve('choices changed', *thin(*changed_choices(record)), LINE, dots=False)

    def by_chance(axes: Axes) -> None:
        axes.set_ylim(0, 106)  # a line at 100 is seen whole
        if record.space is not None and record.space.open:
            even = 100 * sum(1 / len(choice) for choice in record.space.open) / len(record.space.open)
            axes.axhline(even, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label='by chance')
            legend(axes, **ABOVE)

    def whole(axes: Axes) -> None:
        most = max(1.0, changed.y.max(initial=0.0))
        axes.set_ylim(-0.06 * most, 1.1 * most)  # a line at 0 is seen beside the frame
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4, min_n_ticks=1))

    return _stacked(
        'Signs of collapse',
        Curve('smallest [%]', x, 100 * share, AMBER, finish=by_chance),
        replace(changed, drawstyle='steps-mid', finish=whole),
    )


def _stacked(title: str, *curves: Curve) -> Figure | None:
    """The curves that have a point, one above the other; None if none has."""
    shown = [curve for curve in curves if curve.x.size]
    if not shown:
        return None
    with drawing():
        figure = new_figure(4.3, 3.0)
        every = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        for axes, curve in zip(every, shown, strict=True):
            _epoch_axes(axes, title if axes is every[0] else '', curve.label, 'epoch' if axes is every[-1] else '')
            marked = (
                dict(marker='o' if curve.x.size < 30 else None, markersize=3) if curve.dots else dict(linewidth=1.2)
            )
            axes.plot(curve.x, curve.y, color=curve.colour, drawstyle=curve.drawstyle, **marked)
            curve.finish(axes)
    return figure


def entropy_figure(records: Sequence[RecordedSearch]) -> Figure:
    """Total entropy of several searches, one line each."""
    figure = _lines_figure(records, 'entropy', 'How much is undecided', 'entropy [nats]')
    figure.axes[0].set_ylim(bottom=0)
    return figure


def scores_figure(records: Sequence[RecordedSearch]) -> Figure:
    """Score of several searches, one line each."""
    return _lines_figure(records, 'score', 'Score', 'score')


def _lines_figure(records: Sequence[RecordedSearch], key: str, title: str, ylabel: str) -> Figure:
    with drawing():
        figure = new_figure(4.3, 3.0)
        axes = _epoch_axes(figure.add_subplot(), title, ylabel)
        for i, record in enumerate(records):
            x, y = thin(*epoch_series(record, key))
            marker = 'o' if x.size < 30 else None
            axes.plot(x, y, color=SERIES[i % len(SERIES)], label=record.name, marker=marker, markersize=3)
        legend(axes, loc='best')
    return figure


def _epoch_axes(axes: Axes, title: str, ylabel: str, xlabel: str = 'epoch') -> Axes:
    dress(axes, title, xlabel, ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    return axes
