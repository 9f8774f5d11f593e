"""NSGA-II's order against examples worked by hand and against brute force."""

import math
import random

from mmnas_video.search import nsga2
from mmnas_video.search.nsga2 import crowded_order, crowding_distances, dominates, non_dominated, sort_fronts

#: Two objectives, both to be small. By hand: 0, 2, 5 are not dominated; 1, 3 only by those; 4 also by 1 and 3.
POINTS = [(1, 11), (2, 13), (5, 3), (7, 7), (17, 19), (3, 5)]


def test_dominates():
    """Rejects a strict comparison in every objective, and equal points that remove each other."""
    assert dominates((1, 2), (1, 3)) and not dominates((1, 2), (1, 2)) and not dominates((1, 3), (2, 2))


def test_fronts_by_hand():
    """Rejects maximising one of the objectives, and fronts by rank in a single objective."""
    assert sort_fronts(POINTS) == [[0, 2, 5], [1, 3], [4]]
    assert sort_fronts([]) == [] and sort_fronts([(1, 1)] * 3) == [[0, 1, 2]]


def test_crowding_by_hand():
    """Rejects distances that are not scaled (the second objective would count tenfold), sums over one neighbour only,
    and ends that are not infinitely lonely.

    Front (0, 50), (1, 30), (3, 20), (5, 0): of the second point (3 - 0) / 5 + (50 - 20) / 50 = 1.2, of the third
    (5 - 1) / 5 + (30 - 0) / 50 = 1.4."""
    front = [(1, 30), (0, 50), (5, 0), (3, 20)]
    found = crowding_distances(front)
    assert math.isclose(found[0], 1.2) and math.isclose(found[3], 1.4)
    assert found[1] == found[2] == math.inf
    assert crowding_distances([(1, 7), (1, 7), (1, 7)]) == [0, 0, 0] and crowding_distances([]) == []
    assert crowding_distances([(1, 7), (2, 7), (4, 7)]) == [math.inf, 1, math.inf]


def test_order_by_hand():
    """Rejects the crowded first: (3, 5) of the first front has lonely neighbours on its front, and comes after them."""
    assert crowded_order(POINTS) == [0, 2, 5, 1, 3, 4]


def test_fronts_by_brute_force():
    """Rejects a front that loses points with ties, and one that keeps a dominated point (random small integers)."""
    rng = random.Random(2)
    for trial in range(60):
        points = [tuple(rng.randrange(7) for _ in range(2 + trial % 2)) for _ in range(23)]
        expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
        assert non_dominated(points) == expected
        level = {i: n for n, front in enumerate(sort_fronts(points)) for i in front}
        assert sorted(level) == list(range(23))
        for i, p in enumerate(points):
            above = [level[j] for j, q in enumerate(points) if dominates(q, p)]
            assert level[i] == (max(above) + 1 if above else 0)


def test_a_long_front_of_two_objectives_is_found_in_one_pass(monkeypatch):
    """1,009 points of which none dominates another, each twice. Rejects a comparison of all pairs, which takes seconds
    for the thousands of candidates of a long evolution."""
    calls = []
    monkeypatch.setattr(nsga2, 'dominates', lambda *pair: calls.append(pair) or dominates(*pair))
    points = [(n, 1009 - n) for n in range(1009)] * 2
    random.Random(3).shuffle(points)
    assert non_dominated(points) == list(range(2018)) and len(calls) < 2018
