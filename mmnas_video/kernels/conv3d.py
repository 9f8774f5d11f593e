"""Conv3d by what is fast on a CPU: a matrix product for one tap, a 2-D convolution where time or space has no taps.

With one thread, and of a single clip that is small, PyTorch 2.11 sends such a Conv3d to code of its own, which brings x
into another layout and copies every tap of it, and not to oneDNN (``tools/benchmarks/cpu_paths.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .choose import use_cpu_paths

Three = Sequence[int]
NO_TAPS = (1, 1, 0, 1)  # extent, stride, padding and dilation of an axis that is left as it is
#: Channels of x up to which a convolution of one clip's frames is faster as one in 2-D; with more it takes as long.
FEW_CHANNELS = 4


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` by :func:`conv3d`."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T', H', W')``."""
        if self.groups != 1 or self.padding_mode != 'zeros' or isinstance(self.padding, str):
            return super().forward(x)
        return conv3d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Three = (1, 1, 1),
    padding: Three = (0, 0, 0),
    dilation: Three = (1, 1, 1),
) -> Tensor:
    """``F.conv3d`` of x (B, C, T, H, W); on a CPU, uncompiled, where :func:`.choose.use_cpu_paths` says so and x is in
    ``channels_last_3d``, by another operator if one is faster: the same sums in another order."""
    if _may_go_otherwise(x, weight):
        one_clip, one_thread = x.shape[0] == 1, torch.get_num_threads() == 1
        t, *space = weight.shape[2:]
        in_time = (t, stride[0], padding[0], dilation[0]) != NO_TAPS
        in_space = any(at != NO_TAPS for at in zip(space, stride[1:], padding[1:], dilation[1:], strict=True))
        if one_thread and not in_time and not in_space:
            return F.linear(x.permute(0, 2, 3, 4, 1), weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
        # Not one tap with a stride: of that, oneDNN's gradients in 2-D have crashed (3 channels, torch 2.11).
        if (one_thread or one_clip) and t > 1 and not in_space and dilation[0] == 1:
            return over_time(x, weight, bias, stride[0], padding[0])
        if one_clip and min(space) > 1 and not in_time and x.shape[1] <= FEW_CHANNELS:
            y = F.conv2d(as_frames(x), weight[:, :, 0], bias, stride[1:], padding[1:], dilation[1:])
            return y.permute(0, 2, 3, 1).unflatten(0, (1, -1)).permute(0, 4, 1, 2, 3)
    return F.conv3d(x, weight, bias, stride, padding, dilation)


def _may_go_otherwise(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dim() == 5
        and not torch.compiler.is_compiling()  # it cannot trace the number of threads
        and x.is_contiguous(memory_format=torch.channels_last_3d)
        and use_cpu_paths(x, weight)
    )


def over_time(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """(B, C, T, H, W) convolved over T alone, with a kernel (C', C / groups, t, 1, 1), as (B, C, T, H·W)."""
    y = F.conv2d(as_rows(x), weight[..., 0], bias, (stride, 1), (padding, 0), 1, groups)
    return y.permute(0, 2, 3, 1).unflatten(2, x.shape[3:]).permute(0, 4, 1, 2, 3)


def as_rows(x: Tensor) -> Tensor:
    """(B, C, T, H, W) as (B, C, T, H·W) in ``channels_last``; no copy where x is in ``channels_last_3d``."""
    return x.permute(0, 2, 3, 4, 1).contiguous().flatten(2, 3).permute(0, 3, 1, 2)


def as_frames(x: Tensor, first: int = 0, last: int | None = None) -> Tensor:
    """Frames ``first`` to ``last`` of (B, C, T, H, W) as (B·t, C, H, W) in ``channels_last``."""
    return x[:, :, first:last].permute(0, 2, 3, 4, 1).contiguous().flatten(0, 1).permute(0, 3, 1, 2)
