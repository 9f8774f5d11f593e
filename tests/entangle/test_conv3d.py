"""Shared convolutions against plain ones built from gathered weights, in double precision."""

from itertools import product

import pytest
import torch
from torch import nn

from mmnas_video.cost import Cost, count
from mmnas_video.entangle import SuperConv3d, SuperDepthwiseConv3d, Window, strided, whole

OUT = [whole(7), Window(0, 3, 7), Window(2, 5, 7), Window(5, 4, 7), Window(6, 7, 7)]
INP = [whole(5), Window(1, 3, 5), Window(4, 2, 5), Window(3, 5, 5)]


def close(a, b):
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize(('kernel', 'stride'), [((1, 1, 1), (1, 1, 1)), ((1, 1, 1), (1, 2, 2)), ((3, 5, 5), (1, 2, 2))])
def test_conv_equals_a_plain_one(bias, kernel, stride, plain):
    """Rejects input and output windows exchanged, wrapped channels in another order, a bias that is not
    sliced, and
    gradients that reach outside the window or miss a part of it.
    """
    torch.manual_seed(0)
    layer = SuperConv3d(5, 7, kernel, stride, bias).double()
    if bias:
        nn.init.normal_(layer.bias)
    for out, inp in product(OUT, INP):
        ours = torch.randn(2, inp.length, 3, 13, 11, dtype=torch.float64, requires_grad=True)
        theirs = ours.detach().clone().requires_grad_()
        reference = nn.Conv3d(inp.length, out.length, kernel, stride, [k // 2 for k in kernel], bias=bias).double()
        reference.weight.data = plain.gather(layer.weight, out, inp)
        if bias:
            reference.bias.data = plain.gather(layer.bias, out)
        layer.zero_grad()
        y, expected = layer(ours, out, inp), reference(theirs)
        upstream = torch.randn_like(expected)
        y.backward(upstream), expected.backward(upstream)
        assert close(y, expected) and close(ours.grad, theirs.grad)
        assert close(layer.weight.grad, plain.scatter(reference.weight.grad, layer.weight.shape, out, inp))
        if bias:
            assert close(layer.bias.grad, plain.scatter(reference.bias.grad, (7,), out))


@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise_equals_a_plain_one(stride, plain):
    """Rejects a corner crop, padding of the largest kernel, groups of the largest width, a stride in time,
    and
    gradients outside the window or the crop.
    """
    torch.manual_seed(1)
    layer = SuperDepthwiseConv3d(7, (5, 5), stride).double()
    for channels, (t, k) in product(OUT, [(1, 3), (1, 5), (3, 3), (5, 3), (3, 5), (5, 5)]):
        n = channels.length
        x = torch.randn(2, n, 5, 13, 11, dtype=torch.float64)
        reference = nn.Conv3d(n, n, (t, k, k), (1, stride, stride), (t // 2, k // 2, k // 2), groups=n, bias=False)
        first, edge = (5 - t) // 2, (5 - k) // 2
        kernel = plain.gather(layer.weight, channels)[:, :, first : first + t, edge : edge + k, edge : edge + k]
        reference.double().weight.data = kernel.clone()
        layer.zero_grad()
        y, expected = layer(x, channels, (t, k)), reference(x)
        upstream = torch.randn_like(expected)
        y.backward(upstream), expected.backward(upstream)
        assert close(y, expected)
        grad = plain.scatter(reference.weight.grad, layer.weight.shape, channels, centre=(t, k))
        assert close(layer.weight.grad, grad)


def test_slices_are_what_forward_reads():
    """Rejects a declared part that differs from the one used: extraction would copy other weights than those
    trained.
    """
    torch.manual_seed(2)
    conv, depthwise = SuperConv3d(5, 7, (1, 3, 3), bias=True), SuperDepthwiseConv3d(7, (5, 5))
    for out, inp, kernel in product(OUT, INP, [(1, 3), (5, 3), (5, 5)]):
        calls = [
            (conv, (torch.randn(2, inp.length, 5, 13, 11), out, inp), conv.slices('a.', out, inp)),
            (
                depthwise,
                (torch.randn(2, out.length, 5, 13, 11), out, kernel),
                depthwise.slices('a.', out, kernel),
            ),
        ]
        for layer, inputs, slices in calls:
            layer.zero_grad()
            layer(*inputs).square().sum().backward()
            parts = {part.name: part for part in slices}
            assert set(parts) == {f'a.{name}' for name, _ in layer.named_parameters()}
            for name, parameter in layer.named_parameters():
                mask = torch.zeros_like(parameter, dtype=torch.bool)
                parts[f'a.{name}'].mark(mask)
                assert torch.equal(parameter.grad != 0, mask)


def test_whole_windows_slice_nothing():
    """Rejects a pinned layer that still copies or slices: it must run its own weight, as ``Conv3d`` does."""
    layer = SuperConv3d(5, 7)
    assert {part(layer.state_dict()['weight']).data_ptr() for part in layer.slices('', whole(7), whole(5))} == {
        layer.weight.data_ptr()
    }
    graph = layer(torch.randn(1, 5, 2, 3, 3), whole(7), whole(5)).grad_fn
    assert any(f is not None and getattr(f, 'variable', None) is layer.weight for f, _ in graph.next_functions)


@pytest.mark.parametrize('size', [(5, 13, 11), (4, 8, 6), (1, 1, 1), (3, 2, 7)])
def test_cost_equals_the_counter(size):
    """Rejects the input's size for the output's, largest widths for those used, and a forgotten bias or
    group.
    """
    x = torch.zeros(1, 5, *size)
    for kernel, stride, bias in product(
        [(1, 1, 1), (1, 3, 3), (5, 1, 1)], [(1, 1, 1), (1, 2, 2), (2, 3, 1)], [False, True]
    ):
        reference = nn.Conv3d(5, 3, kernel, stride, [k // 2 for k in kernel], bias=bias)
        assert SuperConv3d(11, 7, kernel, stride, bias).cost(3, 5, size) == count(reference, x)[0]
    for (t, k), stride in product([(1, 3), (5, 3), (3, 5)], [1, 2]):
        reference = nn.Conv3d(5, 5, (t, k, k), (1, stride, stride), (t // 2, k // 2, k // 2), groups=5, bias=False)
        assert SuperDepthwiseConv3d(7, (5, 5), stride).cost(5, (t, k), size) == count(reference, x)[0]


def test_cost_by_hand():
    """Rejects a counter and a closed form that share a mistake: 3·5 weights of 3·3 taps at 2·4·3
    positions.
    """
    cost = SuperConv3d(5, 7, (1, 3, 3), (1, 2, 2), bias=True).cost(3, 5, (2, 7, 5))
    assert cost == Cost(macs=3 * 5 * 9 * 2 * 4 * 3, params=3 * 5 * 9 + 3)
    assert SuperDepthwiseConv3d(7, (5, 5), 2).cost(3, (3, 5), (2, 7, 5)) == Cost(3 * 75 * 2 * 4 * 3, 3 * 75)


def test_strided_is_torchs_output_size():
    """Rejects rounding down: 13 frames and 11 pixels are odd."""
    for size, stride, kernel in product([(5, 13, 11), (4, 8, 6), (1, 2, 3)], [1, 2, 3], [1, 3, 5]):
        y = nn.Conv3d(1, 1, kernel, stride, kernel // 2)(torch.zeros(1, 1, *size))
        assert strided(size, (stride,) * 3) == tuple(y.shape[2:])
