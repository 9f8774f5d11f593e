"""Linear layer with shared (entangled) weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost

from .masked import take_pair
from .window import MixedWindow, Slice, Window, take


class SuperLinear(nn.Module):
    """Linear layer of which a window of the output and of the input features is used.

    Args:
        in_features, out_features: largest widths.
        bias: whether there is one.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of 0.02, as vision transformers are initialised."""
        nn.init.trunc_normal_(self.weight, std=0.02)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, out: Window | MixedWindow, inp: Window | MixedWindow) -> Tensor:
        """``(..., inp.length)`` to ``(..., out.length)``."""
        bias = None if self.bias is None else take(self.bias, 0, out)
        return F.linear(x, take_pair(self.weight, out, inp), bias)

    def slices(self, prefix: str, out: Window, inp: Window) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}weight', (out, inp))
        if self.bias is not None:
            yield Slice(f'{prefix}bias', (out,))

    def cost(self, out: int, inp: int, tokens: int) -> Cost:
        """MACs and parameters of ``inp -> out`` features on N tokens."""
        return Cost(out * inp * tokens, out * inp + (0 if self.bias is None else out))
