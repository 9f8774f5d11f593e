"""Fixed positions: where a token's centre lies, and the wave it is given."""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmnas_video.models.blocks import axis_encoding, centres, tube_positions

DOUBLE = torch.zeros((), dtype=torch.float64)


def test_centres():
    """Rejects the tube's corner for its centre, an offset that is left out, and an index that is not strided."""
    assert centres(4, kernel=8, stride=6, start=4) == [8, 14, 20, 26]
    assert centres(3, kernel=1, stride=5, start=2) == [2, 7, 12]


def test_every_channel_by_its_formula():
    """Rejects axes or sine and cosine exchanged, the frequency as printed (1 / tau^j), and one that depends on the
    channel instead of the pair: 13 channels, so that the last group of six is incomplete."""
    places, dim = ([3, 5], [7], [2, 11, 17]), 13
    table = tube_positions(places, dim, DOUBLE)
    assert table.shape == (2, 1, 3, dim)
    for (a, t), (b, x) in [((0, 3), (1, 11)), ((1, 5), (2, 17))]:
        for channel in range(dim):
            place = (t, 7, x)[channel % 6 // 2]
            wave = math.cos if channel % 2 else math.sin
            expected = wave(place * 10_000 ** (-(channel // 6) / (dim / 6)))
            assert math.isclose(table[a, 0, b, channel], expected, abs_tol=1e-12)


def test_no_two_tokens_have_one_position():
    """Rejects frequencies that underflow: as printed, all channels from the third group on are equal everywhere."""
    places = [list(range(0, 64, 4)), list(range(0, 224, 8)), [5]]
    table = tube_positions(places, 192, torch.zeros(())).flatten(0, 2)
    distances = torch.cdist(table, table) + torch.eye(len(table)) * 9
    assert distances.min() > 0.1
    assert (table.std(0) > 1e-3).sum() > 100


def test_half_precision_is_computed_in_single():
    """Rejects angles in half precision, in which pixel 2049 is pixel 2048."""
    half = axis_encoding([2048, 2049], 1, 12, torch.zeros((), dtype=torch.bfloat16))
    assert not torch.equal(half[0], half[1])
    table = tube_positions([[0], [2049], [3]], 12, torch.zeros((), dtype=torch.bfloat16))
    exact = tube_positions([[0], [2049], [3]], 12, DOUBLE)
    assert table.dtype == torch.bfloat16 and (table.double() - exact).abs().max() < 0.01


class Calls(TorchDispatchMode):
    """Counts torch's operations."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += 1
        return func(*args, **kwargs or {})


def test_nothing_is_computed_where_a_network_is_counted():
    """Rejects waves on the meta device, which took half of the time of a plan: they have no multiply-adds there, and no
    values."""
    places = [[3, 5], [7], [2, 11, 17]]
    with Calls() as calls:
        table = tube_positions(places, 13, torch.zeros((), dtype=torch.bfloat16, device='meta'))
    real = tube_positions(places, 13, torch.zeros((), dtype=torch.bfloat16))
    assert (table.shape, table.dtype) == (real.shape, real.dtype) and table.is_meta and calls.number <= 2
