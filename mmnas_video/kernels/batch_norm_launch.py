"""Launching BatchNorm's kernels on tensors: the pieces of its operators. Imports Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .batch_norm_apply import apply_kernel
from .batch_norm_backward import input_kernel, sums_kernel
from .batch_norm_statistics import merge_kernel, merge_samples_kernel, moments_kernel
from .batch_norm_tiles import Tiles, lay_tiles, merging


def statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, start: int, momentum: float, by_sample: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch the kernels.

    Args:
        x: (B, C, T, H, W), channels last in memory.
        running_mean, running_var: (D,), of which C channels from ``start``, going round at the end, are updated; None
            for none.
        momentum: weight of what is new.
        by_sample: also the mean of each sample.

    Returns:
        Mean and biased variance (C,), means of the samples (B, C) or (0, C); float32.
    """
    batch, channels = x.shape[:2]
    tiles = _tiles(x, by_sample)
    parts = x.new_empty((2, *tiles.partials), dtype=torch.float32)
    samples = x.new_empty((batch if by_sample else 0, channels), dtype=torch.float32)
    mean, var = (x.new_empty(channels, dtype=torch.float32) for _ in range(2))
    total = channels if running_mean is None else running_mean.shape[0]
    at = merging(tiles)
    programs = -(-channels // at['BLOCK_C'])
    with torch.cuda.device_of(x):
        moments_kernel[tiles.grid](x, *parts, **tiles.arguments())
        if by_sample:
            merged = x.new_empty((2, batch, channels), dtype=torch.float32)
            merge_samples_kernel[programs, batch](x, *parts, samples, *merged, **at)
            parts, at = merged, {**at, 'rows': batch * tiles.rows, 'per': tiles.rows, 'blocks': batch}
        merge_kernel[programs,](
            x, *parts, mean, var, running_mean, running_var, momentum, start=start, total=total, **at
        )
    return mean, var, samples


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
    """Launch the kernel.

    Args:
        x, residual: (B, C, T, H, W), channels last in memory.
        mean, var, weight, bias: (C,).
        gate: (B, C).
        activation: ``'none'``, ``'relu'`` or ``'swish'``.
    """
    tiles = _tiles(x, by_sample=gate is not None)
    y = torch.empty_like(x)
    with torch.cuda.device_of(x):
        apply_kernel[tiles.grid](
            x, mean, var, weight, bias, residual, gate, y, eps, ACTIVATION=activation, **tiles.arguments()
        )
    return y


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
    """Launch :func:`sums_kernel`; arguments as of ``apply``, and ``grad`` the gradient of y.

    Returns:
        Σ dv and Σ dv x̂ (2, G, C) of each sample where there is a gate (G = B), else of all (G = 1); and dv, which is
        also the residual's gradient, where residual and activation make one necessary, else an empty tensor.
    """
    tiles = _tiles(x, by_sample=gate is not None)
    parts = x.new_empty((2, *tiles.partials), dtype=torch.float32)
    needed = residual is not None and activation != 'none'
    inner = torch.empty_like(x) if needed else x.new_empty(0)
    arguments = (grad, x, mean, var, weight, bias, residual, gate, inner if needed else None, *parts, eps)
    with torch.cuda.device_of(x):
        sums_kernel[tiles.grid](*arguments, ACTIVATION=activation, **tiles.arguments())
    return parts.view(2, tiles.groups, tiles.blocks, tiles.channels).sum(2), inner


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
    """Launch :func:`input_kernel`.

    Args:
        grad: of y; with a residual that of v, and ``activation='none'``.
        extra: e, (B, C), float32; None for none.
        means: of dz and dz x̂, (2, C), float32; None where mean and variance are constants.
    """
    tiles = _tiles(x, by_sample=gate is not None or extra is not None)
    dx = torch.empty_like(x)
    arguments = (grad, x, mean, var, weight, bias, gate, extra, *((None, None) if means is None else means), dx, eps)
    with torch.cuda.device_of(x):
        input_kernel[tiles.grid](*arguments, ACTIVATION=activation, **tiles.arguments())
    return dx


def _tiles(x: Tensor, by_sample: bool) -> Tiles:
    batch, channels = x.shape[:2]
    every = x.numel() // channels
    return lay_tiles(batch, every // batch, channels) if by_sample else lay_tiles(1, every, channels)
