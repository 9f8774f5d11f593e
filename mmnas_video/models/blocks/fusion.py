"""Fusion of two streams: what of the dense stream joins the sparse one, with shared weights.

Source: Auto-TSNet (Gong et al., ICCV 2021), Sec. 3.2; the operations are SlowFast's (Feichtenhofer et al., ICCV 2019,
Sec. 3.4 and 4.1), from the fast to the slow pathway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import (
    MixedWindow,
    Slice,
    SuperBatchNorm3d,
    SuperConv3d,
    Window,
    mix_windows,
    strided,
    weigh,
)
from mmnas_video.errors import ConfigError, check_one_of
from mmnas_video.space import FUSIONS, Value, fused_channels

from .group import JoinedInput

MERGES = ('concat', 'sum')


class FusionWindows(NamedTuple):
    """What an architecture, or a mixture, makes of one site.

    Attributes:
        dense: window of the dense stream's channels.
        sparse: window of the sparse stream's channels.
        fused: per fusion that takes part its weight (None of an architecture) and the window of what comes out of it;
            empty for no fusion.
        alone: of a mixture, the weight of no fusion; None where that takes no part, and of an architecture.
    """

    dense: Window | MixedWindow
    sparse: Window | MixedWindow
    fused: tuple[tuple[str, Tensor | None, Window | MixedWindow], ...] = ()
    alone: Tensor | None = None


def time_to_channel(x: Tensor, ratio: int) -> Tensor:
    """``(B, C, ratio * T, H, W)`` to ``(B, C * ratio, T, H, W)``: channel ``c * ratio + r`` at t is c's frame r of t.

    Channel by channel, not frame by frame, so that a window of the dense channels stays one window here.
    """
    return x.unflatten(2, (-1, ratio)).transpose(2, 3).flatten(1, 2)


class SuperFusion(nn.Module):
    """One site: dense features of ``ratio`` times the frames join the sparse ones.

    ``time_strided_sampling`` takes the first of every ``ratio`` frames, ``time_to_channel`` packs all of them into
    channels, ``time_strided_conv`` is a 5x1x1 convolution of stride ``ratio`` to twice the channels, BN, ReLU (as in
    SlowFast's own code). Frame t of the sparse stream meets the dense frames from ``ratio * t`` on; the convolution
    is centred there.

    Args:
        sparse, dense: widths that each stream may have here, with their windows.
        fusions: names in :data:`~mmnas_video.space.FUSIONS` that may be chosen.
        ratio: alpha, dense frames to one sparse frame.
        merge: ``'concat'`` (the fused channels after the sparse ones) or ``'sum'``: a 1x1x1 convolution to the sparse
            width with a BN that starts at zero, added; the site then starts as no fusion.
        kernel_size: frames that the time-strided convolution sees, odd.

    Raises:
        ConfigError: an unknown fusion or merge, or an even kernel.
    """

    def __init__(
        self,
        sparse: Mapping[Value, Window],
        dense: Mapping[Value, Window],
        fusions: Sequence[str],
        ratio: int = 8,
        merge: str = 'concat',
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        _check(fusions, merge, kernel_size)
        self.sparse, self.dense, self.fusions = dict(sparse), dict(dense), tuple(fusions)
        self.ratio, self.merge = ratio, merge
        self.windows = {f: _fused_windows(f, dense, ratio) for f in self.fusions if f != 'none'}
        totals = {fusion: next(iter(windows.values())).total for fusion, windows in self.windows.items()}
        #: What the next layer's input may be joined by: fusion to largest width.
        self.joined_channels = totals if merge == 'concat' else {}
        if 'time_strided_conv' in totals:
            channels = next(iter(dense.values())).total
            out = totals['time_strided_conv']
            self.conv = SuperConv3d(channels, out, (kernel_size, 1, 1), (ratio, 1, 1))
            self.conv_norm = SuperBatchNorm3d(out)
        if merge == 'sum' and totals:
            width = next(iter(sparse.values())).total
            self.project = nn.ModuleDict({fusion: SuperConv3d(total, width) for fusion, total in totals.items()})
            self.project_norm = SuperBatchNorm3d(width)
            nn.init.zeros_(self.project_norm.weight)

    # ------------------------------------------------------------------ an architecture's part
    def at(self, fusion: str, sparse: Value, dense: Value) -> FusionWindows:
        """The windows for a fusion and both streams' channels."""
        fused = () if fusion == 'none' else ((fusion, None, self.windows[fusion][dense]),)
        return FusionWindows(self.dense[dense], self.sparse[sparse], fused)

    def mixed(self, fusions: Mapping[str, Tensor], sparse: Tensor, dense: Tensor) -> FusionWindows:
        """As :meth:`at`, of the weights of the fusions that take part and of both streams' channels (K,)."""
        fused = tuple(
            (fusion, weight, mix_windows([*self.windows[fusion].values()], dense))
            for fusion, weight in fusions.items()
            if fusion != 'none'
        )
        windows = (mix_windows([*w.values()], p) for w, p in ((self.dense, dense), (self.sparse, sparse)))
        return FusionWindows(*windows, fused, fusions.get('none'))

    def joined(self, at: FusionWindows) -> JoinedInput | None:
        """What the site joins to the next group's input; None for nothing."""
        if self.merge != 'concat' or not at.fused:
            return None
        weights = [weight for _, weight, _ in at.fused if weight is not None]
        parts = tuple((fusion, window) for fusion, _, window in at.fused)
        return JoinedInput(parts, at.alone, sum(weights) if weights else None)

    # ------------------------------------------------------------------ running
    def forward(self, sparse: Tensor, dense: Tensor, at: FusionWindows) -> Tensor:
        """The sparse stream's ``(B, C, T, H, W)`` with what joins it from ``(B, D, ratio * T, H, W)``.

        Of a mixture the fusions' outputs are weighted and stand side by side, each with weights of its own in the layer
        that follows: the same as adding up the outputs of that layer. With ``merge='sum'`` each has been normalised
        before it is weighted: the norm of a weighted sum would take the weights out again.
        """
        fused, weights = [], [at.alone, *(weight for _, weight, _ in at.fused)]
        weights = [weight for weight in weights if weight is not None]
        kept = weigh(sum(weights), sparse) if weights else sparse
        for fusion, weight, window in at.fused:
            y = self._fused(fusion, dense, at.dense, window)
            if self.merge == 'sum':
                y = self.project[fusion](y, at.sparse, window)
                if weight is None:
                    return self.project_norm(y, at.sparse, residual=kept)
                y = self.project_norm(y, at.sparse)
            fused.append(y if weight is None else weigh(weight, y))
        return sum(fused, kept) if self.merge == 'sum' else torch.cat([kept, *fused], 1)

    def _fused(self, fusion: str, x: Tensor, inp: Window | MixedWindow, out: Window | MixedWindow) -> Tensor:
        if fusion == 'time_strided_sampling':
            return x[:, :, :: self.ratio]
        if fusion == 'time_to_channel':
            return time_to_channel(x, self.ratio)
        return self.conv_norm(self.conv(x, out, inp), out, 'relu')

    # ------------------------------------------------------------------ as data
    def slices(self, prefix: str, at: FusionWindows) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        for fusion, _, window in at.fused:
            if fusion == 'time_strided_conv':
                yield from self.conv.slices(f'{prefix}conv.', window, at.dense)
                yield from self.conv_norm.slices(f'{prefix}conv_norm.', window)
            if self.merge == 'sum':
                yield from self.project[fusion].slices(f'{prefix}project.{fusion}.', at.sparse, window)
                yield from self.project_norm.slices(f'{prefix}project_norm.', at.sparse)

    def cost(self, at: FusionWindows, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters of the site itself on dense features of ``size`` (T, H, W).

        What the fused channels cost in the layer that follows is that layer's.
        """
        cost, after = Cost(), strided(size, (self.ratio, 1, 1))
        for fusion, _, window in at.fused:
            if fusion == 'time_strided_conv':
                cost += self.conv.cost(window.length, at.dense.length, size) + SuperBatchNorm3d.cost(window.length)
            if self.merge == 'sum':
                cost += self.project[fusion].cost(at.sparse.length, window.length, after)
                cost += SuperBatchNorm3d.cost(at.sparse.length)
        return cost


def _fused_windows(fusion: str, dense: Mapping[Value, Window], ratio: int) -> dict[Value, Window]:
    return {value: Window(*(fused_channels(fusion, n, ratio) for n in window)) for value, window in dense.items()}


def _check(fusions: Sequence[str], merge: str, kernel_size: int) -> None:
    unknown = [fusion for fusion in fusions if fusion not in FUSIONS]
    if unknown or not fusions:
        raise ConfigError(f'fusion: found the fusions {list(fusions)}, expected some of {list(FUSIONS)}')
    check_one_of('fusion.merge', merge, MERGES)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f'fusion.kernel_size: found {kernel_size!r}, expected an odd number of frames')
