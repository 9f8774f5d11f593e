"""BatchNorm with what follows it in plain PyTorch: what the kernels compute, one pass over memory for each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of a tensor that is nobody else's: written into it, where its gradient does not ask for what stood there.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'none': lambda x: x,
    'relu': torch.relu_,
    'swish': lambda x: F.silu(x, inplace=not torch.is_grad_enabled()),
}


class Norm(NamedTuple):
    """``z = weight * (x - mean) / sqrt(var + eps) + bias``: (C,) all but ``eps``; weight and bias None for none."""

    mean: Tensor
    var: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float


class After(NamedTuple):
    """``act(z * gate + residual)``: ``'none'``, ``'relu'`` or ``'swish'``, a residual like x, a gate (B, C)."""

    activation: str = 'none'
    residual: Tensor | None = None
    gate: Tensor | None = None


def finish(y: Tensor, activation: str, residual: Tensor | None = None, gate: Tensor | None = None) -> Tensor:
    """``act(y * gate + residual)`` with a gate (B, C). Written into ``y``, which is the norm's own output (its backward
    asks for the input), where autograd allows it: memory is what these take. But for the sum, which then would take
    the layout of ``y``; that has been the slower one."""
    if gate is not None:
        gate = gate.to(y.dtype)[:, :, None, None, None]
        y = y * gate if torch.is_grad_enabled() else y.mul_(gate)
    return ACTIVATIONS[activation](y if residual is None else residual + y)


def reference(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    gate: Tensor | None,
    eps: float,
    activation: str,
    count: int,
) -> Tensor:
    """``act(bn(x) * gate + residual)``; see :func:`~.batch_norm.normalise`. With a ``count`` mean and variance are
    those of ``x``, and gradients go through them."""
    statistics = (None, None) if count else (mean, var)
    y = F.batch_norm(x, *statistics, weight, bias, count > 0, 0.0, eps)
    return finish(y, activation, residual, gate)


def excite(
    z: Tensor, squeeze_weight: Tensor, squeeze_bias: Tensor, excite_weight: Tensor, excite_bias: Tensor
) -> Tensor:
    """The gates (B, C) of squeeze-and-excitation from the clips' means (B, C): weights (S, C), (S,), (C, S), (C,)."""
    return torch.sigmoid(F.linear(torch.relu(F.linear(z, squeeze_weight, squeeze_bias)), excite_weight, excite_bias))


def excited_reference(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    weights: Sequence[Tensor],
    eps: float,
    count: int,
) -> Tensor:
    """``swish(se(bn(x)))``; ``weights`` as of :func:`excite`."""
    z = reference(x, mean, var, weight, bias, None, None, eps, 'none', count)
    return finish(z, 'swish', gate=excite(z.mean((2, 3, 4)), *weights))


def differentiable_gradients(
    function: Callable[..., Tensor], inputs: Sequence[object], needed: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of ``function(*inputs)`` that can be differentiated again (``create_graph=True``)."""
    wanted = [value for value, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(function(*inputs), wanted, grad, create_graph=True, allow_unused=True))
    return tuple(next(found) if need else None for need in needed)
