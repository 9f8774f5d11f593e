"""NSGA-II's order among points of several objectives: fronts, and how lonely a point is on its front.

Source: Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002, Sec. III.
Points are tuples of numbers, all of which should be small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = Sequence[float]


def dominates(one: Point, other: Point) -> bool:
    """Whether ``one`` is nowhere worse and somewhere better; equal points do not dominate each other."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other dominates, in their order."""
    front: list[int] = []
    # After what comes before it in this order, a point can only be dominated, never dominate.
    for i in sorted(range(len(points)), key=lambda i: tuple(points[i])):
        # Of two objectives the last on the front has the least second one so far: what it does not dominate, none does.
        if not any(dominates(points[j], points[i]) for j in (front if len(points[i]) > 2 else front[-1:])):
            front.append(i)
    return sorted(front)


def sort_fronts(points: Sequence[Point]) -> list[list[int]]:
    """Indices in fronts: the first is dominated by nothing, each next one by points of those before it only."""
    left = list(range(len(points)))
    fronts: list[list[int]] = []
    while left:
        front = [left[i] for i in non_dominated([points[i] for i in left])]
        fronts.append(front)
        taken = set(front)
        left = [i for i in left if i not in taken]
    return fronts


def crowding_distances(points: Sequence[Point]) -> list[float]:
    """For each point of one front the perimeter of the box that its neighbours span, each objective scaled to 0..1.

    The first and the last of each objective are infinitely lonely. An objective in which all are equal says nothing.
    """
    distances = [0.0] * len(points)
    for k in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: points[i][k])
        low, high = points[order[0]][k], points[order[-1]][k]
        if not high > low:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, i, after in zip(order, order[1:], order[2:], strict=False):
            distances[i] += (points[after][k] - points[before][k]) / (high - low)
    return distances


def crowded_order(points: Sequence[Point]) -> list[int]:
    """All indices, the best first (crowded comparison): by front, the lonely first, equals in their order."""
    order: list[int] = []
    for front in sort_fronts(points):
        distances = crowding_distances([points[i] for i in front])
        order += [front[i] for i in sorted(range(len(front)), key=lambda i: -distances[i])]
    return order
