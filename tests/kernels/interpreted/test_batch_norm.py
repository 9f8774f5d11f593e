"""BatchNorm's kernels, and layers and blocks on them, against PyTorch's own in float64: outputs, statistics, gradients.

By Triton's interpreter; on a GPU by ``tests/kernels/test_batch_norm_gpu.py``.
"""

import copy
import itertools

import pytest
import torch

from mmnas_video.entangle import (
    SuperBatchNorm3d,
    SuperConv3d,
    Window,
    batch_statistics,
    recomputed,
    sync_norm,
    sync_norms,
    whole,
)
from mmnas_video.entangle import norm as norm_layers
from mmnas_video.entangle.sync_norm import merge_moments
from mmnas_video.errors import ConfigError
from mmnas_video.kernels import batch_norm_tiles
from mmnas_video.kernels.batch_norm import Statistics, excited, fuses, normalise, statistics
from mmnas_video.kernels.batch_norm_ops import input_op, sums_op
from mmnas_video.kernels.batch_norm_reference import excited_reference, reference
from mmnas_video.kernels.batch_norm_statistics import merge_kernel
from mmnas_video.models.blocks.mbconv3d import BlockWindows, MBConv3D
from mmnas_video.testing.compare import randomise
from tests.kernels.batch_norm_oracle import (
    DEVICE,
    EPS,
    SHAPE,
    Operators,
    assert_close,
    by_constants,
    clip,
    last,
    leaves,
    numbers,
)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WINDOWS = [whole(7), Window(2, 3, 7), Window(5, 4, 7)]


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """The interpreter takes the same time for one lane as for thousands."""
    if DEVICE == 'cpu':
        monkeypatch.setattr(batch_norm_tiles, 'PROGRAMS', 4)
        monkeypatch.setattr(batch_norm_tiles, 'ELEMENTS', 2**14)
        monkeypatch.setattr(batch_norm_tiles, 'MERGED', ((16, 512),))
    batch_norm_tiles.lay_tiles.cache_clear()  # kept by shape; here their constants change
    yield
    batch_norm_tiles.lay_tiles.cache_clear()


CASES = [
    # shape, dtype, activation, residual, gate, training
    (SHAPE, torch.float32, 'swish', False, False, True),
    (SHAPE, torch.bfloat16, 'relu', True, False, True),
    (SHAPE, torch.float16, 'swish', False, True, True),
    (SHAPE, torch.float32, 'relu', True, True, True),
    ((2, 1, 5, 13, 11), torch.float32, 'relu', False, False, True),
    ((2, 3, 5, 7, 11), torch.bfloat16, 'swish', True, True, True),
    ((3, 54, 2, 5, 7), torch.float32, 'swish', True, False, True),
    ((3, 54, 1, 5, 7), torch.float16, 'relu', False, False, True),
    ((2, 433, 1, 2, 3), torch.bfloat16, 'swish', False, True, True),
    ((1, 433, 1, 3, 5), torch.float32, 'none', True, False, True),
    ((2, 3, 5, 7, 11), torch.float32, 'none', False, True, False),
    ((2, 3, 5, 7, 11), torch.float32, 'relu', True, False, False),
    ((2, 54, 1, 3, 5), torch.bfloat16, 'swish', True, True, False),
]


@pytest.mark.parametrize(('shape', 'dtype', 'activation', 'residual', 'gate', 'training'), CASES)
def test_output_and_every_gradient(shape, dtype, activation, residual, gate, training):
    """Rejects lanes past C that take part, rows past the last one, another sample's gate, an activation's derivative
    at another place than its value, a residual before the gate, statistics taken as constants in training, and
    gradients through statistics that are constants, in eval mode."""
    channels = shape[1]
    parts = [
        clip(shape, dtype),
        numbers(channels, seed=1),
        numbers(channels, seed=2),
        clip(shape, dtype, seed=3) if residual else None,
        numbers(shape[0], channels, seed=4).sigmoid() if gate else None,
    ]
    ours, wide = leaves(parts), leaves(parts, wide=True)
    by = statistics(ours[0]) if training else by_constants(channels)
    y = normalise(ours[0], by, *ours[1:3], EPS, activation, *ours[3:])
    expected = reference(wide[0], by.mean.double(), by.var.double(), *wide[1:], EPS, activation, by.count)
    assert y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last_3d)
    assert_close(y, expected, 'y')
    upstream = clip(shape, dtype, seed=7, trend=0)
    y.backward(upstream), expected.backward(upstream.double())
    terms = {'weight': y.numel() // channels, 'bias': y.numel() // channels, 'gate': y[0, 0].numel()}
    for name, own, other in zip(('x', 'weight', 'bias', 'residual', 'gate'), ours, wide, strict=True):
        if own is not None:
            assert own.grad.dtype == own.dtype
            assert_close(own.grad, other.grad, f'gradient of {name}', terms.get(name, 1))


@pytest.mark.parametrize(('programs', 'elements'), [(5, 64), (1, 256), (11, 32)])
def test_however_the_rows_are_shared_out(programs, elements, monkeypatch):
    """Rejects variances of programs that are averaged, partial results of unequal numbers of rows that count the same,
    a last step whose missing rows count, and an offset that forgets the program or the sample."""
    monkeypatch.setattr(batch_norm_tiles, 'PROGRAMS', programs)
    monkeypatch.setattr(batch_norm_tiles, 'ELEMENTS', elements)
    monkeypatch.setattr(batch_norm_tiles, 'MERGED', ((2, 2), (4, 4)))
    batch_norm_tiles.lay_tiles.cache_clear()
    shape = (2, 7, 3, 2, 11)
    x, wide = clip(shape), clip(shape).double()
    for by_sample in (False, True):
        by = statistics(x, by_sample=by_sample)
        assert_close(by.mean, wide.mean((0, 2, 3, 4)), 'mean')
        assert_close(by.var, wide.var((0, 2, 3, 4), correction=0), 'variance')
    assert_close(by.samples, wide.mean((2, 3, 4)), 'means of the samples')
    test_output_and_every_gradient(shape, torch.float32, 'swish', True, True, True)


@pytest.mark.parametrize(('channels', 'width'), [(1, 1), (3, 4), (54, 64), (96, 128), (108, 128), (192, 64), (433, 64)])
def test_tiles_cover_every_row_and_channel_once(channels, width):
    """Rejects programs without rows, rows without a program, and a width that leaves more than half the lanes idle."""
    for groups, rows in ((1, 1), (1, 1430), (2, 715), (32, 13 * 40 * 40), (1, 32 * 13 * 80 * 80)):
        tiles = batch_norm_tiles.lay_tiles(groups, rows, channels)
        assert (tiles.blocks - 1) * tiles.per < rows <= tiles.blocks * tiles.per
        assert tiles.per % tiles.block_m == 0 and tiles.block_c == width
        assert 2 * channels > tiles.grid[1] * width >= channels or channels == 1
        arguments = tiles.arguments
        assert arguments['units'] * arguments['ALIGN'] == channels


@pytest.mark.parametrize(('groups', 'rows', 'channels'), [(1, 32 * 13 * 80**2, 54), (1, 10_400, 432), (32, 325, 432)])
def test_merging_takes_one_step_and_few_idle_lanes(groups, rows, channels, monkeypatch):
    """Rejects 512 lanes for the four results of a clip at H = 5, which would take longer than the pass over the clip,
    and three steps for as many results as there are programs, each of which waits for memory twice."""
    monkeypatch.undo()
    batch_norm_tiles.lay_tiles.cache_clear()
    tiles = batch_norm_tiles.lay_tiles(groups, rows, channels)
    merged = [(tiles.merging, tiles.blocks), *([(tiles.merging_groups, groups)] if groups > 1 else [])]
    for (programs, arguments), blocks in merged:
        assert arguments['blocks'] == blocks <= arguments['BLOCK_P'] <= 8 * blocks
        assert (programs - 1) * arguments['BLOCK_C'] < channels <= programs * arguments['BLOCK_C']


def test_blocks_of_millions_of_rows_are_merged():
    """2 blocks of 5,000,011 rows, as of 2 long clips, in 512 lanes. Rejects row numbers that pass 32 bits in lanes
    without a block: their mean of 0 then counts."""
    per, (low, high), spread = 5_000_011, (2.0, 4.0), (3.0, 7.0)
    parts = torch.tensor([[low], [high]], device=DEVICE), torch.tensor(spread, device=DEVICE)[:, None] * per
    mean, var = torch.empty(1, device=DEVICE), torch.empty(1, device=DEVICE)
    sizes = dict(rows=2 * per, per=per, blocks=2, units=1, start=0, total=1)
    tiles = dict(ALIGN=1, BLOCK_P=512, BLOCK_C=1)
    merge_kernel[(1,)](torch.zeros(1, device=DEVICE), *parts, mean, var, None, None, 0.1, **sizes, **tiles)
    assert mean.item() == pytest.approx(3) and var.item() == pytest.approx(5 + 1)


def test_small_deviation_of_a_large_mean():
    """Rejects E[x²] - E[x]², which is all rounding here, and a mean that is summed up without taking anything off: the
    float32 numbers next to 1e4 are 1e-3 apart, and the deviation is 1e-2."""
    x = last(1e4 + 1e-2 * numbers(*SHAPE))
    by, wide = statistics(x, by_sample=True), x.double()
    assert ((by.var - wide.var((0, 2, 3, 4), correction=0)) / by.var).abs().max() < 1e-5
    assert (by.mean - wide.mean((0, 2, 3, 4))).abs().max() <= 2**-11  # half of that distance
    naive = (x * x).mean((0, 2, 3, 4)) - x.mean((0, 2, 3, 4)).square()
    assert ((naive - by.var) / by.var).abs().max() > 1


@pytest.mark.parametrize(('start', 'total'), [(0, 7), (2, 11), (8, 11)])
@pytest.mark.parametrize('momentum', [0.3, 1.0])
def test_running_statistics_of_a_window(start, total, momentum):
    """Rejects biased running variance, old and new the wrong way round, and writes outside the window, which goes
    round the end."""
    x = clip()
    running = numbers(total, seed=8), numbers(total, seed=9).abs()
    before = [value.clone() for value in running]
    place = (torch.arange(7) + start) % total
    expected = [value[place].double() for value in running]
    torch.nn.functional.batch_norm(x.double(), *expected, training=True, momentum=momentum)
    statistics(x, running, start, momentum)
    outside = torch.ones(total, dtype=torch.bool).index_fill(0, place, False)
    for name, own, other, old in zip(('mean', 'variance'), running, expected, before, strict=True):
        assert_close(own[place], other, name)
        assert torch.equal(own[outside], old[outside])


@pytest.mark.parametrize('sizes', [(2, 3), (1, 1, 3)])
def test_two_pieces_with_shards_are_one_pass(sizes):
    """Rejects variances of unequal shards that are averaged, means over a shard in the backward pass, and a shard of
    one clip that is taken for a batch of one."""
    x, upstream = clip((5, 7, 3, 2, 5)), clip((5, 7, 3, 2, 5), seed=3)
    weight, bias = numbers(7, seed=1), numbers(7, seed=2)
    whole = statistics(x)
    xs, upstreams = map(last, x.split(sizes)), [last(part) for part in upstream.split(sizes)]
    xs = list(xs)
    found = [statistics(part, shard=True) for part in xs]
    counts = torch.tensor([by.count for by in found], device=DEVICE)
    means, variances = torch.stack([by.mean for by in found]), torch.stack([by.var for by in found])
    count, mean, squares = merge_moments(counts, means, variances * counts[:, None])
    by = Statistics(mean, squares / count, int(count))
    assert by.count == whole.count
    assert_close(by.mean, whole.mean.double(), 'mean')
    assert_close(by.var, whole.var.double(), 'variance')

    x.requires_grad_()
    y = normalise(x, whole, weight, bias, EPS, 'swish')
    y.backward(upstream)
    assert_close(torch.cat([normalise(part, by, weight, bias, EPS, 'swish') for part in xs]), y.double(), 'y')
    rest = (by.mean, by.var, weight, bias, None, None, EPS, 'swish')
    sums = sum(sums_op(up, part, *rest)[0] for up, part in zip(upstreams, xs, strict=True))[:, 0]
    rest = (by.mean, by.var, weight, bias, None, None, sums / by.count, EPS, 'swish')
    dx = torch.cat([input_op(up, part, *rest) for up, part in zip(upstreams, xs, strict=True)])
    assert_close(dx, x.grad.double(), 'gradient of x')


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('dtype', DTYPES)
def test_squeeze_and_excitation(dtype, training):
    """Rejects a squeeze of x instead of bn(x), of the batch instead of the clip, or without weight and bias; gates
    after the swish; and gradients that forget the way through the squeeze, to x, through the statistics, to weight and
    bias, or to one of the SE unit's own four."""
    shape, inner = (2, 7, 2, 5, 3), 5
    sizes = [(7,), (7,), (inner, 7), (inner,), (7, inner), (7,)]
    parts = [clip(shape, dtype), *(numbers(*size, seed=seed) for seed, size in enumerate(sizes))]
    ours, wide = leaves(parts), leaves(parts, wide=True)
    by = statistics(ours[0], by_sample=True)
    by = by if training else by_constants(7)._replace(samples=by.samples)
    y = excited(ours[0], by, *ours[1:3], ours[3:], EPS)
    expected = excited_reference(wide[0], by.mean.double(), by.var.double(), *wide[1:3], wide[3:], EPS, by.count)
    assert_close(y, expected, 'y')
    upstream = clip(shape, dtype, seed=7, trend=0)
    y.backward(upstream), expected.backward(upstream.double())
    for number, (own, other) in enumerate(zip(ours, wide, strict=True)):
        assert_close(own.grad, other.grad, f'gradient {number}', y.numel() // 7 if number else 1)


def test_no_weight_and_no_bias():
    """Rejects an affine part that is taken for granted: a search's BatchNorm may have none."""
    x = clip().requires_grad_()
    wide = x.detach().double().requires_grad_()
    y = normalise(x, statistics(x), None, None, EPS, 'relu')
    expected = torch.relu(torch.nn.functional.batch_norm(wide, None, None, None, None, True, 0.0, EPS))
    y.sum().backward(), expected.sum().backward()
    assert_close(y, expected, 'y')
    assert_close(x.grad, wide.grad, 'gradient of x')


def test_one_value_a_channel_is_refused():
    """Rejects a variance of 0 / 0 in the running statistics: torch's own error, word for word."""
    x = clip((1, 7, 1, 1, 1))
    with pytest.raises(ValueError, match='Expected more than 1 value per channel') as ours:
        statistics(x)
    with pytest.raises(ValueError, match='Expected more than 1 value') as theirs:
        torch.nn.functional.batch_norm(x, None, None, training=True)
    assert str(ours.value) == str(theirs.value)


def test_a_nan_stays_one():
    """Rejects a ReLU that hides a broken network by turning NaN into 0, as maximum() does on a GPU (not here)."""
    x = clip()
    x[1, 2, 3, 4, 5] = float('nan')
    assert normalise(x, by_constants(7), None, None, EPS, 'relu').isnan().sum() == 1
    assert statistics(x).mean.isnan().tolist() == [c == 2 for c in range(7)]


def test_the_same_twice():
    """Rejects sums in the order in which programs happen to end."""
    results = []
    for _ in range(2):
        x, weight, bias = leaves([clip(), numbers(7, seed=1), numbers(7, seed=2)])
        normalise(x, statistics(x), weight, bias, EPS, 'swish').backward(clip(seed=3))
        results.append((x.grad, weight.grad, bias.grad))
    assert all(itertools.starmap(torch.equal, zip(*results, strict=True)))


def test_gradients_in_another_layout():
    """Rejects a kernel that reads the gradient of a mean over the clip, which is one number in memory, as if it lay
    like the output."""
    grads = []
    for contiguous in (False, True):
        x = clip().requires_grad_()
        y = normalise(x, statistics(x), None, None, EPS, 'swish')
        scale = torch.arange(14.0, device=DEVICE).view(2, 7, 1, 1, 1).expand(y.shape)
        y.backward(last(scale) if contiguous else scale)
        grads.append(x.grad)
    assert torch.equal(*grads)


def test_what_is_fused(monkeypatch):
    """Rejects kernels on float64, on channels that are not last in memory, on a residual of another kind, where the
    switch is off; and an activation that is not known and left out."""
    x = clip()
    assert fuses(x) and fuses(x, clip(seed=1))
    assert not fuses(x.double()) and not fuses(x.contiguous()) and not fuses(x[0])
    assert not fuses(x, x.contiguous()) and not fuses(x, x.half()) and not fuses(x, x[:1])
    with pytest.raises(ConfigError, match="activation: found 'gelu'"):
        normalise(x, statistics(x), None, None, EPS, 'gelu')
    monkeypatch.setenv('MMNAS_KERNELS', 'off')
    assert not fuses(x)


# ------------------------------------------------------------------ layers and blocks
def twins(module):
    """The module on our kernels, and a copy in float64. For so few channels PyTorch's convolutions on a CPU do not keep
    the layout, as they do on a GPU."""
    randomise(module)
    for layer in module.modules():
        if isinstance(layer, SuperConv3d):
            layer.register_forward_hook(lambda _, inputs, y: last(y))
    return module.float().to(DEVICE), copy.deepcopy(module).to(DEVICE).double()


def assert_same(ours, wide, what):
    for (name, own), other in zip(ours.items(), wide.values(), strict=True):
        assert (own is None) == (other is None), f'{what}: {name}'
        if own is not None:
            scale = other.double().abs().max().clamp(min=1)
            error = (own.double() - other.double()).abs().max()
            assert error <= 1e-4 * scale, f'{what}: {name} is off by {error:.2e} of {scale:.2e}'


def gradients(module):
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize('momentum', [0.3, None])
@pytest.mark.parametrize('window', WINDOWS)
def test_a_window_of_channels(window, momentum):
    """Rejects another window's parameters or statistics, an update that is lost because the window goes round and a
    copy was moved, writes beside the window, a batch that is not counted, a plain mean (momentum None) that is not one,
    and an in-place write that fails the backward pass of a forward pass before it."""
    ours, wide = twins(SuperBatchNorm3d(7, momentum=momentum))
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    used = [(window.start + i) % 7 for i in range(window.length)]
    plain = torch.nn.BatchNorm3d(window.length, momentum=momentum).to(DEVICE).double()
    for name in ('running_mean', 'running_var'):
        getattr(plain, name).copy_(before[name][used])
    early = clip((2, window.length, 3, 5, 2)).requires_grad_()
    frozen = ours.eval()(early, window).sum()
    losses = []
    for step, training in enumerate((True, True, False)):
        ours.train(training), wide.train(training), plain.train(training)
        x, residual = clip((2, window.length, 3, 5, 2), seed=step), clip((2, window.length, 3, 5, 2), seed=9)
        with Operators() as operators:
            y = ours(x, window, 'relu', residual)
        assert operators.counts == {'batch_norm_apply': 1} | ({'batch_norm_statistics': 1} if training else {})
        expected = torch.relu(residual.double() + wide(x.double(), window))
        assert_same({'y': y}, {'y': expected}, f'step {step}')
        plain(x.double())
        losses.append((y.square().sum(), expected.square().sum()))
    torch.autograd.grad(frozen, early)
    for own, other in losses:
        own.backward(), other.backward()
    assert_same(gradients(ours), gradients(wide), 'gradient')
    assert_same(ours.state_dict(), wide.state_dict(), 'state')
    rest = [c for c in range(7) if c not in used]
    for name in ('running_mean', 'running_var'):
        assert torch.equal(getattr(ours, name)[rest], before[name][rest])
        assert_close(getattr(ours, name)[used], getattr(plain, name), name)


def test_scoring_writes_nothing():
    """Rejects running statistics, or a count, that move when candidates are scored by each batch's own statistics."""
    ours, wide = twins(SuperBatchNorm3d(7))
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    x = clip((2, 7, 3, 5, 2))
    with batch_statistics(ours), batch_statistics(wide):
        assert_same({'y': ours(x, whole(7))}, {'y': wide(x.double(), whole(7))}, 'scored')
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


AT = BlockWindows(whole(5), Window(9, 7, 11), Window(3, 5, 7), Window(2, 3, 5), (3, 3))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('squeeze', [5, 0])
def test_a_block(squeeze, training):
    """Rejects a block whose fused way is another network: SE before BatchNorm or after the swish, a shortcut that is
    added after the ReLU, and a BatchNorm left out of the fusion."""
    ours, wide = twins(MBConv3D(5, 11, 7, squeeze, (3, 3), stride=2, shortcut=True))
    ours.train(training), wide.train(training)
    x, other = clip((2, 5, 3, 4, 2)).requires_grad_(), clip((2, 5, 3, 4, 2)).double().requires_grad_()
    with Operators() as operators:
        y = ours(x, AT)
    assert operators.counts.get('batch_norm_excited', 0) == (squeeze > 0)
    assert operators.counts['batch_norm_apply'] == (3 if squeeze else 4)
    expected = wide(other, AT)
    y.square().sum().backward(), expected.square().sum().backward()
    assert_same({'y': y, 'x': x.grad}, {'y': expected, 'x': other.grad}, 'block')
    assert_same(gradients(ours), gradients(wide), 'gradient')
    assert_same(ours.state_dict(), wide.state_dict(), 'state')


def test_recomputed_in_the_backward_pass():
    """Rejects statistics that move a second time when activations are computed again, and another gradient."""
    states = []
    for again in (False, True):
        norm, _ = twins(SuperBatchNorm3d(7))
        norm.train()
        x = clip((2, 7, 3, 5, 2)).requires_grad_()
        y = recomputed(norm, x, whole(7), 'swish') if again else norm(x, whole(7), 'swish')
        y.square().sum().backward()
        states.append({**norm.state_dict(), **gradients(norm), 'x': x.grad})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert norm.num_batches_tracked == 1


def test_autocast_leaves_statistics_and_gates_alone():
    """Rejects statistics in 16 bits, and gates whose two small products autocast rounds: what comes out of bfloat16
    inputs is the same with and without it."""
    block, _ = twins(MBConv3D(5, 7, 5, 3, (3, 3)))
    x = clip((2, 7, 3, 4, 2)).bfloat16()
    at = BlockWindows(whole(5), whole(7), whole(5), whole(3), (3, 3))
    plain = block._excited(x, at)
    with torch.autocast(DEVICE, torch.bfloat16):
        y = block._excited(x, at)
    assert y.dtype == torch.bfloat16 and torch.equal(y, plain)


def test_compiled():
    """Rejects an operator that breaks the graph, whose traced shapes differ, or whose writes to the running statistics
    are lost or made twice when traced."""
    ours, _ = twins(MBConv3D(5, 7, 5, 3, (3, 3)))
    other = copy.deepcopy(ours)
    at = BlockWindows(whole(5), whole(7), whole(5), whole(3), (3, 3))
    compiled = torch.compile(lambda x: other(x, at), backend='aot_eager', fullgraph=True)
    results = []
    for module, run in ((ours, lambda x: ours(x, at)), (other, compiled)):
        x = clip((2, 5, 3, 4, 2)).requires_grad_()
        y = run(x)
        y.square().sum().backward()
        results.append({**module.state_dict(), **gradients(module), 'x': x.grad, 'y': y.detach()})
    for name, eager in results[0].items():
        # Pointwise convolutions are matrix products outside the compiler: sums in another order, some units of 2^-24.
        assert (eager - results[1][name]).abs().max() <= 1e-5 * eager.abs().max(), name


@pytest.mark.parametrize('squeeze', [5, 0])
def test_with_statistics_over_ranks(squeeze, monkeypatch, tmp_path):
    """Rejects a synced layer that leaves the kernels, one that forgets to ask the other ranks in one of the two passes,
    and statistics whose count is lost on the way. One rank that believes in others; the numbers of several are compared
    in tests/search/test_ranks.py, without kernels."""
    backend = 'nccl' if DEVICE == 'cuda' else 'gloo'
    torch.distributed.init_process_group(backend, init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    monkeypatch.setattr(sync_norm, 'several_ranks', lambda: True)
    monkeypatch.setattr(norm_layers, 'several_ranks', lambda: True)
    ours, wide = twins(MBConv3D(5, 11, 7, squeeze, (3, 3), stride=2, shortcut=True))
    sync_norms(ours)
    x, other = clip((2, 5, 3, 4, 2)).requires_grad_(), clip((2, 5, 3, 4, 2)).double().requires_grad_()
    with Operators() as operators:
        y = ours(x, AT)
        y.square().sum().backward()
    layers = operators.counts['batch_norm_statistics']
    assert operators.counts['gather_over_ranks'] == operators.counts['batch_norm_sum_over_ranks'] == layers == 4
    expected = wide(other, AT)
    expected.square().sum().backward()
    assert_same({'y': y, 'x': x.grad}, {'y': expected, 'x': other.grad}, 'block')
    assert_same(gradients(ours), gradients(wide), 'gradient')
    assert_same(ours.state_dict(), wide.state_dict(), 'state')
