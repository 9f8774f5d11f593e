"""Launching BatchNorm's kernels on tensors: the pieces of its operators. Imports Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from .batch_norm_apply import apply_kernel
from .batch_norm_backward import input_kernel, sums_kernel
from .batch_norm_reference import After, Norm
from .batch_norm_statistics import merge_kernel, merge_samples_kernel, moments_kernel
from .batch_norm_tiles import Tiles, lay_tiles
from .fallback import device_of, launch


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
    parts = _pair(x, *tiles.partials)
    samples = x.new_empty(batch if by_sample else 0, channels, dtype=torch.float32)
    mean, var = _pair(x, channels)
    total = channels if running_mean is None else running_mean.shape[0]
    programs, at = tiles.merging
    with device_of(x):
        launch(moments_kernel, tiles.grid, x, *parts, **tiles.arguments)
        if by_sample:
            merged = _pair(x, batch, channels)
            launch(merge_samples_kernel, (batch, programs), x, *parts, samples, *merged, **at)
            parts, (programs, at) = merged, tiles.merging_groups
        arguments = (x, *parts, mean, var, running_mean, running_var, momentum)
        launch(merge_kernel, (programs,), *arguments, start=start, total=total, **at)
    return mean, var, samples


def apply(x: Tensor, norm: Norm, after: After) -> Tensor:
    """Launch the kernel; ``x`` and the residual (B, C, T, H, W)."""
    mean, var, weight, bias, eps = norm
    tiles = _tiles(x, by_sample=after.gate is not None)
    residual, y = channels_last(after.residual), torch.empty_like(x)
    arguments = (x, mean, var, weight, bias, residual, after.gate, y, eps)
    with device_of(x):
        launch(apply_kernel, tiles.grid, *arguments, ACTIVATION=after.activation, **tiles.arguments)
    return y


def sums(grad: Tensor, x: Tensor, norm: Norm, after: After) -> tuple[Tensor, Tensor]:
    """Launch :func:`sums_kernel`; arguments as of ``apply``, and ``grad`` the gradient of y.

    Returns:
        Σ dv and Σ dv x̂ (2, G, C) of each sample where there is a gate (G = B), else of all (G = 1); and dv, which is
        also the residual's gradient, where residual and activation make one necessary, else an empty tensor.
    """
    mean, var, weight, bias, eps = norm
    tiles = _tiles(x, by_sample=after.gate is not None)
    parts = x.new_empty(2, tiles.groups, tiles.blocks, tiles.channels, dtype=torch.float32)
    needed = after.residual is not None and after.activation != 'none'
    inner = torch.empty_like(x) if needed else x.new_empty(0)
    clips = (channels_last(grad), x, mean, var, weight, bias, channels_last(after.residual), after.gate)
    arguments = (*clips, inner if needed else None, *parts.unbind(), eps)
    with device_of(x):
        launch(sums_kernel, tiles.grid, *arguments, ACTIVATION=after.activation, **tiles.arguments)
    return parts.sum(2), inner


def input_gradient(
    grad: Tensor, x: Tensor, norm: Norm, after: After, extra: Tensor | None, means: Tensor | None
) -> Tensor:
    """Launch :func:`input_kernel`.

    Args:
        grad: of y; with a residual that of v, and ``activation='none'``: ``after`` has none here.
        extra: e, (B, C), float32; None for none.
        means: of dz and dz x̂, (2, C), float32; None where mean and variance are constants.
    """
    mean, var, weight, bias, eps = norm
    tiles = _tiles(x, by_sample=after.gate is not None or extra is not None)
    dx = torch.empty_like(x)
    pair = (None, None) if means is None else means.unbind()
    arguments = (channels_last(grad), x, mean, var, weight, bias, after.gate, extra, *pair, dx, eps)
    with device_of(x):
        launch(input_kernel, tiles.grid, *arguments, ACTIVATION=after.activation, **tiles.arguments)
    return dx


def channels_last(x: Tensor | None) -> Tensor | None:
    """``x`` with channels fastest in memory; what comes back from a mean, say, has another layout."""
    return None if x is None else x.contiguous(memory_format=torch.channels_last_3d)


def _pair(x: Tensor, *size: int) -> tuple[Tensor, Tensor]:
    return x.new_empty(*size, dtype=torch.float32), x.new_empty(*size, dtype=torch.float32)


def _tiles(x: Tensor, by_sample: bool) -> Tiles:
    batch, channels = x.shape[:2]
    every = x.numel() // channels
    return lay_tiles(batch, every // batch, channels) if by_sample else lay_tiles(1, every, channels)
