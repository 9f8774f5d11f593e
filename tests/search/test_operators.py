"""Mutation and crossover on architectures of prime, pairwise different sizes."""

import random
from collections import Counter

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.search.operators import cross, mutate, mutation_rates, units_of
from mmnas_video.space import Choice, SearchSpace

SPACE = SearchSpace(
    'operators',
    [
        Choice('depth', (2, 3, 5, 7, 11)),
        Choice('layer1.heads', (2, 3)),
        Choice('layer1.ratio', (3, 5, 7)),
        Choice('layer2.heads', (2, 3)),
        Choice('layer2.ratio', (13,)),
        Choice('embed', (17,)),
    ],
)
LAYER = (('depth',), ('layer1.heads', 'layer1.ratio'), ('layer2.heads',))
CHOICE = (('depth',), ('layer1.heads',), ('layer1.ratio',), ('layer2.heads',))


def test_units():
    """Rejects units with closed choices in them (they would be mutated into nothing), a depth that is one unit with
    others that have no dot, and layers of equal last names in one unit."""
    assert units_of(SPACE, 'layer') == LAYER and units_of(SPACE, 'choice') == CHOICE
    apart = SearchSpace('apart', [Choice('depth', (1, 2)), Choice('depth.x', (1, 2)), Choice('width', (1, 2))])
    assert units_of(apart, 'layer') == (('depth',), ('depth.x',), ('width',))


def test_the_first_pattern_that_fits_counts():
    """Rejects P_m for the depth (the last pattern that fits), and a probability for what no pattern names."""
    assert mutation_rates(SPACE, {'depth': 0.4, '*': 0.2}, LAYER) == (0.4, 0.2, 0.2)
    assert mutation_rates(SPACE, {'layer1.*': 1, 'layer*': 0.3}, CHOICE) == (0, 1, 1, 0.3)


@pytest.mark.parametrize(
    ('patterns', 'units', 'words'),
    [
        ({'dept': 0.4}, LAYER, ["'dept'", 'fits none']),
        ({'*': 1.5}, LAYER, ["['*']", '1.5', '0 to 1']),
        ({'*': -0.1}, LAYER, ['-0.1']),
        ({'*': True}, LAYER, ['True']),
        ({'*': '0.2'}, LAYER, ["'0.2'"]),
        ({'*': float('nan')}, LAYER, ['nan']),
        ({'*.heads': 0.5, '*': 0.2}, LAYER, ['layer1.heads', "unit='choice'"]),
        ({'*': 0}, LAYER, ['above 0']),
        ({'embed': 0.5}, LAYER, ['above 0']),
    ],
)
def test_rates_that_cannot_be(patterns, units, words):
    """Rejects a pattern that silently fits nothing, a probability outside 0..1, half a layer that mutates."""
    with pytest.raises(ConfigError) as caught:
        mutation_rates(SPACE, patterns, units, 'hook.mutation')
    assert all(word in str(caught.value) for word in ('hook.mutation', *words)), caught.value


def test_a_mutated_unit_is_another_and_uniform():
    """Rejects a redraw that may give the old value (the rate would be too small), and one that never reaches the last
    combination of a layer: χ² of the 5 others of (2, 3) values, 5000 draws."""
    rng, arch = random.Random(3), SPACE.smallest
    found = Counter()
    for _ in range(5000):
        child = mutate(SPACE, arch, rng, LAYER, (0, 1, 0))
        assert child in SPACE and child['depth'] == arch['depth'] and child['layer2.heads'] == arch['layer2.heads']
        found[child['layer1.heads'], child['layer1.ratio']] += 1
    assert len(found) == 5 and (arch['layer1.heads'], arch['layer1.ratio']) not in found
    assert sum((n - 1000) ** 2 / 1000 for n in found.values()) < 18.5  # 0.1 % at 4 degrees of freedom


def test_units_mutate_as_often_as_they_should():
    """Rejects one draw for all units, and P_m in the place of P_d."""
    rng, draws = random.Random(5), 4000
    rates = mutation_rates(SPACE, {'depth': 0.4, '*': 0.2}, LAYER)
    children = [mutate(SPACE, SPACE.smallest, rng, LAYER, rates) for _ in range(draws)]
    depth = [child['depth'] != 2 for child in children]
    first = [child['layer1.heads'] != 2 or child['layer1.ratio'] != 3 for child in children]
    both = sum(a and b for a, b in zip(depth, first, strict=True))
    assert abs(sum(depth) / draws - 0.4) < 0.03 and abs(sum(first) / draws - 0.2) < 0.03
    assert abs(both / draws - 0.08) < 0.02


@pytest.mark.parametrize(('units', 'kinds'), [(LAYER, 8), (CHOICE, 16)])
def test_children_have_whole_units_of_either_parent(units, kinds):
    """Rejects a crossover at one point (of 3 units it reaches 6 of 8 children), and one that tears layers apart."""
    first, second, rng = SPACE.smallest, SPACE.largest, random.Random(7)
    children = {cross(first, second, rng, units) for _ in range(400)}
    assert len(children) == kinds
    for child in children:
        for unit in units:
            assert [child[n] for n in unit] in ([first[n] for n in unit], [second[n] for n in unit])


def test_children_have_half_of_either_parent():
    """Rejects a crossover that leans to a parent: 2000 children, unit by unit."""
    rng = random.Random(11)
    children = [cross(SPACE.smallest, SPACE.largest, rng, LAYER) for _ in range(2000)]
    for unit in LAYER:
        share = sum(child[unit[0]] == SPACE.largest[unit[0]] for child in children) / 2000
        assert abs(share - 0.5) < 0.04, unit


def test_operators_draw_from_the_generator_that_is_passed_in():
    """Rejects the global generator."""
    state = random.getstate()
    for _ in range(3):
        mutate(SPACE, cross(SPACE.smallest, SPACE.largest, random.Random(1), LAYER), random.Random(1), LAYER, (1, 1, 1))
    assert random.getstate() == state
