"""A super-weight under the expected masks of two of its axes at once, and LayerNorm under one: both passes by hand.

The same products written one after another keep a copy of the weight for each. A step takes about as long either way
(``tools/benchmarks/mixed_vs_sampled.py``).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from .window import MixedWindow, Window, take


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(weight, rows, columns)
        # Nothing in place in a forward: torch.compile of torch 2.11 then gives wrong gradients (pytorch #180642).
        return weight * rows[:, None] * columns

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        weight, rows, columns = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            pairs = grad * weight
            inner = grad * rows[:, None] * columns if ctx.needs_input_grad[0] else None
            return inner, pairs @ columns, rows @ pairs


def masked(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``weight * rows * columns``.

    Args:
        weight: (R, C).
        rows: (R,).
        columns: (C,).
    """
    return _Masked.apply(weight, rows, columns)


def take_pair(weight: Tensor, out: Window | MixedWindow, inp: Window | MixedWindow) -> Tensor:
    """The windows of ``weight`` along its first two axes."""
    if isinstance(out, MixedWindow) and isinstance(inp, MixedWindow) and weight.numel() == out.total * inp.total:
        return masked(weight.flatten(1), out.mask, inp.mask).view(weight.shape)
    return take(take(weight, 0, out), 1, inp)


class _MaskedLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, share: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, share)
        ctx.eps = eps
        centred, scale, _ = _moments(x, share, eps)
        return centred * scale  # not in place, as above

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        given, share = ctx.saved_tensors  # read once: under activation checkpointing they are gone afterwards
        with torch.autocast(grad.device.type, enabled=False):
            centred, scale, x = _moments(given, share, ctx.eps)
            by_variance = (grad * centred).sum(-1, keepdim=True) * scale.pow(3) * -0.5
            by_centred = grad * scale + (2 * by_variance) * (centred * share)
            by_mean = -by_centred.sum(-1, keepdim=True)
            by_share = _sum_over_tokens(centred.square(), by_variance) + _sum_over_tokens(x, by_mean)
            return (by_centred + by_mean * share).to(given.dtype), by_share, None


def _moments(x: Tensor, share: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` less its mean, the inverse deviation, and ``x``, in the precision of ``share``."""
    # Networks are counted on the meta device, which autocast does not know.
    with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
        x = x.to(share.dtype)
        centred = x - (x @ share).unsqueeze(-1)
        return centred, (centred.square() @ share + eps).rsqrt().unsqueeze(-1), x


def _sum_over_tokens(x: Tensor, weight: Tensor) -> Tensor:
    """Σ x · weight over all axes but the last, for weights (..., 1)."""
    return weight.flatten() @ x.flatten(0, -2)


def masked_layer_norm(x: Tensor, share: Tensor, eps: float) -> Tensor:
    """``x`` (..., D) less its mean over its deviation, of which each channel's part is its share.

    Args:
        share: (D,), sums to one.
        eps: added to the variance.
    """
    return _MaskedLayerNorm.apply(x, share, eps)
