"""Non-local block with shared weights.

Source: Wang et al., "Non-local Neural Networks", CVPR 2018: embedded Gaussian, keys and values subsampled 1x2x2, BN
after the last convolution starting at zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import MixedWindow, Slice, SuperBatchNorm3d, SuperConv3d, Window, whole


class SuperNonLocal(nn.Module):
    """Every position attends to all positions; identity at the start.

    Args:
        channels: largest width C.
        inner: width of queries, keys and values, fixed.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.inner = inner
        self.theta = SuperConv3d(channels, inner, bias=True)
        self.phi = SuperConv3d(channels, inner, bias=True)
        self.g = SuperConv3d(channels, inner, bias=True)
        self.out = SuperConv3d(inner, channels, bias=True)
        self.out_norm = SuperBatchNorm3d(channels)
        nn.init.zeros_(self.out_norm.weight)

    @staticmethod
    def subsampled(size: tuple[int, int, int]) -> tuple[int, int, int]:
        """(T, H, W) of keys and values; sides of 1 stay."""
        t, h, w = size
        return t, max(h // 2, 1), max(w // 2, 1)

    def forward(self, x: Tensor, channels: Window | MixedWindow) -> Tensor:
        """``(B, C, T, H, W)`` with ``C = channels.length``.

        Mixed in weight space: queries and keys are those of all channels by their weights, and the softmax over them is
        not the mean of the widths' attention.
        """
        inner, size = whole(self.inner), x.shape[2:]
        window = tuple(min(side, 2) for side in size[1:])
        pooled = F.max_pool3d(x, (1, *window))
        query = self.theta(x, inner, channels).flatten(2).mT
        key = self.phi(pooled, inner, channels).flatten(2).mT
        value = self.g(pooled, inner, channels).flatten(2).mT
        # The paper's softmax has no 1/sqrt(d).
        y = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]
        y = self.out(y.mT.reshape(x.shape[0], self.inner, *size), channels, inner)
        return self.out_norm(y, channels, residual=x)

    def slices(self, prefix: str, channels: Window) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        inner = whole(self.inner)
        for name in ('theta', 'phi', 'g'):
            yield from getattr(self, name).slices(f'{prefix}{name}.', inner, channels)
        yield from self.out.slices(f'{prefix}out.', channels, inner)
        yield from self.out_norm.slices(f'{prefix}out_norm.', channels)

    def cost(self, channels: int, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on features of ``size`` (T, H, W)."""
        pooled = self.subsampled(size)
        cost = self.theta.cost(self.inner, channels, size) + self.out.cost(channels, self.inner, size)
        cost += self.phi.cost(self.inner, channels, pooled) + self.g.cost(self.inner, channels, pooled)
        attention = 2 * math.prod(size) * math.prod(pooled) * self.inner
        return cost + SuperBatchNorm3d.cost(channels) + Cost(attention)
