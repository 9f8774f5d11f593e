"""Every network that a search has a score for, and the panel of the report that it stands in.

Three kinds of score, which do not compare: the accuracy of networks that were trained alone; the score of candidates
with inherited weights on common clips; the score of what was sampled on the way, each on one held-out batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, SearchSpace

from .recorded import RecordedSearch, number, scalars


class Axis(NamedTuple):
    """How a cost is drawn.

    Attributes:
        label: of its axis.
        unit: of the figures there.
        scale: that unit in the cost's own.
    """

    label: str
    unit: str
    scale: float


COSTS: Mapping[str, Axis] = {
    'macs': Axis('MACs [M]', 'M', 1e6),
    'params': Axis('parameters [M]', 'M', 1e6),
    'latency_ms': Axis('latency [ms]', 'ms', 1.0),
}
#: Step lines that the third panel is made of: each has several networks, and a picture shows some hundreds.
MAX_LINES = 300


@dataclass(frozen=True)
class Evaluated:
    """One network and its score.

    Attributes:
        name: what it is called: ``searched``, ``candidate 7``, ``step 40``.
        macs: multiply-adds.
        score: in the unit of its panel.
        arch: None where the files do not say, or say something that is not of the space.
        params: parameters, None where unknown.
        latency_ms: by the search's latency table, None without one.
    """

    name: str
    macs: float
    score: float
    arch: Arch | None = None
    params: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True)
class Panel:
    """One kind of score.

    Attributes:
        name: of the picture's files.
        title: above the picture.
        score: what the vertical axis shows.
        read: all that a search has of it.
        ranked: whether the scores compare, so that there is a front.
    """

    name: str
    title: str
    score: str
    read: Callable[[RecordedSearch], list[Evaluated]]
    ranked: bool = True


def trained(record: RecordedSearch) -> list[Evaluated]:
    """The rows of the comparison table that have MACs and top-1; scores in per cent."""
    found = []
    for row in record.rows:
        macs, top1, values = number(row, 'macs'), number(row, 'top1'), scalars(row.get('arch'))
        if macs is not None and top1 is not None:
            rest = number(row, 'params'), number(row, 'latency_ms')
            found.append(Evaluated(str(row['name']), macs, 100 * top1, Arch(values) if values else None, *rest))
    return found


def candidates(record: RecordedSearch) -> list[Evaluated]:
    """The candidate lines that have MACs and a score."""
    found = []
    for i, line in enumerate(record.candidates, start=1):
        macs, score = number(line, 'macs'), number(line, 'score')
        if macs is not None and score is not None:
            generation = number(line, 'generation')
            name = f'candidate {i}' + (f' (generation {generation:g})' if generation is not None else '')
            rest = number(line, 'params'), number(line, 'latency_ms')
            found.append(Evaluated(name, macs, score, _decoded(record.space, line.get('arch')), *rest))
    return found


def sampled(record: RecordedSearch) -> list[Evaluated]:
    """The architectures of the step lines, of at most twice :data:`MAX_LINES` of them, with the score of each."""
    return [
        Evaluated(f'step {line.get("step", "?")}', macs, score, _decoded(record.space, arch))
        for line in record.steps[:: max(1, len(record.steps) // MAX_LINES)]
        for arch, macs, score in _samples(line)
    ]


def _samples(line: Mapping[str, Any]) -> Iterator[tuple[Any, float, float]]:
    parts = [line.get(key) for key in ('archs', 'macs', 'scores')]
    if all(isinstance(part, list) for part in parts):
        for arch, macs, score in zip(*parts, strict=False):  # of a line by another hand the shortest counts
            pair = {'macs': macs, 'score': score}
            if number(pair, 'macs') is not None and number(pair, 'score') is not None:
                yield arch, macs, score


def _decoded(space: SearchSpace | None, indices: Any) -> Arch | None:
    if space is None or not isinstance(indices, list):
        return None
    try:
        return space.decode(indices)
    except (ConfigError, LookupError, TypeError, ValueError):
        return None


PANELS: tuple[Panel, ...] = (
    Panel('trained', 'Trained alone, each the same way', 'top-1 [%]', trained),
    Panel('candidates', 'Candidates, inherited weights', 'score', candidates),
    Panel('sampled', 'Sampled on the way, one batch each', 'score', sampled, ranked=False),
)


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


def cost_of(records: Sequence[RecordedSearch], networks: Sequence[Evaluated]) -> str:
    """The key of :data:`COSTS` by which networks are drawn: the one against which the searches sought a front, or else
    which alone their budgets bound, if it is one and known of all networks; else MACs."""
    known = [cost for cost in COSTS if all(getattr(network, cost) is not None for network in networks)]
    return next((cost for cost in known if all(_sought(record) == cost for record in records)), 'macs')


def _sought(record: RecordedSearch) -> object:
    pareto, budget = record.info.get('pareto'), record.info.get('budget')
    bounded = [*budget] if isinstance(budget, Mapping) else []
    return pareto or (bounded[0] if len(bounded) == 1 else None)


def targets_of(records: Sequence[RecordedSearch], cost: str) -> list[float]:
    """What the searches aimed at of a cost, each value once, rising."""
    return sorted({target for record in records if (target := record.target(cost))})


def target_label(target: float, cost: str) -> str:
    """What the line at a target is called."""
    return f'target {target / COSTS[cost].scale:,.4g} {COSTS[cost].unit}'


def front_of(panel: Panel, networks: Sequence[Evaluated], cost: str = 'macs') -> list[int]:
    """Indices of the networks of a panel that no other beats in both; none where its scores do not compare."""
    return pareto_front([(getattr(network, cost), network.score) for network in networks]) if panel.ranked else []


def shown(panel: Panel, networks: Sequence[Evaluated], most: int, cost: str = 'macs') -> list[int]:
    """Indices of the networks that are drawn: the front, and of the others evenly so many that there are ``most``."""
    front = front_of(panel, networks, cost)
    rest = sorted(set(range(len(networks))) - set(front))
    room = min(max(most - len(front), 0), len(rest))
    even = np.linspace(0, len(rest) - 1, room).round().astype(int) if room else []
    return sorted({*front, *(rest[i] for i in even)})
