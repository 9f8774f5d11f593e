"""BatchNorm's kernels as PyTorch operators, which ``torch.compile`` takes as they are.

Two pieces, so that statistics of several ranks can be merged between them, and likewise in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import batch_norm_plain as plain
from .batch_norm_reference import differentiable_gradients, reference
from .choose import INTERPRETED

NAME = 'mmnas_video::batch_norm_'


def _pieces(x: Tensor) -> Any:
    """What computes: the kernels, or PyTorch."""
    if x.is_cuda or (INTERPRETED and x.dtype is not torch.float64):
        from . import batch_norm_launch

        return batch_norm_launch
    return plain


@torch.library.custom_op(NAME + 'statistics', mutates_args=('running_mean', 'running_var'))
def statistics_op(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    start: int,
    momentum: float,
    by_sample: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _pieces(x).statistics(x, running_mean, running_var, start, momentum, by_sample)


@statistics_op.register_fake
def _(x, running_mean, running_var, start, momentum, by_sample):
    batch, channels = x.shape[:2]
    mean, var = (x.new_empty(channels, dtype=plain.wide_dtype(x)) for _ in range(2))
    return mean, var, mean.new_empty((batch if by_sample else 0, channels))


@torch.library.custom_op(NAME + 'apply', mutates_args=())
def apply_op(
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
    return _pieces(x).apply(x, mean, var, weight, bias, residual, gate, eps, activation)


@apply_op.register_fake
def _(x, mean, var, weight, bias, residual, gate, eps, activation, count):
    return torch.empty_like(x)


@torch.library.custom_op(NAME + 'sums', mutates_args=())
def sums_op(
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
    return _pieces(x).sums(channels_last(grad), x, mean, var, weight, bias, residual, gate, eps, activation)


@sums_op.register_fake
def _(grad, x, mean, var, weight, bias, residual, gate, eps, activation):
    groups = 1 if gate is None else x.shape[0]
    inner = torch.empty_like(x) if residual is not None and activation != 'none' else x.new_empty(0)
    return x.new_empty((2, groups, x.shape[1]), dtype=plain.wide_dtype(x)), inner


@torch.library.custom_op(NAME + 'input', mutates_args=())
def input_op(
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
    return _pieces(x).input_gradient(
        channels_last(grad), x, mean, var, weight, bias, gate, extra, means, eps, activation
    )


@input_op.register_fake
def _(grad, x, mean, var, weight, bias, gate, extra, means, eps, activation):
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps, ctx.activation, ctx.count = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, mean, var, weight, bias, residual, gate = ctx.saved_tensors
    if torch.is_grad_enabled():  # create_graph=True
        inputs = (*ctx.saved_tensors, ctx.eps, ctx.activation, ctx.count)
        return differentiable_gradients(reference, inputs, ctx.needs_input_grad, grad)
    affine = (mean, var, weight, bias)
    sums, inner = torch.ops.mmnas_video.batch_norm_sums(grad, x, *affine, residual, gate, ctx.eps, ctx.activation)
    activation, by_gate = ctx.activation, None
    if residual is not None and activation != 'none':
        grad, activation = inner, 'none'
    if gate is not None:
        by_gate = (scaled(sums[1], weight) + (0 if bias is None else bias * sums[0])).to(gate.dtype)
        sums = sums * gate
    sums = sums.sum(1)
    means = sums / ctx.count if ctx.count else None
    dx = None
    if ctx.needs_input_grad[0]:
        dx = torch.ops.mmnas_video.batch_norm_input(grad, x, *affine, gate, None, means, ctx.eps, activation)
    by_weight = None if weight is None else sums[1].to(weight.dtype)
    by_bias = None if bias is None else sums[0].to(bias.dtype)
    return dx, None, None, by_weight, by_bias, None if residual is None else grad, by_gate, None, None, None


apply_op.register_autograd(_backward, setup_context=_keep)


def scaled(values: Tensor, weight: Tensor | None) -> Tensor:
    """``values`` times ``weight``, where there is one."""
    return values if weight is None else values * weight


def channels_last(x: Tensor) -> Tensor:
    """``x`` with channels fastest in memory; what comes back from a mean, say, has another layout."""
    return x.contiguous(memory_format=torch.channels_last_3d)
