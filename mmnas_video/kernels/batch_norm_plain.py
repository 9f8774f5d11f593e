"""The four pieces of BatchNorm's operators in plain PyTorch: what they are on a CPU, in float64 too.

Statistics and sums are float32 (float64 of float64). Arguments as of the kernels' launchers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .batch_norm_reference import ACTIVATIONS


def wide_dtype(x: Tensor) -> torch.dtype:
    """Of statistics and sums."""
    return torch.promote_types(x.dtype, torch.float32)


def statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, start: int, momentum: float, by_sample: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`~.batch_norm_statistics.run_statistics`."""
    wide = x.to(wide_dtype(x))
    var, mean = torch.var_mean(wide, (0, 2, 3, 4), correction=0)
    if running_mean is not None and running_var is not None:
        count = x.numel() // x.shape[1]
        place = (start + torch.arange(x.shape[1], device=x.device)) % running_mean.shape[0]
        for running, found in ((running_mean, mean), (running_var, var * (count / (count - 1)))):
            running[place] = (running[place] * (1 - momentum) + found * momentum).to(running.dtype)
    return mean, var, wide.mean((2, 3, 4)) if by_sample else wide.new_empty(0, x.shape[1])


def apply(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    gate: Tensor | None,
    eps: float,
    activation: str,
) -> Tensor:
    """See :func:`~.batch_norm_apply.run_apply`."""
    v = _activated(_normal(x, mean, var, eps), weight, bias, residual, gate)
    return torch.empty_like(x).copy_(ACTIVATIONS[activation](v))


def sums(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    gate: Tensor | None,
    eps: float,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """See :func:`~.batch_norm_backward.run_sums`."""
    normal = _normal(x, mean, var, eps)
    inner = _deactivated(grad, _activated(normal, weight, bias, residual, gate), activation)
    found = torch.stack([inner.sum((2, 3, 4)), (inner * normal).sum((2, 3, 4))])
    kept = residual is not None and activation != 'none'
    return (
        found.sum(1, keepdim=True) if gate is None else found,
        torch.empty_like(x).copy_(inner) if kept else x.new_empty(0),
    )


def input_gradient(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    extra: Tensor | None,
    means: Tensor | None,
    eps: float,
    activation: str,
) -> Tensor:
    """See :func:`~.batch_norm_backward.run_input`."""
    normal = _normal(x, mean, var, eps)
    inner = _deactivated(grad, _activated(normal, weight, bias, None, gate), activation)
    if gate is not None:
        inner = inner * _of_samples(gate)
    if extra is not None:
        inner = inner + _of_samples(extra)
    if means is not None:
        inner = inner - _of_channels(means[0]) - normal * _of_channels(means[1])
    scale = (var.to(normal.dtype) + eps).rsqrt()
    return torch.empty_like(x).copy_(inner * _of_channels(scale if weight is None else scale * weight))


def _normal(x: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    wide = x.to(wide_dtype(x))
    return (wide - _of_channels(mean)) * _of_channels((var.to(wide.dtype) + eps).rsqrt())


def _activated(
    normal: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, gate: Tensor | None
) -> Tensor:
    """What the activation is applied to."""
    v = normal if weight is None else normal * _of_channels(weight)
    v = v if bias is None else v + _of_channels(bias)
    v = v if gate is None else v * _of_samples(gate)
    return v if residual is None else v + residual


def _deactivated(grad: Tensor, v: Tensor, activation: str) -> Tensor:
    if activation == 'swish':
        share = torch.sigmoid(v)
        return grad * share * (1 + v * (1 - share))
    return grad.to(v.dtype) if activation == 'none' else torch.where(v <= 0, 0, grad)


def _of_channels(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1, 1)


def _of_samples(values: Tensor) -> Tensor:
    return values[:, :, None, None, None]
