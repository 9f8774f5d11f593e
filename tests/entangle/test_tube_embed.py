"""Tubes against a convolution written out: which pixels, which taps, how many tokens."""

from itertools import product

import pytest
import torch

from mmnas_video.cost import Cost
from mmnas_video.entangle import TubeAt, TubeEmbed, Window, tube_grid, whole
from mmnas_video.space import extent, vit_tubes
from mmnas_video.testing.compare import randomise

OUT = [whole(7), Window(0, 3, 7), Window(5, 4, 7)]
ATS = [
    TubeAt((3, 5, 4), (1, 2, 3), (0, 0, 0)),
    TubeAt((1, 2, 3), (2, 1, 2), (1, 0, 2)),
    TubeAt((2, 5, 2), (3, 7, 5), (1, 3, 0)),
]


def test_tokens_are_dot_products_of_a_box_with_the_kernels_centre(plain):
    """Rejects padding, an offset on the wrong axis, a corner crop of the kernel, axes exchanged, and tokens in
    another order: every token computed from its own box."""
    tube = TubeEmbed(2, 7, [at.kernel for at in ATS]).double()
    randomise(tube)
    x = torch.randn(2, 2, 5, 11, 13, dtype=torch.float64)
    for out, at in product(OUT, ATS):
        start, counts = tube_grid((5, 11, 13), at)
        found = tube(x, out, at)
        assert start == at.offset and tuple(found.shape) == (2, *counts, out.length)
        first = [full // 2 - k // 2 for full, k in zip((3, 5, 4), at.kernel, strict=True)]
        cut = tuple(slice(f, f + k) for f, k in zip(first, at.kernel, strict=True))
        # The first kernel is the largest, so that all of it is kept.
        weight = plain.gather(tube.weight, out).view(-1, 2, 3, 5, 4)[(..., *cut)]
        bias = plain.gather(tube.bias, out)
        for place in product(*map(range, counts)):
            at0 = [i * s + o for i, s, o in zip(place, at.stride, at.offset, strict=True)]
            box = x[(..., *(slice(a, a + k) for a, k in zip(at0, at.kernel, strict=True)))]
            expected = torch.einsum('bcthw,dcthw->bd', box, weight) + bias
            assert torch.allclose(found[(slice(None), *place)], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ('size', 'at', 'counts'),
    [
        ((32, 224, 224), TubeAt((8, 8, 8), (16, 32, 32), (0, 0, 0)), (2, 7, 7)),
        ((32, 224, 224), TubeAt((16, 4, 4), (6, 32, 32), (4, 8, 8)), (3, 7, 7)),
        ((32, 224, 224), TubeAt((4, 12, 12), (16, 32, 32), (0, 16, 16)), (2, 7, 7)),
        ((32, 224, 224), TubeAt((1, 16, 16), (32, 16, 16), (0, 0, 0)), (1, 14, 14)),
        ((64, 224, 224), TubeAt((16, 4, 4), (6, 32, 32), (4, 8, 8)), (8, 7, 7)),
        ((7, 5, 3), TubeAt((7, 6, 3), (1, 1, 1), (0, 0, 0)), (1, 0, 1)),
        ((7, 5, 3), TubeAt((7, 2, 2), (2, 3, 1), (1, 0, 1)), (0, 2, 1)),
    ],
)
def test_number_of_tokens(size, at, counts):
    """Rejects rounding up (padding), an offset that costs nothing, and a count below zero. TubeViT's tubes."""
    assert tube_grid(size, at)[1] == counts


def test_clamped_offsets():
    """Rejects an offset that is clamped where it fits, and one clamped to more than the kernel needs."""
    at = TubeAt((5, 2, 3), (2, 1, 1), (4, 1, 2))
    assert tube_grid((9, 7, 11), at, clamp=True) == ((4, 1, 2), (1, 5, 7)) == tube_grid((9, 7, 11), at)
    assert tube_grid((7, 7, 4), at, clamp=True) == ((2, 1, 1), (1, 5, 1))
    assert tube_grid((4, 7, 4), at, clamp=True)[1][0] == 0  # a kernel longer than the clip fits nowhere


def test_cost_by_hand():
    """Rejects the largest kernel's taps for those used, and a forgotten bias."""
    assert TubeEmbed(3, 7, [(3, 5, 4)]).cost(5, (1, 2, 3), 11) == Cost(5 * 3 * 6 * 11, 5 * 3 * 6 + 5)


def test_only_taps_of_some_kernel_are_kept(plain):
    """Rejects one box around all kernels (45 taps), kernels that share nothing (27), and taps of the one read as taps
    of the other: each tap is found by its place relative to the centre."""
    kernels = [(3, 5, 1), (1, 1, 5), (1, 3, 3)]
    tube = TubeEmbed(1, 2, kernels).double()
    places = {(t - k[0] // 2, y - k[1] // 2, x - k[2] // 2) for k in kernels for t, y, x in product(*map(range, k))}
    assert tube.weight.shape == (2, 1, len(places)) == (2, 1, 15 + 4 + 4)
    order = {place: number for number, place in enumerate(sorted(places))}
    for kernel in kernels:
        taps = tube.taps(kernel)
        expected = [order[t - kernel[0] // 2, y - kernel[1] // 2, x - kernel[2] // 2] for t, y, x in
                    product(*map(range, kernel))]  # fmt: skip
        assert [start + i for start, length in taps.spans() for i in range(length)] == expected
        assert (taps.length, taps.total, taps.full) == (len(expected), len(places), False)
        x = torch.zeros(1, 1, *kernel, dtype=torch.float64)
        for number, place in zip(expected, product(*map(range, kernel)), strict=True):
            one = x.index_put((torch.tensor(0), torch.tensor(0), *map(torch.tensor, place)), torch.tensor(1.0).double())
            found = tube(one, whole(2), TubeAt(kernel, (1, 1, 1), (0, 0, 0))).flatten()
            assert torch.equal(found, tube.weight[:, 0, number] + tube.bias)


def test_a_tap_keeps_its_place_relative_to_the_token():
    """Every pair of lengths up to 7, odd and even: the tap that lies on a token's position (``kernel // 2``) is the
    same weight whatever the kernel. Rejects an odd kernel that lies a tap before the middle of an even hull."""
    for one, other in product(range(1, 8), repeat=2):
        kernels = [(1, 1, one), (1, 1, other)]
        tube = TubeEmbed(1, 1, kernels)
        own = [[start + i for start, length in tube.taps(k).spans() for i in range(length)] for k in kernels]
        assert own[0][one // 2] == own[1][other // 2], kernels


def test_the_published_kernels_in_memory():
    """Rejects memory that the bound on the volume does not bound: 5,504 taps of VIM-NAS's 3-D tubes of at most 1,024,
    all 32,768 without a bound; TubeViT's three kernels share what they can."""
    for volume, taps in ((1024, 5504), (256, 832)):
        kernels = [extent(k) for k in vit_tubes('vimnas', volume)[1].kernels]
        assert TubeEmbed(3, 1, kernels).weight.shape == (1, 3, taps)
    assert TubeEmbed(1, 1, [(8, 8, 8), (16, 4, 4), (4, 12, 12)]).weight.shape[2] == 512 + 8 * 16 + 4 * (144 - 64)
