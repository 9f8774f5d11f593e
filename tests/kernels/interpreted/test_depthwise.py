"""Depthwise Conv3d by our kernels, run by Triton's interpreter on a CPU."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmnas_video.entangle import MixedWindow, SuperDepthwiseConv3d, Window, whole
from mmnas_video.kernels import depthwise_conv3d, use_triton
from mmnas_video.kernels import depthwise_launch as launch
from mmnas_video.kernels import depthwise_plan as plans
from mmnas_video.kernels.choose import SWITCH
from tests.kernels.depthwise_oracle import CASES, Case, assert_right, forget_plans, run


@pytest.fixture(autouse=True)
def one_program(monkeypatch):
    """As few programs as can be: the interpreter takes the same time for one lane as for thousands."""
    monkeypatch.setattr(plans, 'LANES', 4096)
    monkeypatch.setattr(plans, 'WANTED_PROGRAMS', 1)
    monkeypatch.setattr(plans, 'GRADIENT_STRIPS', 32)
    monkeypatch.setattr(plans, 'GRADIENT_CHANNELS', 512)
    monkeypatch.setattr(launch, 'PACK_BLOCK', 16384)
    monkeypatch.setattr(launch, 'REDUCE_BLOCK', 16384)
    forget_plans()
    yield
    forget_plans()


@pytest.mark.parametrize('name', CASES)
def test_output_and_gradients_equal_fp64_but_for_rounding(name):
    """Rejects taps or kernel rows in another order, a parity exchanged, a border read instead of padded, a frame left
    out at the end of a clip, sums in the storage's dtype, a window's end that does not go round, a gradient outside the
    window, and masks that are right only for even channel counts.
    """
    assert use_triton(torch.empty(1, 1, 1, 1, 1)), 'the interpreter is off: this would compare PyTorch with itself'
    assert_right(CASES[name])


@pytest.mark.parametrize(
    ('size', 'reduction', 'gradient'),
    [((2, 6, 3, 5, 9), 100, (2, 3, (2, 1, 1))), ((2, 13, 4, 3, 2), 0, (2, 2, (4, 2, 1)))],
    ids=['strips in rounds', 'chunks and tiles'],
)
def test_work_cut_into_many_programs(monkeypatch, size, reduction, gradient):
    """Rejects a chunk of frames that forgets its neighbours' planes or writes them, lanes of the last program that
    write past the end, a second tile of channels that lands on the first, and a partial sum that is dropped or added
    twice.
    """
    monkeypatch.setattr(plans, 'LANES', 32)
    monkeypatch.setattr(plans, 'WANTED_PROGRAMS', 6)
    monkeypatch.setattr(plans, 'LEAST_CHUNK', 2)
    monkeypatch.setattr(plans, 'GRADIENT_STRIPS', 2)
    monkeypatch.setattr(plans, 'GRADIENT_CHANNELS', 8)
    monkeypatch.setattr(plans, 'REDUCE_COST', reduction)
    forget_plans()
    monkeypatch.setattr(launch, 'PACK_BLOCK', 16)
    monkeypatch.setattr(launch, 'REDUCE_BLOCK', 32)
    monkeypatch.setattr(launch, 'REDUCE_PARTIALS', 2)
    batch, channels, frames, *plane = size
    plan = plans.plan_gradient(plans.Work(batch, channels, frames, tuple(plane), tuple(plane), (3, 1, 3)))
    assert plan[2:] == gradient, 'this test is about this cut: strip programs, chunk, grid'
    assert_right(Case(size, (3, 1, 3), 1, (17, 3, 1, 3), 15))


@pytest.mark.parametrize(
    ('shape', 'start', 'kernel'),
    [
        ((5, 1, 1, 3, 3), 7, None),
        ((5, 1, 1, 3, 3), 0, (1, 5, 5)),
        ((5, 2, 1, 3, 3), 0, None),
        ((5, 1, 3, 3), 0, (1, 3, 3)),
        ((5, 1, 1, 3, 3), 0, (3, 3)),
        ((2, 1, 1, 3, 3), 0, None),
    ],
    ids=['start', 'kernel', 'groups', 'axes', 'two taps', 'channels'],
)
def test_a_weight_that_does_not_fit_is_refused_as_pytorch_does(shape, start, kernel, monkeypatch):
    """Rejects kernels that read beyond the end of a weight: numbers of whatever lies there, or a fault on a GPU."""
    said = []
    for switch in ('auto', 'off'):
        monkeypatch.setenv(SWITCH, switch)
        with pytest.raises((RuntimeError, IndexError)) as error:
            depthwise_conv3d(torch.ones(1, 5, 2, 3, 7), torch.ones(shape), start, kernel)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_any_shape_equals_the_baked_one(monkeypatch):
    """Rejects a kernel for any shape, which a supernet's widths use, that differs from the one with the shape baked
    in; and a bound on baked shapes that is not kept.
    """
    monkeypatch.setattr(launch, '_baked', set())
    case = Case((1, 6, 2, 4, 7), (1, 3, 3), 2, (6, 1, 3, 3), 0)
    baked = run(case)
    shapes = len(launch._baked)
    assert shapes == 2, 'forward and input gradient exchange inner and outer size; the weight gradient is as forward'
    monkeypatch.setattr(plans, 'BAKED_SHAPES', 0)
    monkeypatch.setattr(launch, '_baked', set())
    plain = run(case)
    assert launch._baked == set()
    for name in baked:
        assert torch.equal(baked[name][0], plain[name][0]), name


def test_twice_the_same_bit_for_bit():
    """Rejects atomics and any other order that changes from run to run."""
    case = Case((3, 7, 2, 5, 9), (1, 3, 3), 1, (7, 1, 3, 3), 0)
    first, second = run(case), run(case)
    assert all(torch.equal(first[name][0], second[name][0]) for name in first)


class Seen(TorchDispatchMode):
    """Names of the operators that run inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name().split('.')[0])
        return func(*args, **(kwargs or {}))


def test_a_window_is_read_and_its_gradient_written_in_place(monkeypatch):
    """Rejects a slice, a join or a cropped copy of the weight on the way in, and a cleared buffer for each slice on the
    way back.
    """
    layer = SuperDepthwiseConv3d(7, (5, 5), 2)
    x = torch.randn(1, 4, 2, 5, 3).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    read = []
    pack = launch._pack
    monkeypatch.setattr(launch, '_pack', lambda weight, *rest: read.append(weight) or pack(weight, *rest))
    with Seen() as forward:
        y = layer(x, Window(5, 4, 7), (1, 3))
    dy = torch.ones_like(y)
    with Seen() as backward:
        y.backward(dy)
    ours = 'mmnas_video::depthwise_conv3d'
    assert forward.names == [ours]
    # Autograd detaches what it stores in .grad; a view.
    assert sorted({*backward.names} - {'aten::detach'}) == [f'{ours}_input_gradient', f'{ours}_weight_gradient']
    assert [w.data_ptr() for w in read] == [layer.weight.data_ptr()] * 2
    assert [w.stride() for w in read] == [layer.weight.stride()] * 2
    used = layer.weight.grad != 0
    expected = torch.zeros_like(used)
    for channel in (5, 6, 0, 1):
        expected[channel, :, 2, 1:4, 1:4] = True
    assert torch.equal(used, expected)


@pytest.mark.parametrize('mixed', [False, True], ids=['window', 'mixed'])
def test_the_layer_off_is_pytorch_and_on_the_same_numbers(monkeypatch, mixed):
    """Rejects a switch that is not asked, and a mixed window that is sliced a second time."""
    layer = SuperDepthwiseConv3d(5, (3, 3))
    window = MixedWindow(torch.tensor([1.0, 0.25, 0.5, 0.0, 0.75]), 5) if mixed else Window(3, 4, 5)
    x = torch.randn(1, window.length, 2, 3, 4)
    calls = []
    convolve = F.conv3d
    monkeypatch.setattr(F, 'conv3d', lambda *args: calls.append(args) or convolve(*args))
    ours = layer(x, window, (1, 3))
    assert calls == []
    monkeypatch.setenv(SWITCH, 'off')
    theirs = layer(x, window, (1, 3))
    assert len(calls) == 1
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)


def test_autocast_casts_as_pytorch_does():
    """Rejects fp32 computed where PyTorch casts, and a weight gradient that was rounded on its way to fp32."""
    torch.manual_seed(0)
    weight = torch.randn(3, 1, 1, 3, 3, requires_grad=True)
    x = torch.randn(2, 3, 2, 5, 7, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        y = depthwise_conv3d(x, weight)
    assert y.dtype == torch.bfloat16
    y.backward(torch.randn(y.shape).bfloat16())
    assert (x.grad.dtype, weight.grad.dtype) == (torch.float32, torch.float32)
    exact = F.conv3d(x.detach().bfloat16().double(), weight.detach().bfloat16().double(), None, 1, (0, 1, 1), 1, 3)
    assert ((y - exact).abs() <= 2.0**-8 * exact.abs() + 1e-5).all()
    assert not torch.equal(weight.grad, weight.grad.bfloat16().float())


def test_any_layout_and_an_expanded_gradient():
    """Rejects strides that are taken for granted: a contiguous input, and the expanded gradient of a mean."""
    weight = torch.randn(3, 1, 1, 3, 3)
    x = torch.randn(2, 3, 2, 5, 4)
    inputs = [x.clone(), x.contiguous(memory_format=torch.channels_last_3d), x.transpose(3, 4).clone().transpose(3, 4)]
    grads = []
    for each in inputs:
        each.requires_grad_()
        depthwise_conv3d(each, weight).mean().backward()
        grads.append(each.grad)
    assert torch.equal(grads[0], grads[1]) and torch.equal(grads[0], grads[2])
    expected = F.conv_transpose3d(torch.full_like(x, 1 / x.numel()), weight, None, 1, (0, 1, 1), 0, 3)
    assert torch.allclose(grads[0], expected, rtol=0, atol=1e-7)


def test_compiled_without_a_break():
    """Rejects an operator that ``torch.compile`` cannot see through to its gradients, or that breaks the graph."""
    torch.manual_seed(0)
    layer = SuperDepthwiseConv3d(4, (3, 3), 2)
    compiled = torch.compile(lambda x: layer(x.relu(), whole(4), (1, 3)).sin(), backend='aot_eager', fullgraph=True)
    x = torch.randn(1, 4, 2, 3, 5)
    results = []
    for function in (compiled, lambda x: layer(x.relu(), whole(4), (1, 3)).sin()):
        layer.zero_grad()
        y = function(x)
        y.sum().backward()
        results.append((y.detach(), layer.weight.grad.clone()))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
