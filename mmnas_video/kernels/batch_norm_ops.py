"""BatchNorm's kernels as PyTorch operators, which ``torch.compile`` takes as they are, and as plain calls.

Two pieces, so that statistics of several ranks can be merged between them, and likewise in the backward pass. An
operator's arguments are one flat list, from which PyTorch reads its schema; below them stand two named tuples. Which of
the two doors (:mod:`.doors`) is taken shows in no result.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from . import batch_norm_plain as plain
from .batch_norm_reference import After, Norm, differentiable_gradients, reference
from .choose import is_strict, use_triton
from .doors import two_doors
from .fallback import either

NAME = 'mmnas_video::batch_norm_'


def kernels_take(x: Tensor) -> bool:
    """Whether the kernels run on ``x`` (B, C, T, H, W): :func:`~.choose.use_triton`, channels last in memory."""
    return x.dim() == 5 and use_triton(x, 'batch_norm') and x.is_contiguous(memory_format=torch.channels_last_3d)


def _run(x: Tensor, piece: str, *args: Any) -> Any:
    """By the kernels where they take ``x``, else by PyTorch, both called with ``args``."""
    theirs = getattr(plain, piece)
    if not kernels_take(x):
        return theirs(*args)
    return either('batch_norm', getattr(_launchers(), piece), theirs, args, is_strict)


@functools.cache
def _launchers() -> Any:
    from . import batch_norm_launch  # needs Triton

    return batch_norm_launch


def _statistics(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    start: int,
    momentum: float,
    by_sample: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _run(x, 'statistics', x, running_mean, running_var, start, momentum, by_sample)


statistics_op = torch.library.custom_op(NAME + 'statistics', _statistics, mutates_args=('running_mean', 'running_var'))


def _statistics_and_note(x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, *how: Any) -> Any:
    """Tells autograd what is written to, as the registry does."""
    if running_mean is not None and running_var is not None:
        torch.autograd.graph.increment_version((running_mean, running_var))
    return _statistics(x, running_mean, running_var, *how)


@statistics_op.register_fake
def _(x, running_mean, running_var, start, momentum, by_sample):
    batch, channels = x.shape[:2]
    mean, var = (x.new_empty(channels, dtype=plain.wide_dtype(x)) for _ in range(2))
    return mean, var, mean.new_empty((batch if by_sample else 0, channels))


def _apply(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    gate: Tensor | None,
    total: Tensor | None,
    eps: float,
    activation: str,
    count: int,
) -> Tensor:
    return _run(x, 'apply', x, Norm(mean, var, weight, bias, eps), After(activation, residual, gate))


apply_op = torch.library.custom_op(NAME + 'apply', _apply, mutates_args=())


@apply_op.register_fake
def _(x, mean, var, weight, bias, residual, gate, total, eps, activation, count):
    return torch.empty_like(x)


def _sums(
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
    return _run(x, 'sums', grad, x, Norm(mean, var, weight, bias, eps), After(activation, residual, gate))


sums_op = torch.library.custom_op(NAME + 'sums', _sums, mutates_args=())


@sums_op.register_fake
def _(grad, x, mean, var, weight, bias, residual, gate, eps, activation):
    groups = 1 if gate is None else x.shape[0]
    inner = torch.empty_like(x) if residual is not None and activation != 'none' else x.new_empty(0)
    return x.new_empty((2, groups, x.shape[1]), dtype=plain.wide_dtype(x)), inner


def _input(
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
    norm, after = Norm(mean, var, weight, bias, eps), After(activation, None, gate)
    return _run(x, 'input_gradient', grad, x, norm, after, extra, means)


input_op = torch.library.custom_op(NAME + 'input', _input, mutates_args=())


@input_op.register_fake
def _(grad, x, mean, var, weight, bias, gate, extra, means, eps, activation):
    return torch.empty_like(x)


def _sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of all ranks' ``values``; each rank calls it as often, in the same order."""
    found = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(found)
    return found


sum_over_ranks_op = torch.library.custom_op(NAME + 'sum_over_ranks', _sum_over_ranks, mutates_args=())


@sum_over_ranks_op.register_fake
def _(values):
    return torch.empty_like(values, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps, ctx.activation, ctx.count = inputs
    ctx.save_for_backward(*tensors)


def _plain(x, mean, var, weight, bias, residual, gate, total, eps, activation, count):
    return reference(x, mean, var, weight, bias, residual, gate, eps, activation, count)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    x, mean, var, weight, bias, residual, gate, total = saved
    if torch.is_grad_enabled() and total is None:  # create_graph=True; over ranks there is no second derivative
        inputs = (*saved, ctx.eps, ctx.activation, ctx.count)
        return differentiable_gradients(_plain, inputs, ctx.needs_input_grad, grad)
    affine = (mean, var, weight, bias)
    found, inner = sums(grad, x, *affine, residual, gate, ctx.eps, ctx.activation)
    activation, by_gate = ctx.activation, None
    if residual is not None and activation != 'none':
        grad, activation = inner, 'none'
    if gate is None:
        found = found[:, 0]
    else:
        by_gate = (scaled(found[1], weight) + (0 if bias is None else bias * found[0])).to(gate.dtype)
        found = (found * gate).sum(1)
    means = means_of(found, ctx.count, total)
    dx = None
    if ctx.needs_input_grad[0]:
        dx = input_gradient(grad, x, *affine, gate, None, means, ctx.eps, activation)
    by_weight = None if weight is None else found[1].to(weight.dtype)
    by_bias = None if bias is None else found[0].to(bias.dtype)
    return dx, None, None, by_weight, by_bias, None if residual is None else grad, by_gate, *[None] * 4


statistics = two_doors(statistics_op, _statistics_and_note)
apply = two_doors(apply_op, _apply, _keep, _backward)
sums = two_doors(sums_op, _sums)
input_gradient = two_doors(input_op, _input)
sum_over_ranks = two_doors(sum_over_ranks_op, _sum_over_ranks)


def means_of(sums: Tensor, count: int, total: Tensor | None) -> Tensor | None:
    """Σ dz and Σ dz x̂ (2, C) over what the statistics are of, each value's share; None where these are constants.

    With a ``total`` the statistics are those of all ranks, so what goes on to x is that of the losses of all ranks.
    Weight and bias get this rank's part, as of any layer: gradients of parameters are averaged later.
    """
    if total is not None:
        return sum_over_ranks(sums) / total
    return sums / float(count) if count else None  # a float, because an int is converted first


def scaled(values: Tensor, weight: Tensor | None) -> Tensor:
    """``values`` times ``weight``, where there is one."""
    return values if weight is None else values * weight
