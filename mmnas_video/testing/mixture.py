"""check_mixture: what a searchable module must do with weights over the values in the place of an architecture."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmnas_video.entangle import Mixture, Searchable, kept_statistics
from mmnas_video.errors import ConfigError
from mmnas_video.space import SearchSpace, Value

from .compare import TOLERANCE, as_double, assert_close, randomise

#: Largest difference between a derivative and its central difference, relative to the largest of a choice.
FINITE = 1e-5
#: Steps of the differences; one has to agree. The larger for small derivatives of large outputs (rounding), the smaller
#: for outputs with many kinks (the fewer ReLUs turn within the step, the better).
STEPS = (1e-6, 1e-7, 1e-8)


def check_mixture(make: Callable[[], Any], inputs: Tensor, archs: Sequence[Mapping[str, Value]] = ()) -> None:
    """Put a searchable module through the law of mixtures: one-hot weights are the sampled network, the gradient of the
    weights is that of the outputs, and every choice counts.

    Args:
        make: makes the supernet.
        inputs: what forward takes, made float64 as the module is.
        archs: architectures to try beside the smallest and the largest.

    Raises:
        AssertionError: says which property does not hold, and where.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # differences across a kink are wrong: the same network every time
        model, inputs = make().double(), as_double(inputs)
    what, space = type(model).__name__, model.space
    for number, arch in enumerate((space.smallest, space.largest, *archs)):
        randomise(model, seed=number)
        for training in (False, True):
            mode = f'{what} at {dict(arch)}, {"train" if training else "eval"} mode'
            _check_one_hot(model.train(training), inputs, arch, mode)
    for training in (False, True):
        mode = f'{what}, {"train" if training else "eval"} mode'
        _check_gradient(model.train(training), inputs, mode)
    _check_refusal(model, what)


def _check_one_hot(model: Any, inputs: Tensor, arch: Mapping[str, Value], what: str) -> None:
    """Outputs, and the gradients of every parameter: zero (or none) outside the sampled slices."""
    outputs, gradients = [], []
    for active in (arch, Mixture.one_hot(model.space, arch, inputs)):
        model.zero_grad(set_to_none=True)
        with _alone(model), model.use(active):
            outputs.append(model(inputs))
            outputs[-1].backward(_upstream(outputs[-1]))
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert_close(outputs[1], outputs[0], f'{what}: output of one-hot weights against the sampled network')
    # Relative to the largest of all: a norm cancels some of them to what is left of sums of other sizes.
    scale = max(1e-3, *(float(grad.abs().max()) for grad in gradients[0].values() if grad is not None))
    for name, expected in gradients[0].items():
        found, expected = (torch.zeros(1) if grad is None else grad for grad in (gradients[1][name], expected))
        worst = float((found - expected).abs().max()) / scale
        assert worst <= TOLERANCE, f'{what}: gradient of {name} under one-hot weights differs by {worst:.1e}'


def _check_gradient(model: Any, inputs: Tensor, what: str) -> None:
    """The derivative of the output by every weight against central differences; twice, since nothing may be left over
    from the first pass."""
    weights = random_weights(model.space)
    leaves = {name: p.clone().requires_grad_() for name, p in weights.items()}
    grads: list[Sequence[Tensor | None]] = []
    for _ in range(2):
        with _alone(model):
            y = _output(model, inputs, leaves)
            grads.append(torch.autograd.grad(y, list(leaves.values()), allow_unused=True))
    generator = torch.Generator().manual_seed(2)
    for name, grad, again in zip(weights, *grads, strict=True):
        assert grad is not None and again is not None, f'{what}: the weights of {name} are not used'
        assert torch.equal(grad, again), f'{what}: two passes give two gradients of the weights of {name}'
        # Along a random direction: an error in any entry shows, at the price of one.
        direction = torch.randn(grad.shape, dtype=grad.dtype, generator=generator)
        found = float(grad @ direction)
        for step in STEPS:
            expected = _difference(model, inputs, weights, {name: step * direction}) / step
            # In training mode a norm may cancel what a choice scales: then there is nothing to compare but zeros.
            worst = abs(found - expected) / max(float(grad.norm()), 1e-3)
            if worst <= FINITE:
                break
        assert worst <= FINITE, f'{what}: derivative of the weights of {name}: {found}, by differences {expected}'
        assert model.training or grad.any(), f'{what}: the weights of {name} change nothing'


@torch.no_grad()
def _difference(model: Any, inputs: Tensor, weights: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> float:
    """Half of the output's difference between the weights plus and minus ``change``."""
    found = 0.0
    for sign in (1, -1):
        with _alone(model):
            moved = {name: value + sign * change[name] if name in change else value for name, value in weights.items()}
            found += sign * float(_output(model, inputs, moved)) / 2
    return found


def _output(model: Any, inputs: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """A random linear function of the output."""
    with model.use(Mixture(model.space, weights)):
        y = model(inputs)
    return (y * _upstream(y)).sum()


def random_weights(space: SearchSpace, seed: int = 0) -> dict[str, Tensor]:
    """Softmax of normal numbers for every open choice."""
    generator = torch.Generator().manual_seed(seed)
    return {c.name: torch.randn(len(c), generator=generator, dtype=torch.float64).softmax(0) for c in space.open}


def _check_refusal(model: Searchable, what: str) -> None:
    other = SearchSpace('another', model.space.choices[:1])
    try:
        with model.use(Mixture.one_hot(other, other.smallest)):
            pass
    except ConfigError:
        return
    assert len(model.space) == 1, f'{what}: use() took a mixture over another space'


@contextmanager
def _alone(model: Any) -> Iterator[None]:
    """Running statistics and torch's generator as they were, so that two passes can be compared."""
    states = torch.get_rng_state(), random.getstate()
    with kept_statistics(model):
        try:
            yield
        finally:
            torch.set_rng_state(states[0]), random.setstate(states[1])


def _upstream(y: Tensor) -> Tensor:
    return torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
