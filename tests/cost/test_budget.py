"""Budgets: bounds from either side, and errors that say what can be reached."""

import math

import pytest

from mmnas_video.cost import Budget
from mmnas_video.errors import ConfigError


@pytest.mark.parametrize(
    ('cfg', 'bounds'),
    [
        (dict(macs=2e9), {'macs': [None, 2e9]}),
        (dict(macs=(1e9, None)), {'macs': [1e9, None]}),
        (dict(macs=[1, 2], params=3), {'macs': [1, 2], 'params': [None, 3]}),
        (dict(latency_ms=(None, 13.5)), {'latency_ms': [None, 13.5]}),
        (dict(macs=0), {'macs': [None, 0]}),
        (dict(macs=(None, None)), {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_from_cfg(cfg, bounds):
    """Rejects one number as a lower bound, lists that are not pairs' equal, and a zero taken for no bound."""
    budget = Budget.from_cfg(cfg)
    assert budget.to_dict() == bounds and budget.needs == tuple(bounds)
    assert Budget.from_cfg(budget) is budget and Budget.from_cfg(budget.to_dict()) == budget


@pytest.mark.parametrize('cfg', [2e9, '2e9', [2e9], 0, False])
def test_a_budget_without_names_is_refused(cfg):
    """Rejects a TypeError on what has no keys, and a zero taken for no budget."""
    with pytest.raises(ConfigError, match=r'budget: found .*, expected dict\(macs=\.\.\., params=\.\.\., latency_ms='):
        Budget.from_cfg(cfg)


@pytest.mark.parametrize(
    ('macs', 'params', 'admitted'),
    [
        (5, 11, True),
        (7, 13, True),
        (6, 12, True),
        (4, 12, False),
        (8, 12, False),
        (6, 14, False),
        (6, 10, False),
    ],
)
def test_admits_is_inclusive_on_both_sides(macs, params, admitted):
    """Rejects ``<`` for ``<=``, bounds that are joined by or, and a side that is never looked at."""
    assert Budget(macs=(5, 7), params=(11, 13)).admits(macs=macs, params=params) == admitted


def test_an_open_side_and_an_unbounded_quantity_admit_all():
    """Rejects None compared with a number, and bounds on what is not bounded."""
    assert Budget(macs=(5, None)).admits(macs=10**30, params=0) and not Budget(macs=(5, None)).admits(macs=4)
    assert not Budget(macs=0).admits(macs=1) and Budget(macs=(None, 5)).admits(macs=0)
    assert not Budget(macs=5).admits(macs=6) and Budget().admits()


def test_a_bounded_quantity_must_be_known():
    """Rejects a budget on latency that is quietly met because nobody measured it."""
    with pytest.raises(ConfigError, match=r"budget: bounds latency_ms.*\['macs', 'params'\].*latency table"):
        Budget(latency_ms=5).admits(macs=1, params=1)
    with pytest.raises(ConfigError, match=r'bounds params'):
        Budget(params=5).admits(macs=1)


@pytest.mark.parametrize(
    ('cfg', 'parts'),
    [
        (dict(flops=2e9), ['budget', 'flops', "'macs'", "'latency_ms'"]),
        (dict(macs=2e9, mac=1), ['budget', "key 'mac'", "Did you mean 'macs'"]),
        (dict(macs='2G'), ['budget.macs', "'2G'", 'MACs', '(low, high)']),
        (dict(macs=-1), ['budget.macs', '-1']),
        (dict(macs=True), ['budget.macs', 'True']),
        (dict(params=math.nan), ['budget.params', 'nan']),
        (dict(params=(1, 2, 3)), ['budget.params', '(1, 2, 3)', '(low, high)']),
        (dict(params=(3, 2)), ['budget.params', '3', 'above', '2']),
        (dict(latency_ms=(-1, 2)), ['budget.latency_ms', 'ms']),
    ],
)
def test_a_wrong_budget_is_one_clear_error(cfg, parts):
    """Rejects a TypeError from the middle of a search, and a misspelt bound that bounds nothing."""
    with pytest.raises(ConfigError) as error:
        Budget.from_cfg(cfg)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ('macs', 'met'),
    [
        (50, True),
        (1999, True),
        (49, False),
        ((2000, None), True),
        ((2001, None), False),
        ((40, 60), True),
        ((3, 49), False),
    ],
)
def test_reachable_is_where_bounds_meet_the_range(macs, met):
    """Rejects a search that samples for ever, bounds refused because they only overlap, and open ends off by
    one.
    """
    budget = Budget(macs=macs)
    if met:
        budget.check_reachable(macs=(50, 2000), params=(1, 2))
        return
    with pytest.raises(ConfigError, match=r'budget\.macs.*no architecture.*reachable range 50 to 2,000 MACs'):
        budget.check_reachable(macs=(50, 2000), params=(1, 2))


def test_reachable_looks_at_every_bound():
    """Rejects a check of the first bound only, and one that refuses what it cannot know yet."""
    with pytest.raises(ConfigError, match=r'budget\.params: found at most 5.*10 to 20 parameters'):
        Budget(macs=7, params=5).check_reachable(macs=(5, 9), params=(10, 20))
    Budget(macs=7, latency_ms=5).check_reachable(macs=(5, 9))
    with pytest.raises(ConfigError, match=r'budget\.params: found at most 5'):
        Budget(macs=7, params=5).check_reachable(params=(10, 20))
    with pytest.raises(ConfigError, match=r'budget\.params: found at least 1,234,567'):
        Budget(params=(1234567, None)).check_reachable(params=(10, 20))
