"""3-D convolutions with shared (entangled) weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.kernels import conv3d, depthwise_conv3d

from .masked import take_pair
from .window import JoinedWindow, MixedKernel, MixedWindow, Slice, Window, centre_crop, take


class SuperConv3d(nn.Module):
    """Convolution of which a window of the output and of the input channels is used.

    Pinned to one width it is a plain ``Conv3d``: the windows are whole and nothing is sliced.

    Args:
        in_channels, out_channels: largest widths C.
        kernel_size: largest kernel (t, k, k).
        stride: (T, H, W).
        bias: whether there is one.
        joined_channels: largest widths of what may be joined to the input, by name (:class:`JoinedWindow`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int] = (1, 1, 1),
        stride: tuple[int, int, int] = (1, 1, 1),
        bias: bool = False,
        joined_channels: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel_size))
        self.joined = None
        if joined_channels:
            joined = {name: torch.empty(out_channels, c, *kernel_size) for name, c in joined_channels.items()}
            self.joined = nn.ParameterDict(joined)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.padding = tuple(size // 2 for size in kernel_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming normal over the fan-out, as MMAction2 initialises its 3-D networks."""
        for weight in (self.weight, *(self.joined or {}).values()):
            nn.init.kaiming_normal_(weight, mode='fan_out', nonlinearity='relu')
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, out: Window | MixedWindow, inp: Window | MixedWindow | JoinedWindow) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T', H', W')`` with ``C_in = inp.length``, ``C_out = out.length``.

        Mixed, the weight is the sum of the zero-padded slices of all (out, inp) pairs; a convolution is linear in its
        weight, so this is also the sum of the outputs.
        """
        bias = None if self.bias is None else take(self.bias, 0, out)
        return conv3d(x, self._weight(out, inp), bias, self.stride, self.padding)

    def _weight(self, out: Window | MixedWindow, inp: Window | MixedWindow | JoinedWindow) -> Tensor:
        if not isinstance(inp, JoinedWindow):
            return take_pair(self.weight, out, inp)
        parts = [(self.weight, inp.own), *((self.joined[name], window) for name, window in inp.joined)]
        return torch.cat([take_pair(weight, out, window) for weight, window in parts], 1)

    def slices(self, prefix: str, out: Window, inp: Window | JoinedWindow) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        own, joined = inp if isinstance(inp, JoinedWindow) else (inp, ())
        yield Slice(f'{prefix}weight', (out, own))
        for name, window in joined:
            yield Slice(f'{prefix}joined.{name}', (out, window))
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

    def forward(self, x: Tensor, channels: Window | MixedWindow, kernel: tuple[int, int] | MixedKernel) -> Tensor:
        """``(B, C, T, H, W)`` with ``C = channels.length``; "same" padding for the kernel that is used (mixed: the
        largest, whose outer taps weigh less). On a GPU by our kernels (:mod:`mmnas_video.kernels`)."""
        if x.shape[1] != channels.length:
            raise ValueError(f'x: found {x.shape[1]} channels, expected the {channels.length} of the window')
        weight, start = self.weight, 0
        if isinstance(channels, MixedWindow):
            weight = take(weight, 0, channels)
        else:
            start = channels.start
        if isinstance(kernel, MixedKernel):
            weight, kernel = centre_crop(weight, kernel), tuple(weight.shape[2:4])
        t, k = kernel
        return depthwise_conv3d(x, weight, start, (t, k, k), self.stride[1])

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
