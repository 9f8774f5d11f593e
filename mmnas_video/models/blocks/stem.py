"""The stem: first convolution of a network, not searched."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import Slice, SuperBatchNorm3d, strided, whole
from mmnas_video.errors import ConfigError
from mmnas_video.kernels import Conv3d, depthwise_conv3d


class Stem(nn.Module):
    """1x3x3 convolution, optionally a depthwise t x 1 x 1 one, BN, ReLU.

    AutoX3D (Tab. 2) has no temporal part, Auto-TSNet (Tab. 1) t = 3, X3D t = 5.

    Args:
        in_channels, channels: C before and after.
        temporal_kernel: t, odd, or None for none.
        stride: spatial stride.

    Raises:
        ConfigError: an even t, which would add a frame.
    """

    def __init__(self, in_channels: int, channels: int, temporal_kernel: int | None = None, stride: int = 2) -> None:
        super().__init__()
        self.spatial = Conv3d(in_channels, channels, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.temporal = None
        if temporal_kernel and (temporal_kernel < 0 or temporal_kernel % 2 == 0):
            raise ConfigError(
                f'backbone.stem_temporal_kernel: found {temporal_kernel!r}, expected an odd number of frames, or None'
            )
        if temporal_kernel:
            self.temporal = nn.Conv3d(
                channels,
                channels,
                (temporal_kernel, 1, 1),
                padding=(temporal_kernel // 2, 0, 0),
                groups=channels,
                bias=False,
            )
        self.norm = SuperBatchNorm3d(channels)
        for conv in (self.spatial, self.temporal):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` to ``(B, C, T, H / stride, W / stride)``."""
        x = self.spatial(x)
        x = x if self.temporal is None else depthwise_conv3d(x, self.temporal.weight)
        return self.norm(x, whole(x.shape[1]), 'relu')

    def slices(self, prefix: str) -> Iterator[Slice]:
        """Everything, whole."""
        yield from (Slice(prefix + name) for name in self.state_dict())

    def size_after(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """(T, H, W) of the output."""
        return strided(size, self.spatial.stride)

    def cost(self, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        positions = math.prod(self.size_after(size))
        convs = [conv.weight.numel() for conv in (self.spatial, self.temporal) if conv is not None]
        return Cost(sum(convs) * positions, sum(p.numel() for p in self.parameters()))
