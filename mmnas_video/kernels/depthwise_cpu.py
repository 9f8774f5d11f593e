"""Depthwise Conv3d on a CPU, by those of PyTorch's operators that are fast there.

Forward, oneDNN is fast on ``channels_last_3d``, but for kernels over time alone; its two gradients take 10 to 50 times
as long (``tools/benchmarks/cpu_paths.py``). So a kernel over time alone runs as a 2-D convolution over (T, H·W); the
gradient of x is the forward convolution with the kernel turned round; that of the weights comes from frames, a 2-D
gradient for each tap in time. The same sums in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .choose import use_cpu_paths
from .conv3d import as_frames, as_rows, over_time
from .depthwise_reference import reference_weight_gradient, whole_gradient, window_of

#: Width of a kernel up to which oneDNN's 2-D gradient of the weights is fast; a wider one stays with Conv3d's.
WIDEST_BY_FRAMES = 3
#: Elements of x from which on this is faster than what it replaces; below, its more and smaller operators cost more.
LEAST = 2**16


def takes(x: Tensor, weight: Tensor, kernel: Sequence[int]) -> bool:
    """Whether ``x`` (B, C, T, H, W) and an odd ``kernel`` (t, h, w) go this way (:func:`.choose.use_cpu_paths`)."""
    # The size last: while a model is exported, asking for it would bound the batch.
    return x.dim() == 5 and all(size % 2 for size in kernel) and use_cpu_paths(x, weight) and x.numel() >= LEAST


def convolve(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    """As :func:`.depthwise_reference.reference`, in ``channels_last_3d``."""
    window = window_of(weight, start, x.shape[1], kernel)
    if _is_over_time(kernel):
        return _over_time(x[..., ::stride, ::stride], window)
    return _same(x, window, stride)


def input_gradient(
    dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int, size: Sequence[int]
) -> Tensor:
    """As :func:`.depthwise_reference.reference_input_gradient`, in ``channels_last_3d``."""
    turned = window_of(weight, start, dy.shape[1], kernel).flip(2, 3, 4)
    if _is_over_time(kernel):
        return _spread(_over_time(dy, turned), stride, size)
    return _same(_spread(dy, stride, size), turned, 1)


def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    """As :func:`.depthwise_reference.reference_weight_gradient`."""
    channels = x.shape[1]
    t, h, w = kernel
    if _is_over_time(kernel):
        rows, theirs = as_rows(x[..., ::stride, ::stride]), as_rows(dy)
        window = torch.nn.grad.conv2d_weight(rows, (channels, 1, t, 1), theirs, 1, (t // 2, 0), 1, channels)[..., None]
    elif max(h, w) <= WIDEST_BY_FRAMES:
        taps = []
        for shift in range(-(t // 2), t // 2 + 1):
            first, last = max(0, -shift), min(x.shape[2], x.shape[2] - shift)  # frames of dy whose x is there
            if first >= last:
                taps.append(x.new_zeros(channels, 1, h, w))
                continue
            frames, theirs = as_frames(x, first + shift, last + shift), as_frames(dy, first, last)
            shape, padding = (channels, 1, h, w), (h // 2, w // 2)
            taps.append(torch.nn.grad.conv2d_weight(frames, shape, theirs, stride, padding, 1, channels))
        window = torch.stack(taps, 2)
    else:
        return reference_weight_gradient(x, dy, weight, start, kernel, stride)
    return whole_gradient(window, weight, start, kernel)


def _is_over_time(kernel: Sequence[int]) -> bool:
    return kernel[1] == kernel[2] == 1


def _same(x: Tensor, window: Tensor, stride: int) -> Tensor:
    """(B, C, T, H, W) convolved by F.conv3d, in the layout in which that is fast."""
    x = x.contiguous(memory_format=torch.channels_last_3d)
    padding = [size // 2 for size in window.shape[2:]]
    return F.conv3d(x, window, None, (1, stride, stride), padding, 1, x.shape[1])


def _over_time(x: Tensor, window: Tensor) -> Tensor:
    return over_time(x, window, padding=window.shape[2] // 2, groups=x.shape[1])


def _spread(y: Tensor, stride: int, size: Sequence[int]) -> Tensor:
    """(B, C, T, h, w) on every ``stride``-th row and column of (B, C, T, H, W), zeros between."""
    if stride == 1:
        return y
    spread = y.new_zeros(y.shape[0], y.shape[2], *size, y.shape[1]).permute(0, 4, 1, 2, 3)
    spread[..., ::stride, ::stride] = y
    return spread
