"""3-D convolutions with shared (entangled) weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost

from .window import Slice, Window, centre_crop, take


class SuperConv3d(nn.Module):
    """Convolution of which a window of the output and of the input channels is used.

    Pinned to one width it is a plain ``Conv3d``: the windows are whole and nothing is sliced.

    Args:
        in_channels, out_channels: largest widths C.
        kernel_size: largest kernel (t, k, k).
        stride: (T, H, W).
        bias: whether there is one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int] = (1, 1, 1),
        stride: tuple[int, int, int] = (1, 1, 1),
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.padding = tuple(size // 2 for size in kernel_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming normal over the fan-out, as MMAction2 initialises its 3-D networks."""
        nn.init.kaiming_normal_(self.weight, mode='fan_out', nonlinearity='relu')
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, out: Window, inp: Window) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T', H', W')`` with ``C_in = inp.length``, ``C_out = out.length``."""
        bias = None if self.bias is None else take(self.bias, 0, out)
        return F.conv3d(x, take(take(self.weight, 0, out), 1, inp), bias, self.stride, self.padding)

    def slices(self, prefix: str, out: Window, inp: Window) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}weight', (out, inp))
        if self.bias is not None:
            yield Slice(f'{prefix}bias', (out,))

    def cost(self, out: int, inp: int, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters of ``inp -> out`` channels on an input of ``size`` (T, H, W)."""
        taps = math.prod(self.weight.shape[2:])
        return Cost(
            out * inp * taps * math.prod(strided(size, self.stride)),
            out * inp * taps + (0 if self.bias is None else out),
        )


class SuperDepthwiseConv3d(nn.Module):
    """Depthwise convolution of which a channel window and the centre of the kernel are used.

    Args:
        channels: largest width C.
        kernel_size: largest kernel ``(t, k)``, both odd.
        stride: spatial stride; time is never strided (X3D, and every network of our spaces).
    """

    def __init__(self, channels: int, kernel_size: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        t, k = kernel_size
        self.stride = (1, stride, stride)
        self.weight = nn.Parameter(torch.empty(channels, 1, t, k, k))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming normal over the fan-out."""
        nn.init.kaiming_normal_(self.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, x: Tensor, channels: Window, kernel: tuple[int, int]) -> Tensor:
        """``(B, C, T, H, W)`` with ``C = channels.length``; "same" padding for the kernel that is used."""
        t, k = kernel
        weight = centre_crop(take(self.weight, 0, channels), kernel)
        return F.conv3d(x, weight, None, self.stride, (t // 2, k // 2, k // 2), 1, channels.length)

    def slices(self, prefix: str, channels: Window, kernel: tuple[int, int]) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}weight', (channels, None), kernel)

    def cost(self, channels: int, kernel: tuple[int, int], size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        taps = channels * kernel[0] * kernel[1] ** 2
        return Cost(taps * math.prod(strided(size, self.stride)), taps)


def strided(size: tuple[int, int, int], stride: tuple[int, int, int]) -> tuple[int, int, int]:
    """Output (T, H, W) of a "same"-padded convolution with odd kernels."""
    t, h, w = (-(-n // s) for n, s in zip(size, stride, strict=True))
    return t, h, w
