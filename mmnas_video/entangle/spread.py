"""The inverse of a window: a narrow tensor back among all channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .window import Window


def spread(x: Tensor, window: Window) -> Tensor:
    """``(..., window.length)`` to ``(..., window.total)``: in its channels what is there, zero in the others."""
    if window.full:
        return x
    return torch.roll(F.pad(x, (0, window.total - window.length)), window.start, -1)
