"""MBConv3D: the inverted bottleneck of X3D with shared weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import (
    JoinedWindow,
    MixedKernel,
    MixedWindow,
    Slice,
    SuperBatchNorm3d,
    SuperConv3d,
    SuperDepthwiseConv3d,
    Window,
    strided,
    weigh,
)

from .squeeze_excite import SuperSqueezeExcite


class MixedShortcut(NamedTuple):
    """A shortcut that is the identity for some pairs of an input and an output width, a convolution for the others.

    Attributes:
        move: (C_out, C_in), the expected matrix of the identities (channel i of one window to channel i of the other);
            None where no such pair takes part.
        convolved: weight of the pairs that are convolutions; None where no such pair takes part.
        pairs: weight of all pairs, which are convolutions where another stream joins.
    """

    move: Tensor | None
    convolved: Tensor | None
    pairs: Tensor


class BlockWindows(NamedTuple):
    """What an architecture, or a mixture, makes of one block.

    Attributes:
        inp, mid, out: windows of the input, the middle and the output channels.
        squeeze: window of the SE unit's inner channels.
        kernel: (t, k) of the depthwise convolution.
        shortcut: of a mixture's block without stride whose input width is another choice than its output width.
    """

    inp: Window | MixedWindow | JoinedWindow
    mid: Window | MixedWindow
    out: Window | MixedWindow
    squeeze: Window | MixedWindow
    kernel: tuple[int, int] | MixedKernel
    shortcut: MixedShortcut | None = None


class MBConv3D(nn.Module):
    """1x1x1 expand, depthwise t x k x k, 1x1x1 project, each with BN, and a shortcut.

    ``relu(bn(expand))``, ``swish(se(bn(depthwise)))``, ``bn(project)``, plus the shortcut, ``relu``: X3D's order
    (MMAction2 ``BlockX3D``). The shortcut is the identity where the stride is 1 and the input and output widths are
    equal, else a strided 1x1x1 convolution with BN. Equal widths, not equal windows: where two groups offer other
    widths (the stem and the first group, a fixed group, a stage without stride), equal widths may have other windows,
    but the pinned network has widths only, and must be the same network.

    Args:
        inp, mid, out, squeeze: largest widths; ``squeeze=0`` for no SE.
        kernel: largest (t, k).
        stride: spatial stride.
        shortcut: whether some architecture needs the convolution on the shortcut.
        drop_path: probability that a sample skips the block (stochastic depth), in training.
        joined_channels: largest widths of what another stream may join to the input, by name. The shortcut then is a
            convolution, whatever the widths: joined channels are none of the output's.
    """

    def __init__(
        self,
        inp: int,
        mid: int,
        out: int,
        squeeze: int,
        kernel: tuple[int, int],
        stride: int = 1,
        shortcut: bool = False,
        drop_path: float = 0.0,
        joined_channels: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.drop_path = stride, drop_path
        self.expand = SuperConv3d(inp, mid, joined_channels=joined_channels)
        self.expand_norm = SuperBatchNorm3d(mid)
        self.depthwise = SuperDepthwiseConv3d(mid, kernel, stride)
        self.depthwise_norm = SuperBatchNorm3d(mid)
        self.se = SuperSqueezeExcite(mid, squeeze) if squeeze else None
        self.project = SuperConv3d(mid, out)
        self.project_norm = SuperBatchNorm3d(out)
        self.shortcut = None
        if shortcut:
            self.shortcut = SuperConv3d(inp, out, stride=(1, stride, stride), joined_channels=joined_channels)
        self.shortcut_norm = SuperBatchNorm3d(out) if shortcut else None

    def identity(self, at: BlockWindows) -> bool:
        """Whether the shortcut passes its input on unchanged."""
        return self.stride == 1 and at.inp.length == at.out.length and not isinstance(at.inp, JoinedWindow)

    def forward(self, x: Tensor, at: BlockWindows) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T, H / stride, W / stride)``."""
        y = self.expand_norm(self.expand(x, at.mid, at.inp), at.mid, 'relu')
        y = self._excited(self.depthwise(y, at.mid, at.kernel), at)
        y = self.project(y, at.out, at.mid)
        if not (self.training and self.drop_path):
            return self.project_norm(y, at.out, 'relu', self._shortcut(x, at))
        y = self.project_norm(y, at.out)
        keep = torch.rand(y.shape[0], 1, 1, 1, 1, dtype=y.dtype, device=y.device) >= self.drop_path
        return torch.relu(self._shortcut(x, at) + y * keep / (1 - self.drop_path))

    def _excited(self, x: Tensor, at: BlockWindows) -> Tensor:
        """BN, SE where the block has it, swish."""
        if self.se is None:
            return self.depthwise_norm(x, at.mid, 'swish')
        if self.depthwise_norm.fuses(x):
            return self.depthwise_norm.excited(x, at.mid, self.se.weights(at.mid, at.squeeze))
        return F.silu(self.se(self.depthwise_norm(x, at.mid), at.mid, at.squeeze))

    def _shortcut(self, x: Tensor, at: BlockWindows) -> Tensor:
        if at.shortcut is None:
            return x if self.identity(at) else self._projected(x, at)
        # Different operations, so their outputs are mixed; what no pair of widths needs is not run.
        move, convolved, _ = at.shortcut
        if move is None:
            return weigh(convolved, self._projected(x, at))
        moved = F.conv3d(x[:, : move.shape[1]], move[..., None, None, None])  # what is joined moves nowhere
        return moved if convolved is None else moved + weigh(convolved, self._projected(x, at))

    def _projected(self, x: Tensor, at: BlockWindows) -> Tensor:
        return self.shortcut_norm(self.shortcut(x, at.out, at.inp), at.out)

    def slices(self, prefix: str, at: BlockWindows) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        yield from self.expand.slices(f'{prefix}expand.', at.mid, at.inp)
        yield from self.expand_norm.slices(f'{prefix}expand_norm.', at.mid)
        yield from self.depthwise.slices(f'{prefix}depthwise.', at.mid, at.kernel)
        yield from self.depthwise_norm.slices(f'{prefix}depthwise_norm.', at.mid)
        if self.se is not None:
            yield from self.se.slices(f'{prefix}se.', at.mid, at.squeeze)
        yield from self.project.slices(f'{prefix}project.', at.out, at.mid)
        yield from self.project_norm.slices(f'{prefix}project_norm.', at.out)
        if not self.identity(at):
            yield from self.shortcut.slices(f'{prefix}shortcut.', at.out, at.inp)
            yield from self.shortcut_norm.slices(f'{prefix}shortcut_norm.', at.out)

    def cost(self, at: BlockWindows, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        after = strided(size, self.depthwise.stride)
        inp, mid, out = at.inp.length, at.mid.length, at.out.length
        cost = self.expand.cost(mid, inp, size) + SuperBatchNorm3d.cost(mid)
        cost += self.depthwise.cost(mid, at.kernel, size) + SuperBatchNorm3d.cost(mid)
        if self.se is not None:
            cost += self.se.cost(mid, at.squeeze.length)
        cost += self.project.cost(out, mid, after) + SuperBatchNorm3d.cost(out)
        if not self.identity(at):
            cost += self.shortcut.cost(out, inp, size) + SuperBatchNorm3d.cost(out)
        return cost
