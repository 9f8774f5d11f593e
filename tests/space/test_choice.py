"""One choice: ordered values, told apart by type."""

import math

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.space import Choice


def test_values_keep_their_order():
    """Rejects sorted values: the first is the smallest and the last the largest because the table says so."""
    choice = Choice('kernel', ['t3_s5', 't1_s3', 't5_s3'])
    assert choice.values == ('t3_s5', 't1_s3', 't5_s3')
    assert [choice.index(value) for value in choice.values] == [0, 1, 2]
    assert len(choice) == 3 and not choice.single
    assert choice.fixed('t1_s3') == Choice('kernel', ('t1_s3',)) and choice.fixed('t1_s3').single


def test_values_are_told_apart_by_type():
    """Rejects ``values.index(value)``, for which 1, 1.0 and True are the same value."""
    choice = Choice('x', (1, 1.0, True, '1', None, 0, False))
    for i, value in enumerate(choice.values):
        assert choice.index(value) == i
        assert type(choice.fixed(value).values[0]) is type(value)


@pytest.mark.parametrize(('offered', 'found'), [((2, 3), 3.0), ((2.0, 3.0), 3), ((2.25, 3.0), 3)])
def test_a_number_may_come_as_int_or_float(offered, found):
    """Rejects a comparison by type alone: JSON writers turn 3.0 into 3."""
    assert Choice('x', offered).index(found) == 1


@pytest.mark.parametrize(
    ('offered', 'found'), [((0, 1), True), ((False, True), 1), ((1, 2), '1'), (('1', '2'), 1), ((0, 1), None)]
)
def test_a_value_not_offered_is_named(offered, found):
    """Rejects Python's ``True == 1``, and an error that leaves out the choice, the value or what
    is offered.
    """
    with pytest.raises(ConfigError) as error:
        Choice('s1.g2.expansion', offered).index(found)
    for part in ('s1.g2.expansion', repr(found), str(list(offered))):
        assert part in str(error.value)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, [1], (1, 2), {'a': 1}, b'1', object()])
def test_a_value_that_is_no_json_scalar_is_refused(value):
    """Rejects values that an arch file cannot hold: it would be written and never read again."""
    with pytest.raises(ConfigError, match=r"'x'.*expected a string, a finite number"):
        Choice('x', (1, value))


@pytest.mark.parametrize('values', [(), (1, 2, 1), ('a', 'a'), (0.0, -0.0)])
def test_no_values_and_equal_values_are_refused(values):
    """Rejects a choice in which two indices mean one value, so that sizes and probabilities are wrong."""
    with pytest.raises(ConfigError, match="'x'"):
        Choice('x', values)
