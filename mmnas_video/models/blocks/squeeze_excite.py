"""Squeeze-and-excitation over a window of shared channels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import MixedWindow, Slice, SuperConv3d, Window, take
from mmnas_video.entangle.masked import take_pair


def squeeze_width(channels: int, ratio: float) -> int:
    """Inner width of the SE unit: ``channels * ratio`` rounded to a multiple of 8, at least 8, never below 90 %.

    Source: X3D's ``round_width`` in SlowFast and MMAction2.
    """
    width = channels * ratio
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class SuperSqueezeExcite(nn.Module):
    """Channel gates from the clip's mean: C -> squeeze -> C, two 1x1x1 convolutions with bias.

    Source: Hu et al., CVPR 2018, as X3D places it (before the swish).

    Args:
        channels, squeeze: largest widths.
    """

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = SuperConv3d(channels, squeeze, bias=True)
        self.fc2 = SuperConv3d(squeeze, channels, bias=True)

    def forward(self, x: Tensor, channels: Window | MixedWindow, squeeze: Window | MixedWindow) -> Tensor:
        """``(B, C, T, H, W)`` with ``C = channels.length``.

        Mixed in weight space, which is not the mean of the widths' gates: ReLU and sigmoid are not linear.
        """
        gate = x.mean((2, 3, 4), keepdim=True)
        gate = torch.relu(self.fc1(gate, squeeze, channels))
        return x * torch.sigmoid(self.fc2(gate, channels, squeeze))

    def weights(
        self, channels: Window | MixedWindow, squeeze: Window | MixedWindow
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weight (S, C) and bias (S,) of the first convolution, (C, S) and (C,) of the second."""
        return (
            take_pair(self.fc1.weight, squeeze, channels).flatten(1),
            take(self.fc1.bias, 0, squeeze),
            take_pair(self.fc2.weight, channels, squeeze).flatten(1),
            take(self.fc2.bias, 0, channels),
        )

    def slices(self, prefix: str, channels: Window, squeeze: Window) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield from self.fc1.slices(f'{prefix}fc1.', squeeze, channels)
        yield from self.fc2.slices(f'{prefix}fc2.', channels, squeeze)

    def cost(self, channels: int, squeeze: int) -> Cost:
        """Both convolutions act on one position."""
        return self.fc1.cost(squeeze, channels, (1, 1, 1)) + self.fc2.cost(channels, squeeze, (1, 1, 1))
