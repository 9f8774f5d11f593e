"""BatchNorm3d fused with what follows it: activation, residual, squeeze-and-excitation.

``act(bn(x) * gate + residual)`` in two passes over ``x`` (one in eval mode) and as many in the backward pass, which
computes normalised values and activations again: kept are ``x`` and two numbers a channel. Source of the statistics'
formula: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

The two pieces, :func:`statistics` and :func:`normalise`, are apart, so that what several ranks have found can be merged
between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmnas_video.errors import ConfigError

from . import batch_norm_excite
from . import batch_norm_ops as ops
from .batch_norm_reference import ACTIVATIONS, finish

__all__ = ['Statistics', 'excited', 'finish', 'fuses', 'normalise', 'statistics']


class Statistics(NamedTuple):
    """What a layer normalises with.

    Attributes:
        mean, var: (C,); the variance biased.
        count: values a channel that they are of, and that gradients go to through them; 0 where they are constants.
        samples: mean of each clip (B, C), or (0, C).
        total: where they are those of all ranks, the values a channel of all of them, a number.
    """

    mean: Tensor
    var: Tensor
    count: int
    samples: Tensor | None = None
    total: Tensor | None = None


def fuses(x: Tensor, residual: Tensor | None = None) -> bool:
    """Whether the kernels take ``x`` (B, C, T, H, W): see :func:`~.choose.use_triton`; channels last in memory, and a
    residual like it."""
    return ops.kernels_take(x) and (
        residual is None
        or (
            residual.shape == x.shape
            and residual.dtype == x.dtype
            and residual.is_contiguous(memory_format=torch.channels_last_3d)
        )
    )


def statistics(
    x: Tensor,
    running: tuple[Tensor, Tensor] | None = None,
    start: int = 0,
    momentum: float = 0.0,
    by_sample: bool = False,
    shard: bool = False,
) -> Statistics:
    """Mean and biased variance of each channel of ``x`` (B, C, T, H, W), in float32.

    Args:
        running: mean and unbiased variance (D,) that are moved in place, of which C channels from ``start``, going
            round at the end.
        momentum: weight of the new ones.
        by_sample: also the mean of each clip.
        shard: whether ``x`` is only a part of what will be merged.

    Raises:
        ValueError: one value a channel has no variance, and is all there is.
    """
    count = x.numel() // x.shape[1]
    if count == 1 and not shard:
        raise ValueError(f'Expected more than 1 value per channel when training, got input size {x.size()}')
    mean, var, samples = ops.statistics(x.detach(), *(running or (None, None)), start, float(momentum), by_sample)
    return Statistics(mean, var, count, samples)


def normalise(
    x: Tensor,
    by: Statistics,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    activation: str = 'none',
    residual: Tensor | None = None,
    gate: Tensor | None = None,
) -> Tensor:
    """``act((weight * (x - mean) / sqrt(var + eps) + bias) * gate + residual)``.

    The gradient of ``x`` has in it what goes through mean and variance, as far as ``x`` itself is what they are of.

    Args:
        x, residual: (B, C, T, H, W), for the kernels channels last in memory; elsewhere (B, C, ...).
        weight, bias: (C,).
        activation: ``'none'``, ``'relu'`` or ``'swish'``.
        gate: (B, C).

    Raises:
        ConfigError: another activation.
    """
    if activation not in ACTIVATIONS:
        raise ConfigError(f'activation: found {activation!r}, expected one of {list(ACTIVATIONS)}')
    return ops.apply(x, by.mean, by.var, weight, bias, residual, gate, by.total, eps, activation, by.count)


def excited(
    x: Tensor, by: Statistics, weight: Tensor | None, bias: Tensor | None, weights: Sequence[Tensor], eps: float
) -> Tensor:
    """``swish(z * gate)`` with ``z = bn(x)`` and ``gate = sigmoid(w2 relu(w1 mean(z) + b1) + b2)``.

    Args:
        by: with ``samples``.
        weights: w1 (S, C), b1 (S,), w2 (C, S), b2 (C,).
    """
    return batch_norm_excite.excited(x, by.mean, by.var, by.samples, weight, bias, *weights, by.total, eps, by.count)
