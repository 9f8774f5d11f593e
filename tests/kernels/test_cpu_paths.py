"""Convolutions by what is fast on a CPU: against F.conv3d in fp64, and where they stay with PyTorch's own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmnas_video.kernels import Conv3d, choose, conv3d, depthwise_conv3d, depthwise_cpu
from tests.kernels.depthwise_oracle import CASES, Case, assert_right, bound

DEPTHWISE = {
    **{name: case._replace(dtype=torch.float32) for name, case in CASES.items()},
    'fewer frames than taps': Case((2, 3, 2, 7, 5), (5, 3, 3), 1, (5, 5, 3, 3), 1),
    'stride 2, even sizes': Case((1, 5, 3, 8, 4), (3, 3, 3), 2, (7, 3, 5, 5), 6),
    'stride 2, time alone': Case((2, 5, 3, 7, 4), (3, 1, 1), 2, (7, 3, 5, 5), 0),
    'stride 2, rows alone': Case((2, 5, 3, 7, 4), (1, 3, 1), 2, (7, 1, 3, 1), 0),
}
# size of x, C' and kernel, stride, padding; PyTorch's other operator for it
DENSE = {
    'pointwise': ((2, 3, 5, 7, 11), (13, 1, 1, 1), (1, 1, 1), (0, 0, 0), 'linear'),
    'over time': ((2, 5, 7, 3, 11), (13, 3, 1, 1), (1, 1, 1), (1, 0, 0), 'conv2d'),
    'over time, strided': ((2, 5, 17, 3, 7), (3, 5, 1, 1), (8, 1, 1), (2, 0, 0), 'conv2d'),
    'few channels, frames': ((1, 3, 5, 7, 11), (13, 1, 3, 3), (1, 2, 2), (0, 1, 1), 'conv2d'),
    'frames of two clips': ((2, 3, 5, 7, 11), (13, 1, 3, 3), (1, 2, 2), (0, 1, 1), 'conv3d'),
    'many channels, frames': ((1, 5, 3, 7, 11), (13, 1, 3, 3), (1, 1, 1), (0, 1, 1), 'conv3d'),
    'pointwise, strided': ((2, 3, 5, 7, 11), (13, 1, 1, 1), (1, 2, 2), (0, 0, 0), 'conv3d'),
    'one tap, strided in time': ((2, 3, 5, 7, 11), (13, 1, 1, 1), (2, 1, 1), (0, 0, 0), 'conv3d'),
    'pointwise, padded': ((2, 3, 5, 7, 11), (13, 1, 1, 1), (1, 1, 1), (0, 0, 1), 'conv3d'),
    'time and space': ((2, 3, 5, 7, 11), (13, 3, 3, 3), (1, 1, 1), (1, 1, 1), 'conv3d'),
}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Small tensors too, by default, with one thread."""
    monkeypatch.delenv(choose.SWITCH, raising=False)
    monkeypatch.setattr(depthwise_cpu, 'LEAST', 0)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 1)


def last(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Noise in ``channels_last_3d``."""
    return torch.randn(size).to(dtype, memory_format=torch.channels_last_3d).requires_grad_()


@pytest.mark.parametrize('name', DEPTHWISE)
def test_depthwise_equals_fp64_but_for_rounding(name, monkeypatch):
    """Rejects a kernel that is not turned round for the gradient of x, taps in time that take the wrong frames, outputs
    of stride 2 put beside their place, and a gradient written to other channels or taps than the window's.
    """
    calls = []
    for piece in ('convolve', 'input_gradient', 'weight_gradient'):
        ours = getattr(depthwise_cpu, piece)
        monkeypatch.setattr(depthwise_cpu, piece, lambda *args, p=piece, f=ours: calls.append(p) or f(*args))
    assert_right(DEPTHWISE[name])
    assert calls == ['convolve', 'input_gradient', 'weight_gradient']


def test_depthwise_gradients_of_gradients():
    """Rejects a second derivative that is missing or of the wrong operator (second-order search)."""
    torch.manual_seed(0)
    x, weight, direction = (
        last(2, 3, 5, 7, 4),
        torch.randn(5, 1, 3, 3, 3, requires_grad=True),
        torch.randn(2, 3, 5, 4, 2),
    )

    def second(x, weight, convolve):
        y = convolve(x, weight)
        grads = torch.autograd.grad(y.square(), (x, weight), direction.to(y), create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), (x, weight))

    def exact(x, weight):
        return F.conv3d(x, weight[1:4], None, (1, 2, 2), 1, 1, 3)

    ours = second(x, weight, lambda x, weight: depthwise_conv3d(x, weight, 1, (3, 3, 3), 2))
    theirs = second(x.double(), weight.double(), exact)
    for mine, right in zip(ours, theirs, strict=True):
        # Sums of sums of at most 27 x 40 products: far below 1e-5 of the largest, and far above rounding.
        assert (mine.double() - right).abs().max() <= 1e-5 * right.abs().max()


@pytest.mark.parametrize('name', DENSE)
def test_dense_equals_fp64_but_for_rounding(name, monkeypatch):
    """Rejects frames and rows put back in another order, a stride or a padding that is lost, and a path that the shape
    is not for.
    """
    size, (out, *kernel), stride, padding, operator = DENSE[name]
    torch.manual_seed(0)
    x = last(*size)
    layer = Conv3d(size[1], out, kernel, stride, padding)
    calls = []
    for other in ('linear', 'conv2d', 'conv3d'):
        theirs = getattr(F, other)
        monkeypatch.setattr(F, other, lambda *args, o=other, f=theirs: calls.append(o) or f(*args))
    y = layer(x)
    monkeypatch.undo()
    assert calls == [operator]
    assert operator == 'conv3d' or y.is_contiguous(memory_format=torch.channels_last_3d)
    dy = torch.randn(y.shape)
    ours = (y, *torch.autograd.grad(y, (x, layer.weight, layer.bias), dy))

    def all_four(*tensors):
        x, weight, bias, dy = (tensor.detach().double().requires_grad_() for tensor in tensors)
        y = F.conv3d(x, weight, bias, stride, padding)
        return y, *torch.autograd.grad(y, (x, weight, bias), dy)

    tensors = (x, layer.weight, layer.bias, dy)
    taps, positions = math.prod(kernel), dy.numel() // out
    terms = (size[1] * taps + 1, out * taps, positions, positions)
    exact, magnitude = all_four(*tensors), all_four(*(tensor.abs() for tensor in tensors))
    for mine, right, most, count in zip(ours, exact, magnitude, terms, strict=True):
        assert ((mine.double() - right).abs() <= bound(count, most, right, torch.float32)).all()


@pytest.mark.parametrize('clips, expected', [(1, ['conv3d', 'conv2d', 'conv2d']), (2, ['conv3d'] * 3)])
def test_with_more_threads_pytorch_knows_better(clips, expected, monkeypatch):
    """Rejects matrix products where oneDNN has its own threads, and more than one clip taken from it."""
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    calls = []
    for other in ('linear', 'conv2d', 'conv3d'):
        theirs = getattr(F, other)
        monkeypatch.setattr(F, other, lambda *args, o=other, f=theirs: calls.append(o) or f(*args))
    for kernel, padding in (((1, 1, 1), (0, 0, 0)), ((3, 1, 1), (1, 0, 0)), ((1, 3, 3), (0, 1, 1))):
        conv3d(last(clips, 3, 5, 7, 11), torch.randn(13, 3, *kernel), None, (1, 1, 1), padding)
    assert calls == expected


@pytest.mark.parametrize('why', ['off', 'fp64', 'autocast', 'counted', 'another layout'])
def test_elsewhere_it_is_pytorch_to_the_bit(why, monkeypatch):
    """Rejects another order of sums where somebody asked for PyTorch's, a dtype that autocast would not have given, and
    multiply-adds that a counter does not see.
    """
    torch.manual_seed(0)
    dtype = torch.float64 if why == 'fp64' else torch.float32
    x = last(2, 17, 5, 7, 11, dtype=dtype)
    dense = torch.randn(13, 17, 1, 1, 1, dtype=dtype, requires_grad=True)
    deep = torch.randn(17, 1, 3, 3, 3, dtype=dtype, requires_grad=True)
    pairs = {
        dense: (conv3d, F.conv3d),
        deep: (depthwise_conv3d, lambda x, weight: F.conv3d(x, weight, None, 1, 1, 1, 17)),
    }
    if why == 'off':
        monkeypatch.setenv(choose.SWITCH, 'off')
    if why == 'another layout':
        x = x.detach().contiguous().requires_grad_()
        del pairs[deep]
    context = FlopCounterMode(display=False) if why == 'counted' else torch.autocast('cpu', enabled=why == 'autocast')
    for weight, (ours, theirs) in pairs.items():
        results = []
        for convolve in (ours, theirs):
            with context:
                y = convolve(x, weight)
            dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)
            results.append((y, *torch.autograd.grad(y, (x, weight), dy)))
        for found, exact in zip(*results, strict=True):
            assert found.dtype == exact.dtype and torch.equal(found, exact)
        if why == 'counted':  # the last of both, forward
            assert context.get_total_flops() == 2 * 2 * 5 * 7 * 11 * weight.numel()
