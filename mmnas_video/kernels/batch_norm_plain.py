"""The four pieces of BatchNorm's operators in plain PyTorch: what they are on a CPU, in float64 too.

For an ``x`` (B, C, ...) of any layout. Statistics and sums are float32 (float64 of float64). Arguments as of the
kernels' launchers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .batch_norm_reference import ACTIVATIONS, After, Norm


def wide_dtype(x: Tensor) -> torch.dtype:
    """Of statistics and sums."""
    return torch.promote_types(x.dtype, torch.float32)


def statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, start: int, momentum: float, by_sample: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`~.batch_norm_launch.statistics`. Of no clips at all, zeros."""
    wide, dims = x.to(wide_dtype(x)), _all_but_channels(x)
    if x.numel():
        var, mean = torch.var_mean(wide, dims, correction=0)
    else:
        var, mean = (wide.new_zeros(x.shape[1]) for _ in range(2))
    if running_mean is not None and running_var is not None:
        count = x.numel() // x.shape[1]
        move(running_mean, mean, start, momentum)
        move(running_var, var * (count / (count - 1)), start, momentum)
    return mean, var, wide.mean(dims[1:]) if by_sample else wide.new_empty(0, x.shape[1])


def move(running: Tensor, found: Tensor, start: int, momentum: float) -> None:
    """Move C of the running values (D,), from ``start`` and going round at the end, towards ``found`` (C,)."""
    place = (start + torch.arange(len(found), device=running.device)) % len(running)
    running[place] = (running[place] * (1 - momentum) + found * momentum).to(running.dtype)


def apply(x: Tensor, norm: Norm, after: After) -> Tensor:
    """See :func:`~.batch_norm_launch.apply`."""
    v = _activated(_normal(x, norm), norm, after)
    return torch.empty_like(x).copy_(ACTIVATIONS[after.activation](v))


def sums(grad: Tensor, x: Tensor, norm: Norm, after: After) -> tuple[Tensor, Tensor]:
    """See :func:`~.batch_norm_launch.sums`."""
    normal, dims = _normal(x, norm), _all_but_channels(x)[1:]
    inner = _deactivated(grad, _activated(normal, norm, after), after.activation)
    found = torch.stack([inner.sum(dims), (inner * normal).sum(dims)]) if dims else torch.stack([inner, inner * normal])
    kept = after.residual is not None and after.activation != 'none'
    return (
        found.sum(1, keepdim=True) if after.gate is None else found,
        torch.empty_like(x).copy_(inner) if kept else x.new_empty(0),
    )


def input_gradient(
    grad: Tensor, x: Tensor, norm: Norm, after: After, extra: Tensor | None, means: Tensor | None
) -> Tensor:
    """See :func:`~.batch_norm_launch.input_gradient`."""
    normal = _normal(x, norm)
    inner = _deactivated(grad, _activated(normal, norm, after), after.activation)
    if after.gate is not None:
        inner = inner * _of_samples(after.gate, x)
    if extra is not None:
        inner = inner + _of_samples(extra, x)
    if means is not None:
        inner = inner - _of_channels(means[0], x) - normal * _of_channels(means[1], x)
    scale = (norm.var.to(normal.dtype) + norm.eps).rsqrt()
    return torch.empty_like(x).copy_(inner * _of_channels(scale if norm.weight is None else scale * norm.weight, x))


def _normal(x: Tensor, norm: Norm) -> Tensor:
    wide = x.to(wide_dtype(x))
    return (wide - _of_channels(norm.mean, x)) * _of_channels((norm.var.to(wide.dtype) + norm.eps).rsqrt(), x)


def _activated(normal: Tensor, norm: Norm, after: After) -> Tensor:
    """What the activation is applied to."""
    v = normal if norm.weight is None else normal * _of_channels(norm.weight, normal)
    v = v if norm.bias is None else v + _of_channels(norm.bias, normal)
    v = v if after.gate is None else v * _of_samples(after.gate, normal)
    return v if after.residual is None else v + after.residual


def _deactivated(grad: Tensor, v: Tensor, activation: str) -> Tensor:
    if activation == 'swish':
        share = torch.sigmoid(v)
        return grad * share * (1 + v * (1 - share))
    return grad.to(v.dtype) if activation == 'none' else torch.where(v <= 0, 0, grad)


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _of_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _of_samples(values: Tensor, x: Tensor) -> Tensor:
    return values.view(*values.shape, *[1] * (x.dim() - 2))
