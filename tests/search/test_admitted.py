"""Random architectures under a budget: uniform where chance meets it, moved to it where it hardly ever does."""

import random

import pytest

from mmnas_video.cost import Budget
from mmnas_video.search.admitted import MAX_DRAWS, Draws, moved
from mmnas_video.search.population import Evolution, EvolutionOptions

from .tabulated import SPACE, canonical, cost, every_arch

COSTS = sorted({cost(arch).macs for arch in every_arch()})


def violation_of(budget):
    return lambda arch: budget.violation(**cost(arch)._asdict())


def test_chance_comes_first():
    """Rejects draws that are moved although plain ones are admitted: they would not be uniform."""
    budget = Budget(macs=COSTS[len(COSTS) // 2])
    one, other = random.Random(5), random.Random(5)
    draws = Draws(SPACE, one, violation_of(budget))
    plain = [arch for arch in (SPACE.sample(other) for _ in range(400)) if budget.admits(**cost(arch)._asdict())]
    assert [draws.first() for _ in plain] == plain and len(plain) > 100


@pytest.mark.parametrize('bounds', [COSTS[1], (COSTS[-2], None), (COSTS[3], COSTS[4])])
def test_a_bound_that_chance_misses(bounds):
    """Rejects rejection alone, moves in one direction only, and moves that overshoot a lower bound: among the dearest,
    the cheapest and within a narrow window, a generation is found."""
    budget = Budget(macs=bounds)
    admitted = {canonical(arch) for arch in every_arch() if budget.admits(**cost(arch)._asdict())}
    assert 0 < len(admitted) < 20
    search = Evolution(SPACE, EvolutionOptions(3, 3), cost, budget, canonical)
    asked = search.ask(random.Random(1))
    assert asked and {canonical(arch) for arch in asked} <= admitted


def test_how_far_outside():
    """Rejects a distance that is 0 outside, above 0 within, or that forgets one of two bounded costs."""
    budget = Budget(macs=(100, 200), params=50)
    assert budget.violation(macs=100, params=50) == budget.violation(macs=200, params=1) == 0
    assert budget.violation(macs=50, params=75) == pytest.approx(0.5 + 0.5)
    assert budget.violation(macs=300, params=50) == pytest.approx(0.5)
    assert Budget(macs=0).violation(macs=3) == 3


def test_a_move_ends():
    """Rejects an endless loop where no single change helps, and a change that leads away."""
    arch = SPACE.sample(random.Random(2))
    seen = []

    def wall(candidate):
        seen.append(candidate)
        return 1.0

    assert moved(SPACE, arch, random.Random(3), wall) == arch and len(seen) < 200
    draws = Draws(SPACE, random.Random(4), wall)
    assert draws.first() is None and len(seen) > MAX_DRAWS
    before = len(seen)
    assert draws.first() is None and len(seen) - before < 30 * 200 + 1
