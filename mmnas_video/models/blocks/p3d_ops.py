"""The operators of a P3D-DARTS cell: each a spatial part, then a temporal one.

Source: P3D-DARTS (Peng et al., ICIP 2019), Sec. 2.1 and Table 1; what they leave open (docs/papers.md) as in DARTS (Liu
et al., ICLR 2019). A stride halves height and width and never time; sizes are rounded up, as "same" padding does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import strided

Size = tuple[int, int, int]


class Filter(NamedTuple):
    """One convolution of an operator.

    Attributes:
        kernel: (t, h, w), odd.
        halves: the axes among ``'hw'`` that it strides where the operator has stride 2.
        dilation: in height and width.
    """

    kernel: Size
    halves: str = ''
    dilation: int = 1


#: Table 1: the convolutions of an operator, in order, between one ReLU and one BN.
CONVOLUTIONS: dict[str, tuple[Filter, ...]] = {
    'conv_1': (Filter((1, 1, 1), 'hw'),),  # two linear maps of one position in a row would be one
    'spe_conv_3': (Filter((1, 3, 1), 'h'), Filter((1, 1, 3), 'w'), Filter((3, 1, 1))),
    'conv_3': (Filter((1, 3, 3), 'hw'), Filter((3, 1, 1))),
    'dil_conv_3': (Filter((1, 3, 3), 'hw', 2), Filter((3, 1, 1))),
}


class ReluConvNorm(nn.Module):
    """ReLU, the convolutions of an operator, BN.

    Args:
        inp, out: channels before and after; the first convolution changes them.
        filters: a row of :data:`CONVOLUTIONS`.
        stride: spatial stride of the operator, 1 or 2.
        affine: whether the BN has weight and bias.
    """

    def __init__(self, inp: int, out: int, filters: Sequence[Filter], stride: int = 1, affine: bool = True) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for number, f in enumerate(filters):
            t, h, w = f.kernel
            strides = (1, *(stride if axis in f.halves else 1 for axis in 'hw'))
            padding = (t // 2, h // 2 * f.dilation, w // 2 * f.dilation)
            dilation = (1, f.dilation, f.dilation)
            self.convs.append(nn.Conv3d(out if number else inp, out, f.kernel, strides, padding, dilation, bias=False))
        self.norm = nn.BatchNorm3d(out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T, H / stride, W / stride)``."""
        x = torch.relu(x)
        for conv in self.convs:
            x = conv(x)
        return self.norm(x)

    def cost(self, size: Size) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        macs = 0
        for conv in self.convs:
            size = strided(size, conv.stride)
            macs += conv.weight.numel() * math.prod(size)
        return Cost(macs, _parameters(self))


class FactorizedReduce(nn.Module):
    """Half the resolution without losing every other pixel: ReLU, two 1x1x1 convolutions of stride 2, the second one
    pixel further down and right, side by side, BN.

    Source: DARTS (``FactorizedReduce``), here for any size: where one is odd, the second sees a row (column) of zeros.

    Args:
        inp, out: channels before and after, ``out`` at least 2.
        affine: whether the BN has weight and bias.
    """

    def __init__(self, inp: int, out: int, affine: bool = True) -> None:
        super().__init__()
        self.even = nn.Conv3d(inp, out // 2, 1, (1, 2, 2), bias=False)
        self.odd = nn.Conv3d(inp, out - out // 2, 1, (1, 2, 2), bias=False)
        self.norm = nn.BatchNorm3d(out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T, H / 2, W / 2)``."""
        x = torch.relu(x)
        h, w = x.shape[-2:]
        shifted = F.pad(x, (0, w % 2, 0, h % 2))[..., 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], 1))

    def cost(self, size: Size) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        taps = self.even.weight.numel() + self.odd.weight.numel()
        return Cost(taps * math.prod(strided(size, self.even.stride)), _parameters(self))


class Pool(nn.Module):
    """Pooling over 3 x 3, then over 3 frames; an average is over what lies inside the clip.

    Args:
        kind: ``'max'`` or ``'avg'``.
        channels: C, for the BN.
        stride: spatial stride, 1 or 2.
        norm: whether a BN without weight and bias follows, as in DARTS's search.
    """

    def __init__(self, kind: str, channels: int, stride: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.kind, self.stride = kind, stride
        self.norm = nn.BatchNorm3d(channels, affine=False) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, H, W)`` to ``(B, C, T, H / stride, W / stride)``."""
        # In 2-D, which does both as well, and takes clips that are smaller than the kernel.
        x = self._pool(x.flatten(1, 2), (3, 3), self.stride).unflatten(1, x.shape[1:3])
        x = self._pool(x.flatten(3), (3, 1), 1).unflatten(3, x.shape[3:])
        return x if self.norm is None else self.norm(x)

    def _pool(self, x: Tensor, kernel: tuple[int, int], stride: int) -> Tensor:
        padding = tuple(k // 2 for k in kernel)
        if self.kind == 'max':
            return F.max_pool2d(x, kernel, stride, padding)
        return F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)

    def cost(self, size: Size) -> Cost:
        """No multiply-adds in our unit, and no parameters."""
        return Cost()


class Skip(nn.Identity):
    """The input itself."""

    def cost(self, size: Size) -> Cost:
        """Nothing."""
        return Cost()


class OpOptions(NamedTuple):
    """What all operators of a network have in common.

    Attributes:
        affine: whether the BN of convolutions has weight and bias. DARTS: not in a search, where it could undo the
            weights of the operators; yes in the network that is trained.
        pool_norm: whether a BN follows pooling. DARTS: in a search, so that no operator is louder than another.
    """

    affine: bool = True
    pool_norm: bool = False


def _conv(op: str) -> Callable[[int, int, OpOptions], nn.Module]:
    return lambda c, stride, options: ReluConvNorm(c, c, CONVOLUTIONS[op], stride, options.affine)


#: Operator to what builds it from (channels, stride, options); ``'zero'`` builds nothing.
BUILDERS: dict[str, Callable[[int, int, OpOptions], nn.Module]] = {
    'skip': lambda c, stride, options: Skip() if stride == 1 else FactorizedReduce(c, c, options.affine),
    'avg_pool_3': lambda c, stride, options: Pool('avg', c, stride, options.pool_norm),
    'max_pool_3': lambda c, stride, options: Pool('max', c, stride, options.pool_norm),
    **{op: _conv(op) for op in CONVOLUTIONS},
}


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
