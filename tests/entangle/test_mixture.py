"""Mixtures: expected masks against sums over explicit slices, and layers against sums of zero-padded weights."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmnas_video.entangle import (
    MixedWindow,
    Mixture,
    Searchable,
    SuperBatchNorm3d,
    SuperConv3d,
    SuperDepthwiseConv3d,
    Window,
    centre_crop,
    mix_kernels,
    mix_moves,
    mix_windows,
    take,
    weigh,
    whole,
)
from mmnas_video.errors import ConfigError
from mmnas_video.space import Choice, SearchSpace

SPACE = SearchSpace('toy', [Choice('width', (2, 3, 5)), Choice('fixed', (7,)), Choice('op', ('a', 'b', None))])
OUT = [whole(7), Window(0, 3, 7), Window(2, 4, 7), Window(5, 6, 7)]
INP = [Window(1, 3, 5), Window(4, 2, 5), whole(5)]
KERNELS = [(1, 3), (3, 3), (5, 3), (1, 5)]


def weights(n: int, seed: int) -> torch.Tensor:
    """Numbers that do not sum to one."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


@pytest.fixture
def mixture():
    return Mixture(SPACE, {'width': weights(3, 1), 'op': weights(3, 2)})


def test_a_mixture_has_weights_for_every_choice(mixture):
    """Rejects a closed choice that is missing, or weighs anything but 1; and another order than the space's."""
    assert tuple(mixture) == SPACE.names and len(mixture) == 3
    assert mixture['fixed'].tolist() == [1.0] and mixture['fixed'].dtype == torch.float64
    assert torch.equal(mixture['width'], weights(3, 1))


def test_exactly_zero_takes_a_value_out():
    """Rejects a value that is kept at weight 0, one that is dropped for being small, and a gradient that is cut."""
    op = torch.tensor([0.3, 0.0, 1e-30], requires_grad=True)
    mixture = Mixture(SPACE, {'width': torch.tensor([0.0, 1.0, 0.0]), 'op': op})
    assert mixture.present('op') == [True, False, True] and mixture.present('width') == [False, True, False]
    assert mixture.present('fixed') == [True]
    terms = mixture.terms('op')
    assert list(terms) == ['a', None]
    terms['a'].backward()
    assert op.grad.tolist() == [1, 0, 0]


def test_one_hot():
    """Rejects the position among the names taken for that among the values, and another dtype than asked for."""
    arch = SPACE.decode((1, 0, 2))
    mixture = Mixture.one_hot(SPACE, arch, torch.zeros(1, dtype=torch.float64))
    assert [mixture[name].tolist() for name in SPACE.names] == [[0, 1, 0], [1], [0, 0, 1]]
    assert mixture['width'].dtype == torch.float64 and list(mixture.terms('width')) == [3]


def test_mixtures_are_compared_by_identity(mixture):
    """Rejects the comparison of a Mapping, which fails on tensors, and a mixture that cannot be in a set."""
    same = Mixture(SPACE, dict(mixture))
    assert mixture != same and mixture == mixture and len({mixture, same}) == 2


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'width': torch.ones(3)}, r"none for \['op'\]"),
        ({'width': torch.ones(3), 'op': torch.ones(3), 'depth': torch.ones(2)}, r"unknown choices \['depth'\]"),
        ({'width': torch.ones(2), 'op': torch.ones(3)}, r"mixture\['width'\].*\(2,\).*\(3,\)"),
        ({'width': [1.0, 2.0], 'op': [1, 2, 3]}, r"mixture\['width'\].*\(2,\).*\(3,\)"),
        ({'width': 'abc', 'op': [1, 2, 3]}, r"mixture\['width'\]: found 'abc', expected one number for each value"),
        ({'width': torch.ones(3, 1), 'op': torch.ones(3)}, r"mixture\['width'\].*\(3, 1\)"),
    ],
)
def test_wrong_weights_are_refused(given, words):
    """Rejects weights that would be broadcast, or ignored."""
    with pytest.raises(ConfigError, match=words):
        Mixture(SPACE, given)


def test_lists_and_arrays_are_weights_too():
    """Rejects "'list' object has no attribute 'shape'", whole numbers that stay whole, and an array's float64."""
    made = Mixture(SPACE, {'width': [0, 1, 0], 'op': np.array([0.5, 0.0, 0.25])})
    assert [made[name].dtype for name in made] == [torch.float32] * len(SPACE)
    assert made['width'].tolist() == [0, 1, 0] and made['op'].tolist() == [0.5, 0, 0.25]
    assert made.present('op') == [True, False, True]


def test_a_mixture_over_another_space_is_refused(mixture):
    """Rejects weights that are read by names that happen to agree."""
    other = Searchable(SearchSpace('toy', [Choice('width', (2, 3, 7)), *SPACE.choices[1:]]))
    with pytest.raises(ConfigError, match='mixture: found one over the space'), other.use(mixture):
        pass
    own = Searchable(SearchSpace('renamed', SPACE.choices))
    with own.use(mixture):
        assert own.arch is mixture
    assert own.arch == SPACE.largest


def test_window_masks_are_sums_of_windows(plain):
    """Rejects masks by prefix, a wrapped window cut off at the end, and weights that are normalised."""
    p = weights(4, 3)
    expected = torch.zeros(7, dtype=torch.float64)
    for window, weight in zip(OUT, p, strict=True):
        for channel in plain.indices(window):
            expected[channel] += weight
    mixed = mix_windows(OUT, p)
    assert torch.allclose(mixed.mask, expected, rtol=0, atol=1e-15) and (mixed.total, mixed.length) == (7, 7)


def test_kernel_masks_are_sums_of_centred_extents():
    """Rejects extents that are not centred, and t taken for k."""
    p = weights(4, 4)
    expected = torch.zeros(5, 5, 5, dtype=torch.float64)
    for (t, k), weight in zip(KERNELS, p, strict=True):
        expected += weight * F.pad(torch.ones(t, k, k, dtype=torch.float64), [(5 - k) // 2] * 4 + [(5 - t) // 2] * 2)
    assert torch.allclose(mix_kernels(KERNELS, p).mask, expected, rtol=0, atol=1e-15)
    assert mix_kernels(KERNELS[:2], p[:2]).mask.shape == (3, 3, 3)


def test_moves_carry_a_window_to_a_window(plain):
    """Rejects an identity by position in the super-channels where the windows differ, the transposed matrix, and a
    wrapped part in another order."""
    pairs = [(Window(1, 3, 5), Window(5, 3, 7)), (Window(4, 2, 5), Window(0, 2, 7)), (whole(5), Window(6, 5, 7))]
    p, x = weights(3, 5), torch.randn(5, dtype=torch.float64)
    expected = sum(
        weight * plain.scatter(plain.gather(x, inp), (7,), out) for weight, (inp, out) in zip(p, pairs, strict=True)
    )
    assert torch.allclose(mix_moves(pairs, p) @ x, expected, rtol=0, atol=1e-14)
    same = mix_moves([(OUT[2], OUT[2])], torch.ones(1))
    assert torch.equal(same, mix_windows(OUT[2:3], torch.ones(1)).mask.diag())


@pytest.mark.parametrize('dim', [0, 1, 2])
def test_take_multiplies_along_its_own_axis(dim):
    """Rejects a mask along another axis: all sizes differ, so a broadcast that fits fits by rule."""
    shape = [2, 3, 5]
    shape[dim] = 7
    weight, mixed = torch.randn(shape, dtype=torch.float64), mix_windows(OUT, weights(4, 6))
    expected = weight.movedim(dim, -1) * mixed.mask
    assert torch.equal(take(weight, dim, mixed), expected.movedim(-1, dim))


@pytest.mark.parametrize('bias', [False, True])
def test_a_mixed_convolution_is_the_sum_of_zero_padded_slices(bias, plain):
    """The brute force: one convolution for each (out, inp) pair, weighted and summed. Rejects a mask on one axis alone,
    the mean of two masks, and a bias that is not masked. Masks that are exactly 0 outside both windows are seen apart:
    an input channel that no width uses, and an output channel that no width has, get no weight."""
    conv = SuperConv3d(5, 7, (1, 3, 3), (1, 2, 2), bias=bias).double()
    if bias:
        torch.nn.init.normal_(conv.bias)
    p, q = weights(3, 7), weights(2, 8)  # of the narrow ones: outputs 3 + 4 + 6 of 7, inputs 3 + 2 of 5
    x = torch.randn(2, 5, 3, 7, 5, dtype=torch.float64)
    outs, inps = OUT[1:], INP[:2]
    expected = 0
    for (out, a), (inp, b) in product(zip(outs, p, strict=True), zip(inps, q, strict=True)):
        part = plain.scatter(plain.gather(conv.weight, out, inp), conv.weight.shape, out, inp)
        expected = expected + a * b * F.conv3d(x, part, None, conv.stride, conv.padding)
    if bias:
        for out, a in zip(outs, p, strict=True):
            expected = expected + a * plain.scatter(plain.gather(conv.bias, out), (7,), out).view(1, -1, 1, 1, 1)
    found = conv(x, mix_windows(outs, p), mix_windows(inps, q))
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(found, conv(x, mix_windows(outs, p), whole(5)))
    assert not torch.allclose(found, conv(x, whole(7), mix_windows(inps, q)))


def test_both_axes_of_the_weight_are_masked():
    """Exact gradients on a hand-made case: windows 0-1 and 1-3 of 5 outputs, 0 and 1-2 of 3 inputs. Rejects a gradient
    outside the windows, and one with the mask of one axis."""
    conv = SuperConv3d(3, 5).double()
    out = mix_windows([Window(0, 2, 5), Window(1, 3, 5)], torch.tensor([0.25, 0.5], dtype=torch.float64))
    inp = mix_windows([Window(0, 1, 3), Window(1, 2, 3)], torch.tensor([1.0, 0.125], dtype=torch.float64))
    conv(torch.ones(1, 3, 1, 1, 1, dtype=torch.float64), out, inp).sum().backward()
    rows, columns = torch.tensor([0.25, 0.75, 0.5, 0.5, 0]), torch.tensor([1, 0.125, 0.125])
    assert torch.equal(conv.weight.grad[..., 0, 0, 0], torch.outer(rows, columns).double())


def test_a_mixed_depthwise_convolution_is_the_sum_of_its_kernels(plain):
    """One convolution for each (window, kernel) pair, each with its own padding. Rejects padding by another kernel than
    the largest, groups of another number, and a kernel that is not centred."""
    conv = SuperDepthwiseConv3d(7, (5, 5), 2).double()
    p, q = weights(4, 9), weights(4, 10)
    x = torch.randn(2, 7, 5, 11, 7, dtype=torch.float64)
    expected = 0
    for (out, a), (kernel, b) in product(zip(OUT, p, strict=True), zip(KERNELS, q, strict=True)):
        t, k = kernel
        part = plain.scatter(plain.gather(conv.weight, out), conv.weight.shape, out)
        pad = (t // 2, k // 2, k // 2)
        expected = expected + a * b * F.conv3d(x, centre_crop(part, kernel), None, (1, 2, 2), pad, 1, 7)
    found = conv(x, mix_windows(OUT, p), mix_kernels(KERNELS, q))
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('training', [False, True])
def test_a_mixed_norm(training):
    """The expected mask on weight and bias, statistics of all channels. Rejects statistics that are masked (0 variance
    would blow a channel up), a bias of an unused channel that leaks, and running statistics that stand still."""
    norm = SuperBatchNorm3d(7).double().train(training)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)
    torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    x = torch.randn(3, 7, 2, 3, 5, dtype=torch.float64)
    mixed = mix_windows([Window(0, 3, 7), Window(2, 4, 7)], weights(2, 11))
    assert mixed.mask[6] == 0
    mean, var = (
        (x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4), correction=0))
        if training
        else (
            norm.running_mean.clone(),
            norm.running_var.clone(),
        )
    )
    scale, shift = norm.weight * mixed.mask, norm.bias * mixed.mask
    mean, var, scale, shift = (t.view(1, -1, 1, 1, 1) for t in (mean, var, scale, shift))
    before = norm.running_mean.clone()
    found = norm(x, mixed)
    assert torch.allclose(found, (x - mean) / (var + norm.eps).sqrt() * scale + shift, rtol=1e-12, atol=1e-12)
    assert (found[:, 6] == 0).all()
    assert torch.equal(norm.running_mean, before) is not training


def test_masks_are_not_rounded_under_autocast():
    """Rejects masks by a matrix product: autocast would run it in 16 bits, and one part in 256 of a weight is lost."""
    p = torch.tensor([0.3333333, 0.6666667, 0.1])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        window, kernel = mix_windows(OUT[:3], p), mix_kernels(KERNELS[:3], p)
        move = mix_moves([(w, w) for w in OUT[:3]], p)
    for mask in (window.mask, kernel.mask, move):
        assert mask.dtype == torch.float32
    assert torch.equal(window.mask, mix_windows(OUT[:3], p).mask)
    assert window.mask[6] == p[0]


def test_a_mixed_window_holds_all_channels():
    """Rejects a length by the largest candidate: nothing is cut off, also where every width is narrow."""
    narrow = mix_windows([Window(0, 2, 7), Window(3, 2, 7)], torch.ones(2))
    assert isinstance(narrow, MixedWindow) and narrow.length == 7


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_a_weighed_output(dtype):
    """Rejects a product in another dtype than the output's, a weight's gradient that overflows in 16 bits (its sum is
    past 65,504 while all terms are small), and one that cannot be differentiated again (for the exact Hessian)."""
    weight = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    x = torch.full((40, 50, 60), 2.0, dtype=dtype, requires_grad=True)
    y = weigh(weight, x)
    assert y.dtype == dtype and (y == 1).all()
    slope, back = torch.autograd.grad(y, [weight, x], torch.ones_like(y), create_graph=True)
    assert slope == 2 * 40 * 50 * 60 and back.dtype == dtype and (back == 0.5).all()
    (again,) = torch.autograd.grad(back, [weight], torch.full_like(back, 1e-3))
    assert again == pytest.approx(40 * 50 * 60 * 1e-3, rel=1e-2)
