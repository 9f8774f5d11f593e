"""Which dataset gives each step: as often as it should, the same whoever asks, and at once at any step."""

import time
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest

from mmnas_video.datasets import TaskSchedule
from mmnas_video.datasets.task_schedule import BLOCK, check_task_weights
from mmnas_video.errors import ConfigError

WEIGHTS = {'in1k': 5003 / 9001, 'k400': 1709 / 9001, 'k600': 1999 / 9001, 'ssv2': 290 / 9001}


def tasks(schedule, start, stop):
    return [task for task, _ in islice(schedule.walk(start), stop - start)]


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_frequencies_are_p(seed):
    """χ² over 20,011 draws. Rejects uniform draws, p by clips instead of by steps, and a schedule that turns round and
    round: its χ² is far too good."""
    count = 20_011
    drawn = Counter(tasks(TaskSchedule(WEIGHTS, seed), 0, count))
    chi2 = sum((drawn[task] - count * p) ** 2 / (count * p) for task, p in WEIGHTS.items())
    assert 0.02 < chi2 < 16.3, chi2  # 0.0008 and 0.999 of χ² with 3 degrees of freedom


def test_draws_are_independent():
    """Rejects the same block drawn again and again, and runs of one dataset: pairs come as often as p_i p_j."""
    drawn = tasks(TaskSchedule(WEIGHTS, 5), 0, 3 * BLOCK)
    assert drawn[:BLOCK] != drawn[BLOCK : 2 * BLOCK]
    pairs, count = Counter(pairwise(drawn)), len(drawn) - 1
    expected = {(a, b): count * p * q for a, p in WEIGHTS.items() for b, q in WEIGHTS.items()}
    chi2 = sum((pairs[pair] - value) ** 2 / value for pair, value in expected.items())
    assert chi2 < 37.7, chi2  # 0.999 of χ² with 15 degrees of freedom


@pytest.mark.parametrize('first', [(None, 0), ('k600', 7), ('k600', BLOCK + 13)])
def test_any_step_is_as_if_walked_to(first):
    """Rejects a start that is off by one, counts that forget the first phase or a block, a walk that begins anew."""
    schedule = TaskSchedule(WEIGHTS, 3, *first)
    whole = list(islice(schedule.walk(0), 2 * BLOCK + 31))
    counts = Counter()
    for task, number in whole:
        assert number == counts[task]
        counts[task] += 1
    for start in (0, 1, 7, 8, BLOCK - 1, BLOCK, BLOCK + 13, 2 * BLOCK + 3):
        assert list(islice(TaskSchedule(WEIGHTS, 3, *first).walk(start), 11)) == whole[start : start + 11], start
    assert [schedule.task(step) for step in (0, 6, 7, 8)] == [whole[step][0] for step in (0, 6, 7, 8)]


def test_first_phase():
    """Rejects a first phase that is a step longer or shorter, and one that moves the draws which come after it."""
    plain, first = tasks(TaskSchedule(WEIGHTS, 3), 0, 401), tasks(TaskSchedule(WEIGHTS, 3, 'ssv2', 97), 0, 401)
    assert set(first[:97]) == {'ssv2'} and first[97:] == plain[97:]


def test_step_one_million_at_once():
    """Rejects a schedule that is replayed step by step."""
    start = time.perf_counter()
    schedule = TaskSchedule(WEIGHTS, 3)
    number = next(schedule.walk(1_000_003))[1]
    assert time.perf_counter() - start < 2  # 0.03 s on an idle core
    task = schedule.task(1_000_003)
    assert abs(number / (1_000_003 * WEIGHTS[task]) - 1) < 0.02


def test_a_weight_of_zero_is_never_drawn():
    """Rejects a search in the cumulative sums that lands on an empty interval, also at the end."""
    for order in (('a', 'b', 'c'), ('b', 'a', 'c'), ('a', 'c', 'b')):
        weights = {task: {'a': 0.3, 'b': 0.0, 'c': 0.7}[task] for task in order}
        assert 'b' not in tasks(TaskSchedule(weights, 1), 0, 5003)


@pytest.mark.parametrize(
    ('weights', 'words'),
    [
        ({'a': 0.5, 'b': 0.4}, 'weights: found weights that sum to 0.9, expected 1'),
        ({'a': 1.5, 'b': -0.5}, 'weights.a: found 1.5'),
        ({'a': -0.5, 'b': 1.5}, 'weights.a: found -0.5'),
        ({'a': 1.0}, 'weights: found no weight for b'),
        ({'a': 0.5, 'b': 0.3, 'c': 0.2}, "weights: found the name 'c', expected one of a, b"),
        ({'a': '0.5', 'b': 0.5}, "weights.a: found '0.5'"),
    ],
)
def test_wrong_weights_are_named(weights, words):
    """Rejects weights that are scaled to 1 in silence, and a misspelt name that draws nothing."""
    with pytest.raises(ConfigError, match=words.replace('.', r'\.')):
        check_task_weights(weights, ('a', 'b'), 'batch_sampler.weights')


def test_weights_come_in_the_order_of_the_datasets():
    """Rejects weights by their own order: rank and config would disagree on the numbers."""
    assert list(check_task_weights({'b': 0.25, 'a': 0.75}, ('a', 'b'), 'w').items()) == [('a', 0.75), ('b', 0.25)]
    assert np.isclose(sum(check_task_weights({'a': 0.1 + 0.2, 'b': 0.7}, ('a', 'b'), 'w').values()), 1)
