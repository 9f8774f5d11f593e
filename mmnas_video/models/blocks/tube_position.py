"""Fixed positions of tokens: sines and cosines of where a tube's centre lies in the clip.

Source: VIM-NAS, Sec. 3.2, Eq. 2 (after TubeViT, Sec. 3.2). As printed, the frequency ``1 / tau^j`` with tau = 10,000
is 0 in single precision from j = 12 on; the usual ``tau^(-j / (d / 6))`` is meant. Channel 6 j + 2 i + {0, 1} holds the
sine and cosine of frequency j on axis i = t, y, x: a narrower embedding then sees on its channels the same axis as a
wider one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TAU = 10_000.0


def centres(count: int, kernel: int, stride: int, start: int) -> list[int]:
    """Where the tokens of a tube lie along one axis, in frames or pixels: ``index * stride + offset + kernel // 2``."""
    return [index * stride + start + kernel // 2 for index in range(count)]


def axis_encoding(places: Sequence[float], axis: int, dim: int, like: Tensor) -> Tensor:
    """``(len(places), dim)``: sines and cosines on the channels of one axis (0, 1, 2 = t, y, x), zero on the others."""
    dtype = torch.promote_types(like.dtype, torch.float32)  # half precision cannot tell pixel 2049 from 2048
    channel = torch.arange(dim, device=like.device)
    frequency = TAU ** (-torch.div(channel, 6, rounding_mode='floor').to(dtype) / (dim / 6))
    angle = torch.tensor(places, dtype=dtype).to(like.device, non_blocking=True)[:, None] * frequency
    wave = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    return wave * (torch.div(channel % 6, 2, rounding_mode='floor') == axis)


def tube_positions(places: Sequence[Sequence[float]], dim: int, like: Tensor) -> Tensor:
    """``(T', H', W', dim)`` for the places along t, y and x; device and dtype of ``like``."""
    if like.is_meta:  # of a network that is counted: torch takes long over values that it does not compute
        return like.new_empty(*map(len, places), dim)
    t, y, x = (axis_encoding(p, axis, dim, like) for axis, p in enumerate(places))
    return (t[:, None, None] + y[None, :, None] + x[None, None, :]).to(like.dtype)
