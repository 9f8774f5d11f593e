"""LayerNorm over a window of shared channels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost

from .masked import masked_layer_norm
from .window import MixedWindow, Slice, Window, take


class SuperLayerNorm(nn.LayerNorm):
    """``LayerNorm`` over the last dimension, of which a window of the channels is used.

    Args:
        channels: largest width D.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor, channels: Window | MixedWindow) -> Tensor:  # type: ignore[override]
        """``(..., D)`` with ``D = channels.length``.

        Mixed, mean and variance are those under the expected mask: each channel counts as much as the widths that hold
        it weigh, and what is divided by is the expected width. Weight and bias are those of the mask. Normalising is
        not linear, so for weights that are not one-hot this is not the sum of the widths' outputs.
        """
        weight, bias = take(self.weight, 0, channels), take(self.bias, 0, channels)
        if not isinstance(channels, MixedWindow):
            return F.layer_norm(x, (channels.length,), weight, bias, self.eps)
        share = channels.mask / channels.mask.sum()
        return torch.addcmul(bias, masked_layer_norm(x, share, self.eps), weight)

    def slices(self, prefix: str, channels: Window) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}weight', (channels,))
        yield Slice(f'{prefix}bias', (channels,))

    @staticmethod
    def cost(channels: int) -> Cost:
        """No multiply-adds in our unit, two parameters a channel."""
        return Cost(0, 2 * channels)
