"""Depthwise Conv3d with a window of a super-weight in plain PyTorch: where nothing faster is, and what the kernels are
held to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def window_of(weight: Tensor, start: int, channels: int, kernel: Sequence[int]) -> Tensor:
    """``channels`` of a super-weight (C, 1, T, H, W) from ``start``, going round, and its central ``kernel`` (t, h, w).

    A view, or two joined where the window goes round.
    """
    for dim, size in zip((2, 3, 4), kernel, strict=True):
        if weight.shape[dim] != size:
            weight = weight.narrow(dim, (weight.shape[dim] - size) // 2, size)
    head = min(channels, weight.shape[0] - start)
    if head == channels:
        return weight if channels == weight.shape[0] else weight.narrow(0, start, channels)
    return torch.cat((weight.narrow(0, start, head), weight.narrow(0, 0, channels - head)))


def reference(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    """``(B, C, T, H, W)`` convolved with "same" padding; ``stride`` is spatial."""
    window = window_of(weight, start, x.shape[1], kernel)
    padding = [size // 2 for size in kernel]
    return F.conv3d(x, window, None, (1, stride, stride), padding, 1, x.shape[1])


def reference_input_gradient(
    dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int, size: Sequence[int]
) -> Tensor:
    """Gradient of :func:`reference` for an x of (H, W) ``size``, times ``dy``."""
    window = window_of(weight, start, dy.shape[1], kernel)
    shape = (*dy.shape[:3], *size)
    padding = [k // 2 for k in kernel]
    return torch.nn.grad.conv3d_input(shape, window, dy, (1, stride, stride), padding, 1, dy.shape[1])


def reference_weight_gradient(
    x: Tensor, dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int
) -> Tensor:
    """Gradient of :func:`reference` for the whole super-weight, times ``dy``: 0 outside the window."""
    shape = (x.shape[1], 1, *kernel)
    padding = [k // 2 for k in kernel]
    window = torch.nn.grad.conv3d_weight(x, shape, dy, (1, stride, stride), padding, 1, x.shape[1])
    return whole_gradient(window, weight, start, kernel)


def whole_gradient(window: Tensor, weight: Tensor, start: int, kernel: Sequence[int]) -> Tensor:
    """The gradient of a super-weight (C', 1, T, H, W), 0 but for that of its ``window`` (C, 1, t, h, w)."""
    grad = torch.zeros_like(weight, memory_format=torch.contiguous_format)
    head = min(window.shape[0], weight.shape[0] - start)
    window_of(grad, start, head, kernel).copy_(window[:head])
    window_of(grad, 0, window.shape[0] - head, kernel).copy_(window[head:])
    return grad
