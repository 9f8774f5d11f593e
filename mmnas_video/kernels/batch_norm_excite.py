"""Squeeze-and-excitation between BatchNorm and swish, without a pass over memory of its own: an operator.

The squeeze is the mean over each clip of what BatchNorm gives, so it follows from the clip's own mean, which the pass
for the statistics has found on its way. In the backward pass the sums of each clip, which BatchNorm's gradients are
made of, give the gates' gradients too; what comes back through the squeeze is one number for a whole clip and channel.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .batch_norm_ops import NAME, apply, input_gradient, means_of, scaled, sums
from .batch_norm_reference import differentiable_gradients, excite, excited_reference
from .doors import two_doors


def _excited(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    samples: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    total: Tensor | None,
    eps: float,
    count: int,
) -> Tensor:
    with _full_precision(x):
        squeezed, _ = _squeezed(mean, var, samples, weight, bias, eps)
        weights = (squeeze_weight, squeeze_bias, excite_weight, excite_bias)
        gate = excite(squeezed, *(w.to(squeezed) for w in weights))
    return apply(x, mean, var, weight, bias, None, gate, None, eps, 'swish', 0)


excited_op = torch.library.custom_op(NAME + 'excited', _excited, mutates_args=())


@excited_op.register_fake
def _(x, mean, var, samples, *rest):
    return torch.empty_like(x)


def _full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """A block without autocast, which is nothing to do where there is none."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _squeezed(
    mean: Tensor, var: Tensor, samples: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """The clips' means (B, C) of what BatchNorm gives, and those of the normalised values."""
    normal = (samples - mean.to(samples)) * (var.to(samples) + eps).rsqrt()
    z = scaled(normal, weight)
    return z if bias is None else z + bias, normal


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps, ctx.count = inputs
    ctx.save_for_backward(*tensors)


def _plain(x, mean, var, samples, weight, bias, w1, b1, w2, b2, total, eps, count):
    return excited_reference(x, mean, var, weight, bias, (w1, b1, w2, b2), eps, count)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    if torch.is_grad_enabled() and saved[-1] is None:  # as for batch_norm_apply
        return differentiable_gradients(_plain, (*saved, ctx.eps, ctx.count), ctx.needs_input_grad, grad)
    with _full_precision(grad):
        return _gradients(ctx, grad, saved)


def _gradients(ctx: Any, grad: Tensor, saved: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    x, mean, var, samples, weight, bias, *weights, total = saved
    w1, b1, w2, b2 = (w.to(samples) for w in weights)
    z, normal = _squeezed(mean, var, samples, weight, bias, ctx.eps)
    hidden = torch.relu(F.linear(z, w1, b1))
    gate = torch.sigmoid(F.linear(hidden, w2, b2))
    affine = (mean, var, weight, bias)
    found, _ = sums(grad, x, *affine, None, gate, ctx.eps, 'swish')
    plain, by_normal = found.unbind()  # (B, C) both
    by_gate = scaled(by_normal, weight) + (0 if bias is None else bias * plain)
    by_logit = by_gate * gate * (1 - gate)
    by_hidden = (by_logit @ w2) * (hidden > 0)
    by_z = by_hidden @ w1
    found = torch.stack([plain * gate + by_z, by_normal * gate + by_z * normal]).sum(1)
    means = means_of(found, ctx.count, total)
    dx = None
    if ctx.needs_input_grad[0]:
        extra = by_z / (x.numel() // samples.numel())
        dx = input_gradient(grad, x, *affine, gate, extra, means, ctx.eps, 'swish')
    inner = (by_hidden.mT @ z, by_hidden.sum(0), by_logit.mT @ hidden, by_logit.sum(0))
    return (
        dx,
        None,
        None,
        None,
        None if weight is None else found[1].to(weight.dtype),
        None if bias is None else found[0].to(bias.dtype),
        *(by.to(w.dtype) for by, w in zip(inner, weights, strict=True)),
        None,
        None,
        None,
    )


excited = two_doors(excited_op, _excited, _keep, _backward)
