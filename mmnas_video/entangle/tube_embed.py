"""Tubes: a strided convolution that cuts a clip into tokens, with shared (entangled) weights.

Source: TubeViT (Piergiovanni et al., CVPR 2023), Sec. 3.1; searched kernels, strides and offsets: VIM-NAS, Sec. 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.space import TubeAt

from .window import MixedWindow, Slice, Window, take

Extent = tuple[int, int, int]


class Taps(NamedTuple):
    """Where the taps of one kernel stand among those that a tube keeps; a :class:`Window` of several pieces.

    Attributes:
        runs: (start, length) of each row of the kernel, joined where rows meet.
        length, total: numbers of taps, of the kernel and kept.
    """

    runs: tuple[tuple[int, int], ...]
    length: int
    total: int

    @property
    def full(self) -> bool:
        """Whether it is all taps, which then are in their own order."""
        return self.length == self.total

    def spans(self) -> tuple[tuple[int, int], ...]:
        """The pieces, in the order of the kernel's taps."""
        return self.runs


class TubeEmbed(nn.Module):
    """Convolution without padding, of which an output window and one of several kernels are used.

    The kernels share one: they lie in it centre on centre, and a tap that no kernel has is not kept (of all kernels up
    to 32 x 32 x 32 of at most 1,024 taps, 5,504 of 32,768 are). Centre on centre and not corner on corner: a token's
    position is that of its centre (:func:`~mmnas_video.models.blocks.tube_position.centres`), so a tap keeps its place
    relative to it. The weight is ``(D, C, taps)``; of a single kernel, its taps in their own order.

    Args:
        in_channels: C.
        embed_dim: largest embedding D.
        kernels: (T, H, W) of each.
    """

    def __init__(self, in_channels: int, embed_dim: int, kernels: Sequence[Extent]) -> None:
        super().__init__()
        hull = tuple(map(max, zip(*kernels, strict=True)))
        kept = torch.zeros(hull, dtype=torch.bool, device='cpu')  # also where the weights have no memory
        for kernel in kernels:
            kept[_centre(hull, kernel)] = True
        number, total = kept.flatten().cumsum(0).view(hull) - 1, int(kept.sum())
        self._taps: dict[Extent, Taps] = {}
        for kernel in kernels:
            own = number[_centre(hull, kernel)].flatten().tolist()
            self._taps[kernel] = Taps(_runs(own), len(own), total)
            if len(own) < total:
                # A buffer moves with the module. What a forward made and kept would be of that forward's kind: of
                # inference mode, which no training step takes, or of a tracer.
                self.register_buffer(_name(kernel), torch.tensor(own), persistent=False)
        self.weight = nn.Parameter(torch.empty(embed_dim, in_channels, total))
        self.bias = nn.Parameter(torch.zeros(embed_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of 0.02, as vision transformers are initialised."""
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def taps(self, kernel: Extent) -> Taps:
        """Where the kernel's taps stand among those that are kept."""
        return self._taps[kernel]

    def forward(self, x: Tensor, out: Window | MixedWindow, at: TubeAt) -> Tensor:
        """``(B, C, T, H, W)`` to ``(B, T', H', W', D)`` with ``D = out.length`` and the counts of :func:`tube_grid`."""
        weight = take(self.weight, 0, out)
        if not self.taps(at.kernel).full:
            weight = weight.index_select(2, getattr(self, _name(at.kernel)))
        t, h, w = at.offset
        weight = weight.unflatten(2, at.kernel)
        return F.conv3d(x[:, :, t:, h:, w:], weight, take(self.bias, 0, out), at.stride).permute(0, 2, 3, 4, 1)

    def slices(self, prefix: str, out: Window, at: TubeAt) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}weight', (out, None, self.taps(at.kernel)))  # type: ignore[arg-type]
        yield Slice(f'{prefix}bias', (out,))

    def cost(self, out: int, kernel: Extent, tokens: int) -> Cost:
        """MACs and parameters of a kernel (T, H, W) that gives N tokens."""
        weights = out * self.weight.shape[1] * math.prod(kernel)
        return Cost(weights * tokens, weights + out)


def _centre(hull: Sequence[int], kernel: Extent) -> tuple[slice, ...]:
    # Not (full - k) // 2: the middle of an odd kernel within an even hull would lie a tap before that of the hull.
    first = [full // 2 - k // 2 for full, k in zip(hull, kernel, strict=True)]
    return tuple(slice(f, f + k) for f, k in zip(first, kernel, strict=True))


def _runs(taps: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(start, length) of each run of following numbers."""
    runs: list[tuple[int, int]] = []
    for tap in taps:
        if runs and sum(runs[-1]) == tap:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((tap, 1))
    return tuple(runs)


def _name(kernel: Extent) -> str:
    """Of the buffer with a kernel's taps."""
    return 'taps_{}x{}x{}'.format(*kernel)
