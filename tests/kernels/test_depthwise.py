"""Depthwise Conv3d by our operators, without the interpreter: gradients, the CPU path, plans, what it compiles to."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmnas_video.entangle import SuperDepthwiseConv3d, Window
from mmnas_video.kernels import choose, depthwise, depthwise_conv3d
from mmnas_video.kernels import depthwise_plan as plans
from mmnas_video.kernels import depthwise_reference as plain
from mmnas_video.kernels.depthwise_plan import Work
from tests.kernels.depthwise_oracle import CASES, Case, assert_right

ours = torch.ops.mmnas_video
WINDOW = (3, (1, 3, 3), 2)  # start, kernel, stride: goes round, is cropped


def tensors(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 2, 3, 5, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)
    return x.requires_grad_(), torch.randn(5, 1, 3, 3, 3, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize('door', [ours.depthwise_conv3d, depthwise.convolve])
def test_gradients_and_their_gradients(door):
    """Rejects input and weight gradient exchanged, a window that only one of them knows, and a gradient of a gradient
    that is missing (second-order search) or that is the wrong one of the three operators.
    """
    x, weight = tensors()

    def convolve(x, weight):
        return door(x, weight, *WINDOW)

    assert torch.autograd.gradcheck(convolve, (x, weight))
    assert torch.autograd.gradgradcheck(convolve, (x, weight))


@pytest.mark.parametrize('name', ['depthwise_conv3d', 'input_gradient', 'weight_gradient'])
def test_registered_as_pytorch_wants_it(name):
    """Rejects shapes or strides promised to ``torch.compile`` that are not those that come out, an operator that
    returns its argument, and gradients registered where tracing does not see them.
    """
    x, weight = tensors(torch.float32)
    dy = ours.depthwise_conv3d(x, weight, *WINDOW).detach().requires_grad_()
    arguments = {
        'depthwise_conv3d': (x, weight, *WINDOW),
        'input_gradient': (dy, weight, *WINDOW, list(x.shape[3:])),
        'weight_gradient': (x, dy, weight.detach(), *WINDOW),
    }[name]
    operator = ours.depthwise_conv3d if name == 'depthwise_conv3d' else getattr(ours, f'depthwise_conv3d_{name}')
    torch.library.opcheck(operator.default, arguments)


def test_small_on_a_cpu_it_is_pytorch_to_the_bit(monkeypatch):
    """Rejects a way through our operators where it is slower, and a copy of the window."""
    monkeypatch.delenv(choose.SWITCH, raising=False)
    layer = SuperDepthwiseConv3d(7, (5, 5), 2)
    x = torch.randn(2, 3, 5, 13, 11)
    calls = []
    convolve = F.conv3d
    monkeypatch.setattr(F, 'conv3d', lambda *args: calls.append(args) or convolve(*args))
    y = layer(x, Window(2, 3, 7), (3, 3))
    expected = convolve(x, layer.weight[2:5, :, 1:4, 1:4, 1:4], None, (1, 2, 2), (1, 1, 1), 1, 3)
    assert torch.equal(y, expected)
    (arguments,) = calls
    assert arguments[1].untyped_storage().data_ptr() == layer.weight.untyped_storage().data_ptr()


def test_another_width_than_the_window_is_an_error():
    """Rejects channels taken from x where the window says otherwise: it would train the wrong weights in silence."""
    with pytest.raises(ValueError, match='x: found 4 channels, expected the 3 of the window'):
        SuperDepthwiseConv3d(7, (3, 3))(torch.randn(1, 4, 1, 3, 3), Window(0, 3, 7), (3, 3))


@pytest.mark.parametrize('frames', [1, 2, 3, 5, 13, 64])
@pytest.mark.parametrize('size', [1, 5, 11, 40])
def test_plans_cover_the_work(frames, size):
    """Rejects chunks or strips that leave frames or rows out, and a chunk with nothing to do."""
    for kernel, channels in [((3, 3, 3), 54), ((5, 5, 5), 433), ((1, 1, 1), 1)]:
        work = Work(2, channels, frames, (size, size), (size, size), kernel)
        slide, gradient = plans.plan_slide(work), plans.plan_gradient(work)
        lanes = 2 * plans.strips(work.outer, slide.patch) * channels
        assert (slide.grid[0] - 1) * slide.units * work.vec < lanes <= slide.grid[0] * slide.units * work.vec
        chunks = gradient.grid[0] // gradient.strip_programs
        for chunk, count in ((slide.chunk, slide.grid[1]), (gradient.chunk, chunks)):
            assert (count - 1) * chunk < frames <= count * chunk
        assert gradient.grid[1] * plans.GRADIENT_CHANNELS >= channels
        assert gradient.grid[2] * gradient.group >= kernel[0]


def test_patches_leave_no_ragged_edge_where_one_fits():
    """Rejects one patch for all maps: at 5 x 5, 2 x 4 leaves half of its lanes idle."""
    for size, patch in ((5, (2, 5)), (10, (2, 5)), (20, (2, 4)), (40, (2, 4)), (80, (2, 4))):
        assert plans.patch_for(Work(32, 54, 13, (size, size), (size, size), (3, 3, 3)), 3) == patch, size


def test_a_kernel_without_time_reads_less():
    """Rejects patches as small as those of 3x3x3 where only one plane of sums is kept: 1x5x5 would read each value six
    times; and large ones where they do not fit: under a stride, with more taps of time, or with a ragged edge."""
    kernel, fine, coarse = (1, 5, 5), (20, 20), (10, 10)
    sliding = plans.plan_slide(Work(32, 108, 13, fine, fine, kernel))
    read = math.prod(p + k - 1 for p, k in zip(sliding.patch, kernel[1:], strict=True))
    assert read / math.prod(sliding.patch) == 4
    assert plans.plan_slide(Work(32, 108, 13, coarse, coarse, kernel)).patch == (2, 5)
    assert plans.plan_slide(Work(32, 108, 13, fine, coarse, kernel, 2)).patch == (2, 5)
    assert plans.plan_slide(Work(32, 108, 13, coarse, fine, kernel, 1, 2)).patch == plans.PATCH_OF_UPSAMPLED
    assert plans.plan_slide(Work(32, 108, 13, fine, fine, (3, 5, 5))).patch == (2, 4)
    taps = {(1, 5, 5): (1, (4, 4)), (5, 5, 5): (1, (4, 4)), (3, 3, 3): (3, (2, 4)), (5, 3, 3): (3, (2, 4))}
    for kernel, (group, patch) in taps.items():
        gradient = plans.plan_gradient(Work(32, 108, 13, fine, fine, kernel))
        assert (gradient.group, gradient.patch, gradient.grid[2]) == (group, patch, -(-kernel[0] // group)), kernel


def test_the_weight_gradient_is_shared_out_evenly():
    """Rejects 268 programs for 132 multiprocessors, where four of them have a third one to do while all others wait;
    more programs, and planes that are loaded twice, for nothing; and few where that leaves lanes idle."""
    for channels, size, kernel, programs in (
        (108, 20, (1, 5, 5), 200),
        (54, 40, (3, 3, 3), 320),
        (108, 20, (1, 3, 3), 400),
    ):
        plan = plans.plan_gradient(Work(32, channels, 13, (size, size), (size, size), kernel))
        assert (math.prod(plan.grid), plan.chunk) == (programs, 13), kernel


def test_compiles_for_hopper(tmp_path, monkeypatch):
    """Rejects what only Triton's compiler refuses (the interpreter is plain Python), registers that spill, a value
    that goes through shared memory on its way to its taps, and products that are not fused with their sums.
    """
    pytest.importorskip('triton', reason='needs triton')
    if choose.INTERPRETED:
        pytest.skip('the interpreter is on: nothing is compiled')
    from mmnas_video.kernels.depthwise_compiled import gradient_resources, slide_resources

    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    # 1x3x3, the quickest to compile; tools/benchmarks/kernels.py --compiled does all.
    kernel, fine, coarse = (1, 3, 3), (20, 20), (10, 10)
    forward = slide_resources(Work(32, 108, 13, fine, fine, kernel))
    backward = slide_resources(Work(32, 108, 13, coarse, fine, kernel, 1, 2), flip=True)
    weight = gradient_resources(Work(32, 108, 13, fine, fine, kernel))
    # 2 channels x 8 outputs a thread; upsampled by 2 a tap meets a quarter of the outputs.
    products = math.prod(kernel) * 8 * 2
    for found, fused in ((forward, products), (backward, products // 4), (weight, products)):
        assert found.stack == 0 and found.registers <= 168, found
        assert found.instructions['FFMA'] >= fused and found.instructions['FMUL'] <= fused // 8, found
    assert forward.shared == backward.shared == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA GPU: runs the compiled kernels')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('name', CASES)
def test_on_a_gpu_equals_fp64_but_for_rounding(name, dtype):
    """Rejects what the interpreter cannot show: races, layouts, and arithmetic of the compiled code."""
    assert_right(CASES[name]._replace(dtype=dtype), 'cuda')


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA GPU: a CUDA graph, large shapes, all kernels')
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kernel', [(t, k, k) for t in (1, 3, 5) for k in (1, 3, 5)], ids=str)
def test_on_a_gpu_every_kernel_at_size(kernel, stride):
    """Rejects programs that are right alone and wrong among thousands; replayed from a CUDA graph, bit for bit."""
    assert_right(Case((4, 54, 13, 27, 21), kernel, stride, (54, *kernel), 0, torch.bfloat16), 'cuda')
    x = torch.randn(4, 54, 13, 27, 21, device='cuda')
    weight = torch.randn(54, 1, *kernel, device='cuda')
    eager = depthwise_conv3d(x, weight, 0, kernel, stride)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = depthwise_conv3d(x, weight, 0, kernel, stride)
    graph.replay()
    assert torch.equal(eager, replayed)
    exact = plain.reference(x.double(), weight.double(), 0, kernel, stride)
    assert torch.allclose(eager.double(), exact, rtol=0, atol=1e-3)
