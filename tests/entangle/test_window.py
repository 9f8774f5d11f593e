"""Windows: how evenly they cover, what they take, what they mark."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from mmnas_video.entangle import Slice, Window, centre_crop, lay_windows, take, whole
from mmnas_video.errors import ConfigError
from mmnas_video.space import AUTOX3D_STAGES, EXPANSIONS

WINDOWS = [Window(start, length, 7) for start in range(7) for length in range(1, 8)]


def coverage(windows) -> np.ndarray:
    """How many windows hold each channel, counted channel by channel."""
    count = np.zeros(windows[0].total, int)
    for window in windows:
        for i in range(window.length):
            count[(window.start + i) % window.total] += 1
    return count


def test_coverage_differs_by_at_most_one_for_every_range():
    """Rejects windows that are centred, random, spread by equal steps, or laid end to end without going
    round.

    Brute force over 1,944 ranges, counted per channel: a minimum that is not one step and counts at
    which equal coverage is impossible are among them.
    """
    for low, step, n in product(range(1, 25), range(1, 10), range(1, 10)):
        lengths = range(low, low + n * step, step)
        windows = lay_windows(lengths)
        assert [w.length for w in windows] == list(lengths)
        count = coverage(windows)
        assert count.max() - count.min() <= 1, (low, step, n, count)


def test_coverage_of_lists_with_equal_and_unsorted_widths():
    """Rejects a rule for ranges only: the middle widths of two pairs may be equal, and come in the order of
    pairs.
    """
    rng = np.random.default_rng(3)
    for _ in range(500):
        lengths = rng.integers(1, 20, rng.integers(1, 30)).tolist()
        count = coverage(lay_windows(lengths))
        assert count.max() - count.min() <= 1, lengths


@pytest.mark.parametrize('step', [1, 4, 11])
def test_five_candidates_cover_three_fifths(step):
    """Rejects any pattern but Fig. 3's: each part in exactly 3 of 5 candidates; the usual sharing gives 5, 4,
    3, 2, 1.
    """
    lengths = [step * i for i in (1, 2, 3, 4, 5)]
    assert set(coverage(lay_windows(lengths))) == {3}
    assert coverage(lay_windows(lengths, 'prefix'))[::step].tolist() == [5, 4, 3, 2, 1]
    assert all(window.start == 0 for window in lay_windows(lengths, 'prefix'))


def test_windows_of_table_2():
    """Rejects windows that cut through a unit part (4 channels of 12 to 28)."""
    assert [(w.start, w.length) for w in lay_windows((12, 16, 20, 24, 28))] == [
        (0, 12), (12, 16), (0, 20), (20, 24), (0, 28),
    ]  # fmt: skip
    for (low, high, step), _ in AUTOX3D_STAGES:
        for window in lay_windows(range(low, high + 1, step)):
            assert window.start % step == window.length % step == 0


@pytest.mark.parametrize(('low', 'high', 'step'), [stage[0] for stage in AUTOX3D_STAGES])
def test_middle_widths_of_table_2(low, high, step):
    """Rejects windows by expansion alone or by width alone, laid one above the other: parts would be used up
    to n times
    as often as others. Joint windows over all pairs have unit parts of 0.75 step and cover within one.
    """
    pairs = list(product(EXPANSIONS, range(low, high + 1, step)))
    middle = [int(e * c) for e, c in pairs]
    assert all(m == e * c and m % (0.75 * step) == 0 for m, (e, c) in zip(middle, pairs, strict=True))
    windows = lay_windows(middle)
    assert all(window.start % (0.75 * step) == 0 and window.total == 6 * high for window in windows)
    count = coverage(windows)
    assert count.max() - count.min() <= 1


def test_a_window_is_a_function_of_the_values():
    """Rejects offsets that go on from group to group: an identity shortcut needs equal windows for equal
    lists.
    """
    values = (5, 10, 15, 20)
    first = lay_windows(values)
    lay_windows((3, 7))
    assert lay_windows(list(values)) == first and lay_windows(values, 'fair') == first


@pytest.mark.parametrize('sharing', ['fair', 'prefix'])
def test_the_largest_is_whole(sharing):
    """Rejects a largest width that is sliced or turned round: the largest network is the super-weight itself,
    and a
    pinned layer (one value) has nothing to slice.
    """
    for lengths in ((3, 6, 9), (9, 3, 9, 5), (7,), (4, 4)):
        windows = lay_windows(lengths, sharing)
        assert all(window.full for window in windows if window.length == max(lengths))
    assert lay_windows((7,), sharing) == (whole(7),)


def test_laying_refuses_what_it_does_not_know():
    """Rejects a misspelt ``sharing`` that falls back to one of the two, and widths of nothing."""
    with pytest.raises(ConfigError, match=r"sharing.*'fare'.*\['fair', 'prefix'\]"):
        lay_windows((3, 6), 'fare')
    for lengths in ((), (0, 3), (3, -3)):
        with pytest.raises(ConfigError, match=r'widths.*positive'):
            lay_windows(lengths)


@pytest.mark.parametrize('dim', [0, 1, 2])
def test_take_equals_cyclic_indices(dim, plain):
    """Rejects a wrapped part in the wrong order, a wrong axis, and a window that forgets to start over."""
    shape = [2, 3, 5]
    shape[dim] = 7
    base = torch.randn(shape, dtype=torch.float64)
    for window in WINDOWS:
        index = plain.indices(window)
        weight = base.clone().requires_grad_()
        part = take(weight, dim, window)
        assert torch.equal(part, base.index_select(dim, index)), window
        upstream = torch.randn_like(part)
        part.backward(upstream)
        assert torch.equal(weight.grad, torch.zeros_like(base).index_add(dim, index, upstream)), window


def test_take_copies_only_where_it_must():
    """Rejects an index_select for every window: it copies, and running statistics could not be written in
    place.
    """
    weight = torch.randn(7, 3)
    for window in WINDOWS:
        shares = take(weight, 0, window).untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()
        assert shares == (not window.wraps) and window.wraps == (window.start + window.length > 7)
    assert take(weight, 0, whole(7)) is weight


def test_spans_are_the_window_in_order(plain):
    """Rejects pieces that overlap, miss a channel, are empty, or come in the order of the super-weight."""
    for window in WINDOWS:
        pieces = window.spans()
        assert [c for start, n in pieces for c in range(start, start + n)] == plain.indices(window).tolist()
        assert all(n > 0 for _, n in pieces) and len(pieces) == 1 + window.wraps
        assert window.full == (plain.indices(window).tolist() == list(range(7)))


SIZES = ((1, 3), (1, 5), (3, 3), (3, 5), (5, 3), (5, 5), (3, 1))


def test_centre_crop_keeps_the_centre():
    """Rejects a crop from the corner, and (t, k) taken for (k, t): the tap at the position itself must stay
    in the
    middle, or a small kernel shifts its features.
    """
    big = torch.arange(2 * 5 * 7 * 7).reshape(2, 1, 5, 7, 7)
    for t, k in SIZES:
        crop = centre_crop(big, (t, k))
        assert crop.shape == (2, 1, t, k, k)
        for dt, dy, dx in product(range(-(t // 2), t // 2 + 1), *[range(-(k // 2), k // 2 + 1)] * 2):
            assert crop[1, 0, t // 2 + dt, k // 2 + dy, k // 2 + dx] == big[1, 0, 2 + dt, 3 + dy, 3 + dx]
    assert centre_crop(big, (5, 7)) is big


def test_mark_equals_slicing_ones(plain):
    """Rejects marks of the bounding box of a wrapping window, of one axis only, or of the whole kernel."""
    shape = (7, 5, 3, 5, 5)
    inner = [Window(start, length, 5) for start, length in ((0, 5), (1, 3), (3, 4), (4, 1))]
    for out, inp, kernel in product(WINDOWS[::4], [*inner, None], [None, (1, 3), (3, 5)]):
        part = Slice('weight', (out, inp), kernel)
        ones = torch.ones(shape, requires_grad=True)
        part(ones).sum().backward()
        mask = torch.zeros(shape, dtype=torch.bool)
        part.mark(mask)
        assert torch.equal(mask, ones.grad.bool())
        expected = plain.scatter(part(torch.ones(shape)), shape, out, inp, centre=kernel)
        assert torch.equal(mask, expected.bool())
        part.mark(mask)
        assert torch.equal(mask, expected.bool()), 'a second mark takes some back'


def test_a_slice_without_windows_is_everything():
    """Rejects an empty mark for what is used whole (stem, counters of zero dimensions)."""
    for shape in ((), (3,), (2, 3)):
        mask = torch.zeros(shape, dtype=torch.bool)
        Slice('x').mark(mask)
        assert mask.all() and Slice('x')(mask) is mask


def test_fair_windows_use_all_parts_at_the_smallest_widths():
    """Rejects a start that depends on the width (such as centring), under which small widths never reach the
    ends.
    """
    windows = lay_windows(range(1, 8))
    assert {w.start for w in windows[:-1]} == {0, 1, 3, 6} and all(
        b.start == (a.start + a.length) % 7 for a, b in pairwise(windows[:-1])
    )
