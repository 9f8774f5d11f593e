"""BatchNorm's operators: what torch.library and autograd ask of them; in float64 on a CPU, which needs no Triton."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmnas_video.kernels import batch_norm as fused
from mmnas_video.kernels import choose
from mmnas_video.kernels.batch_norm_excite import excited_op
from mmnas_video.kernels.batch_norm_ops import apply_op, input_op, statistics_op, sums_op
from tests.helpers import numbers

SHAPE = (2, 3, 1, 2, 5)
EPS = 1e-3


def parts(residual=True, gate=True, affine=True):
    return [
        numbers(*SHAPE),
        numbers(3, seed=1) if affine else None,
        numbers(3, seed=2) if affine else None,
        numbers(*SHAPE, seed=3) if residual else None,
        numbers(2, 3, seed=4) if gate else None,
    ]


def weights():
    return [numbers(*size, seed=seed) for seed, size in enumerate([(5, 3), (5,), (3, 5), (3,)], 5)]


def by_constants(samples=None):
    return fused.Statistics(numbers(3, seed=9, grad=False), numbers(3, seed=10, grad=False).square() + 0.5, 0, samples)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    ('activation', 'residual', 'gate', 'affine'),
    [
        ('swish', True, True, True),
        ('swish', False, False, True),
        ('none', True, False, False),
        ('relu', False, True, True),
    ],
)
def test_gradients_by_differences(activation, residual, gate, affine, training):
    """Rejects a wrong or missing gradient, of first or second order: the search by exact second-order gradients
    differentiates twice, and statistics that are constants to it would give it other ones."""

    def run(x, weight, bias, residual, gate):
        by = fused.statistics(x) if training else by_constants()
        return fused.normalise(x, by, weight, bias, EPS, activation, residual, gate)

    inputs = parts(residual, gate, affine)
    assert gradcheck(run, inputs)
    if gate == affine:
        assert gradgradcheck(run, inputs)


@pytest.mark.parametrize('training', [True, False])
def test_gradients_of_squeeze_and_excitation_by_differences(training):
    """Rejects as above, for the gates and the four weights that make them."""

    def run(x, weight, bias, *weights):
        by = fused.statistics(x, by_sample=True)
        return fused.excited(x, by if training else by_constants(by.samples), weight, bias, weights, EPS)

    inputs = [*parts(False, False)[:3], *weights()]
    assert gradcheck(run, inputs)
    if training:
        assert gradgradcheck(run, inputs)


def test_operators_are_registered_as_they_behave():
    """Rejects shapes that tracing believes and running does not give, an argument that is written to unsaid, outputs
    that share memory, and gradients that are not there when traced."""
    x, weight, bias, residual, gate = parts()
    mean, var, _ = statistics_op(x.detach(), None, None, 0, 0.0, False)
    samples = x.detach().mean((2, 3, 4))
    running = [numbers(5, seed=7, grad=False), numbers(5, seed=8, grad=False).square()]
    plain = x.detach()
    torch.library.opcheck(statistics_op, (plain, *running, 4, 0.1, True))
    torch.library.opcheck(statistics_op, (plain, None, None, 0, 0.0, False))
    torch.library.opcheck(apply_op, (x, mean, var, weight, bias, residual, gate, None, EPS, 'swish', 20))
    torch.library.opcheck(apply_op, (x, mean, var, None, None, None, None, None, EPS, 'relu', 0))
    torch.library.opcheck(excited_op, (x, mean, var, samples, weight, bias, *weights(), None, EPS, 20))
    with torch.no_grad():
        rest = (mean, var, weight, bias)
        torch.library.opcheck(sums_op, (plain, plain, *rest, residual, gate, EPS, 'relu'))
        torch.library.opcheck(input_op, (plain, plain, *rest, gate, gate, torch.stack([mean, var]), EPS, 'relu'))


def test_without_a_gradient_nothing_is_asked_for():
    """Rejects an operator that runs its backward pass for inputs that need none."""
    x, weight, bias, *_ = parts()
    x = x.detach()
    y = fused.normalise(x, fused.statistics(x), weight, bias, EPS, 'swish')
    y.sum().backward()
    assert x.grad is None and weight.grad is not None and bias.grad is not None
    with torch.no_grad():
        assert not fused.normalise(x, fused.statistics(x), weight, bias, EPS).requires_grad


def test_compiled_for_hopper_it_fits_into_registers(monkeypatch, tmp_path):
    """Rejects kernels that a GPU's compiler refuses though the interpreter runs them, registers that spill, and loads
    of single 16-bit numbers where rows start at even ones (54 channels)."""
    pytest.importorskip('triton', reason='needs triton')
    if choose.INTERPRETED:
        pytest.skip('the interpreter is on: nothing is compiled')
    from mmnas_video.kernels.batch_norm_compiled import kernel_resources

    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    rows = 32 * 13 * 40 * 40
    found = [kernel_resources(name, rows, 54) for name in ('moments', 'merge', 'apply', 'sums', 'input')]
    assert all(each.stack == 0 and each.registers <= 128 for each in found), found
    # 2048 numbers by 128 threads, two by two: 8 loads a thread, and some of what belongs to a channel.
    assert found[0].instructions['LDG'] <= 10, found[0]
