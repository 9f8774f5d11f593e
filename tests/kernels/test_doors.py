"""The two doors of our operators: by the registry for what looks on, without it for what only computes."""

from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from mmnas_video.kernels import batch_norm as fused
from mmnas_video.kernels import choose, depthwise
from tests.helpers import numbers

EPS = 1e-3
DEPTHWISE = (3, (1, 3, 3), 2)  # start, kernel, stride: a window that goes round, and is cropped


class LooksOn(TorchDispatchMode):
    """Sees every operator and changes nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def convolution():
    return lambda x, weight: depthwise.convolve(x, weight, *DEPTHWISE), [
        numbers(2, 4, 3, 5, 7),
        numbers(5, 1, 3, 3, 3, seed=1),
    ]


def norm():
    def run(x, weight, bias, residual, gate):
        running = torch.zeros(7, dtype=x.dtype), torch.ones(7, dtype=x.dtype)
        by = fused.statistics(x, running, 5, 0.3)
        return fused.normalise(x, by, weight, bias, EPS, 'swish', residual, gate) + running[1].sum()

    sizes = [(2, 3, 5, 7, 2), (3,), (3,), (2, 3, 5, 7, 2), (2, 3)]
    return run, [numbers(*size, seed=seed) for seed, size in enumerate(sizes)]


def excited():
    def run(x, weight, bias, *weights):
        return fused.excited(x, fused.statistics(x, by_sample=True), weight, bias, weights, EPS)

    sizes = [(2, 3, 1, 2, 5), (3,), (3,), (11, 3), (11,), (3, 11), (3,)]
    return run, [numbers(*size, seed=seed) for seed, size in enumerate(sizes)]


CASES = {'depthwise': convolution, 'BatchNorm': norm, 'squeeze-and-excitation': excited}


def results(run, inputs, needed, looks_on):
    """Output, gradients and, of their squares, gradients again."""
    inputs = [value.detach().requires_grad_(i in needed) for i, value in enumerate(inputs)]
    wanted = [inputs[i] for i in needed]
    with LooksOn() if looks_on else nullcontext():
        y = run(*inputs)
        first = torch.autograd.grad(y.square().sum(), wanted, retain_graph=True)
        again = torch.autograd.grad(y.square().sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in again), wanted)
    return [y.detach(), *first, *second]


def registered(work):
    """Names of our registered operators that run."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        work()
    names = (event.key for event in profile.key_averages())
    return {name.removeprefix('mmnas_video::') for name in names if name.startswith('mmnas_video::')}


@pytest.mark.parametrize('name', CASES)
def test_both_doors_lead_to_the_same_numbers(name):
    """Rejects a door that is never taken, one whose maths, gradients or second-order gradients are others to the bit,
    and one that loses them where only some inputs need any."""
    run, inputs = CASES[name]()
    for needed in (range(len(inputs)), range(1), range(1, len(inputs))):
        found = {looks_on: results(run, inputs, needed, looks_on) for looks_on in (False, True)}
        assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))
    assert registered(lambda: results(run, inputs, range(len(inputs)), False)) == set()
    assert registered(lambda: results(run, inputs, range(len(inputs)), True)) != set()


def traced(run, inputs):
    return {node.name for node in make_fx(run)(*inputs).graph.nodes}


def scripted(run, inputs):
    return str(torch.jit.trace(run, inputs, check_trace=False).graph)


@pytest.mark.parametrize('look', [traced, scripted])
def test_who_looks_on_sees_the_operator(look):
    """Rejects the plain call where a tracer would record its insides."""
    run, inputs = convolution()
    assert 'depthwise_conv3d' in str(look(run, [value.detach() for value in inputs]))


@pytest.mark.parametrize('name', CASES)
def test_compiled_as_one_graph(name):
    """Rejects a choice of the door that the compiler cannot follow, or that takes the plain call into its graph."""
    run, inputs = CASES[name]()
    torch._dynamo.reset()

    def step(run):
        return torch.autograd.grad(run(*inputs).square().sum(), inputs)

    compiled = torch.compile(run, backend='aot_eager', fullgraph=True)
    assert all(torch.allclose(a, b) for a, b in zip(step(run), step(compiled), strict=True))
    seen = registered(lambda: step(compiled))
    assert len(seen) == {'depthwise': 3, 'BatchNorm': 4, 'squeeze-and-excitation': 4}[name], seen


def test_fake_tensors():
    """Rejects a plain call that computes on tensors without memory, within their mode and after it."""
    run, inputs = norm()
    mode = FakeTensorMode()
    fakes = [mode.from_tensor(value.detach()) for value in inputs]
    with mode:
        assert run(*fakes).shape == (2, 3, 5, 7, 2)
    convolve, inputs = convolution()
    fakes = [mode.from_tensor(value.detach()) for value in inputs]
    assert isinstance(convolve(*fakes), FakeTensor)
    assert registered(lambda: convolve(*fakes)) == {'depthwise_conv3d'}


@pytest.mark.parametrize('looks_on', [False, True])
def test_a_second_gradient_over_ranks_is_an_error(monkeypatch, looks_on):
    """Rejects sums over ranks that are constants to the second gradient, in silence."""
    monkeypatch.setattr(torch.distributed, 'all_reduce', lambda values: None)
    x, weight = numbers(2, 3, 5, 7, 2), numbers(3)
    with LooksOn() if looks_on else nullcontext():
        by = fused.statistics(x)
        y = fused.normalise(x, by._replace(total=torch.tensor(float(by.count))), weight, None, EPS, 'swish')
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match='no autograd formula was registered'):
            first.square().sum().backward()


@pytest.mark.parametrize('looks_on', [False, True])
def test_what_is_written_to_is_said(monkeypatch, looks_on):
    """Rejects running statistics that a kernel moves between a forward and its backward pass in silence, which would be
    taken at their new values."""
    launchers = pytest.importorskip('mmnas_video.kernels.batch_norm_launch')
    monkeypatch.setattr(choose, 'INTERPRETED', True)
    monkeypatch.setattr(launchers, 'launch', lambda *args, **options: None)
    x = numbers(2, 3, 5, 7, 2).detach().float().requires_grad_()
    mean, var = torch.zeros(3), torch.ones(3)
    y = fused.normalise(x, fused.Statistics(mean, var, 0), None, None, EPS)
    with LooksOn() if looks_on else nullcontext():
        fused.statistics(x, (mean, var), 0, 0.3)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        y.sum().backward()
    with torch.inference_mode():
        fused.statistics(x, (mean, torch.ones(3)), 0, 0.3)


@pytest.mark.parametrize('name', CASES)
def test_recomputed_in_the_backward_pass(name):
    """Rejects what was kept being read twice, which checkpointing does not allow, also where gradients of gradients are
    asked for."""
    run, inputs = CASES[name]()
    kept = results(run, inputs, range(len(inputs)), False)
    again = results(lambda *args: checkpoint(run, *args, use_reentrant=False), inputs, range(len(inputs)), False)
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
