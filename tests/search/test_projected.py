"""The projected gradient: the equation that defines it, and what is gathered before it."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mmnas_video.search.projected import ProjectedGradient, project

SHAPES = [(2, 3), (5,), (7, 11, 13)]


def gradients(seed: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def normal_part(gradient: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """What of ``gradient`` is left of the least-squares fit by ``other``: the projection, another way."""
    fit = torch.linalg.lstsq(other[:, None], gradient[:, None]).solution
    return gradient - other * fit[0]


def test_projection_of_each_parameter():
    """<g, o> = 0 where it was negative, every bit as before elsewhere, and o is not written to. Rejects a projection of
    all tensors when one is in conflict, one of o in place of g, one onto o itself, and a factor without 1 / |o|²."""
    before, others = gradients(0), gradients(1)
    others[0], others[1] = others[0] - 2 * before[0], others[1] + 3 * before[1]  # in conflict, and not
    others[2] = 0.5 * others[2] - 0.25 * before[2]
    kept, now = [o.clone() for o in others], [g.clone() for g in before]
    assert project(now, others, 'parameter').tolist() == [True, False, True]
    for index, (g, was, o) in enumerate(zip(now, before, others, strict=True)):
        assert torch.equal(o, kept[index])
        if index == 1:
            assert torch.equal(g, was)
            continue
        assert (was * o).sum() < -1 and abs((g * o).sum()) < 1e-12
        torch.testing.assert_close(g.flatten(), normal_part(was.flatten(), o.flatten()), rtol=0, atol=1e-12)


def test_what_is_orthogonal_is_in_no_conflict():
    """Rejects a share of conflicts that counts parameters whose gradient is 0, in one or in both."""
    one, zero = torch.tensor([3.0, 0.0]), torch.zeros(2)
    assert project([one, zero, zero], [one.roll(1), one, zero], 'parameter').tolist() == [False] * 3


@pytest.mark.parametrize('sign', [-1, 1])
def test_projection_of_the_network_as_one_vector(sign):
    """Single tensors may point either way: what counts is their sum. Rejects products tensor by tensor, and |o|² of one
    tensor for all."""
    before, others = gradients(0), gradients(1)
    others[0], others[1] = others[0] - sign * 2 * before[0], others[1] + sign * before[1]
    others[2] = others[2] + sign * 0.5 * before[2]  # the largest, so it decides: in conflict for sign -1
    now = [g.clone() for g in before]
    assert project(now, others, 'network').tolist() == [sign < 0] * 3
    expected = normal_part(flat(before), flat(others)) if sign < 0 else flat(before)
    torch.testing.assert_close(flat(now), expected, rtol=0, atol=1e-12 if sign < 0 else 0)
    if sign < 0:
        assert abs(flat(now).dot(flat(others))) < 1e-11
        products = [float((g * o).sum()) for g, o in zip(now, others, strict=True)]
        assert max(map(abs, products)) > 1, 'of the whole only the sum is zero'


@pytest.mark.parametrize('per', ['parameter', 'network'])
def test_lengths_do_not_matter(per):
    """A factor on both (GradScaler) or on o alone (sum for mean) leaves the direction: rejects a factor that is capped,
    or an ε beside |o|², which acts on small gradients only."""
    before, others = gradients(0), [-g + 0.3 * o for g, o in zip(gradients(0), gradients(1), strict=True)]
    expected = [g.clone() for g in before]
    assert project(expected, others, per).all()
    for factor, other in ((65536.0, 65536.0), (1.0, 1e-6), (1e-9, 1e-9)):
        now = [factor * g for g in before]
        assert project(now, [other * o for o in others], per).all()
        torch.testing.assert_close(flat(now) / factor, flat(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize('small', [1e-30, 1e-42])
def test_small_float32_gradients(small):
    """Rejects squares in float32: |o|² would be 0, and the weights NaN."""
    before = gradients(0, torch.float32)
    others = [-small * g for g in before]
    now = [g.clone() for g in before]
    assert project(now, others, 'parameter').all()
    assert all(g.isfinite().all() for g in now) and flat(now).norm() < 0.05 * flat(before).norm()
    nothing = [torch.zeros_like(o) for o in others]
    assert not project(now, nothing, 'parameter').any() and all(g.isfinite().all() for g in now)


@pytest.mark.parametrize('bad', [0, 1])
def test_an_overflow_stays_one(bad):
    """Under AMP the scaler looks for infinities after the projection. Rejects one that hides them as zeros."""
    parameters = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    gradient = ProjectedGradient(parameters)
    grads = [torch.ones(3), -torch.ones(3)]
    grads[bad][1] = torch.inf
    with gradient.supernet():
        for parameter in parameters:
            parameter.grad = grads[0].clone()
    for parameter in parameters:
        parameter.grad = grads[1].clone()
    gradient.finish()
    assert all(not parameter.grad.isfinite().all() for parameter in parameters)


def losses(parameters: list[nn.Parameter], data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a supernet and a subnetwork that want opposite things of the weights that they share."""
    shared, own, _, large_only = parameters
    x = data @ shared
    return 9 * (x - 2).square().mean() + (x.mean() * large_only).sum(), (x + 1 + own.sum()).square().mean()


def shared_weights() -> list[nn.Parameter]:
    """One that both use, one of the subnetwork, one of none, one of the supernet."""
    sizes = (5, 2, 7, 3)
    return [nn.Parameter(torch.linspace(0.1, 0.3, size, dtype=torch.float64)) for size in sizes]


@pytest.mark.parametrize('per', ['parameter', 'network'])
def test_gathered_over_passes_equals_one_pass(per):
    """A projection is not linear: rejects one at every backward pass, whose sum is another gradient (the last line),
    and gradients of the two that get mixed. Parameters of one network alone keep its gradient, of none have none."""
    data = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    whole, parts, apart = shared_weights(), shared_weights(), shared_weights()
    total, gathered = ProjectedGradient(whole, per), ProjectedGradient(parts, per)
    with total.supernet():
        losses(whole, data)[0].backward()
    losses(whole, data)[1].backward()
    conflict = total.finish()
    sums = None
    for piece in data.chunk(2):
        with gathered.supernet():
            (losses(parts, piece)[0] / 2).backward()
        (losses(parts, piece)[1] / 2).backward()
        single = ProjectedGradient(apart, per)
        for parameter in apart:
            parameter.grad = None
        with single.supernet():
            (losses(apart, piece)[0] / 2).backward()
        (losses(apart, piece)[1] / 2).backward()
        single.finish()
        sums = apart[0].grad + (0 if sums is None else sums)
    assert float(gathered.finish()) == float(conflict) == 1
    for one, other in zip(whole, parts, strict=True):
        assert (one.grad is None) == (other.grad is None) == (one.numel() == 7)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)
    own, large_only = (torch.autograd.grad(losses(whole, data)[1 - k], whole[1 + 2 * k])[0] for k in (0, 1))
    torch.testing.assert_close(whole[1].grad, own, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole[3].grad, large_only, rtol=0, atol=1e-12)
    assert (sums - whole[0].grad).abs().max() > 1e-3


def subnetworks_course(projected: bool) -> list[float]:
    """The subnetworks' loss over 40 small steps of the weights that are shared."""
    data = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) + 1
    parameters, seen = shared_weights(), []
    gradient = ProjectedGradient(parameters)
    for _ in range(40):
        supernet, subnetworks = losses(parameters, data)[0], losses(parameters, data)[1]  # a graph for each
        if projected:
            with gradient.supernet():
                supernet.backward()
            subnetworks.backward()
            gradient.finish()
        else:
            (supernet + subnetworks).backward()
        with torch.no_grad():
            parameters[0] -= 1e-3 * parameters[0].grad
        for parameter in parameters:
            parameter.grad = None
        seen.append(subnetworks.item())
    return seen


def test_subnetworks_still_learn():
    """Along the projected direction the subnetworks' loss falls at every step; along the plain sum it grows. Rejects a
    projection of the subnetworks' gradient in place of the supernet's, and none."""
    projected, plain = subnetworks_course(True), subnetworks_course(False)
    assert all(later < earlier for earlier, later in pairwise(projected))
    assert all(later > earlier for earlier, later in pairwise(plain))
    assert plain[-1] - plain[0] > 1 < plain[-1] - projected[-1]


def test_an_error_in_the_supernets_pass_leaves_the_gradients_in_place():
    """Rejects a swap that is not undone: the subnetworks' gradients would be lost."""
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.arange(3.0)
    gradient = ProjectedGradient([parameter])
    with pytest.raises(ArithmeticError), gradient.supernet():
        assert parameter.grad is None
        raise ArithmeticError
    assert parameter.grad.tolist() == [0, 1, 2]
