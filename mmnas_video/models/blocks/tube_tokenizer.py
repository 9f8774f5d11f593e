"""From clips and images to tokens: tubes, their positions, and the class token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.entangle import MixedWindow, Slice, TubeAt, TubeEmbed, Window, spread, take, tube_grid

from .tube_position import centres, tube_positions

Extent = tuple[int, int, int]


class EmbedAt(NamedTuple):
    """The embedding that an architecture or a mixture has.

    Attributes:
        window: of the channels.
        parts: in a mixture the windows of the candidates with their weights; positions depend on the width, so they
            are the sum of the candidates' own.
    """

    window: Window | MixedWindow
    parts: tuple[tuple[Window, Tensor], ...] = ()


class TubeCandidate(NamedTuple):
    """One way to run a tube; in a mixture with its weight, the candidates of a tube weighing 1 together."""

    at: TubeAt
    weight: Tensor | None = None


class Tokens(NamedTuple):
    """What the layers are given.

    Attributes:
        x: ``(B, 1 + N, D)``, the class token first.
        weight: (1 + N,), in a mixture how much each token counts; None where all count alike.
    """

    x: Tensor
    weight: Tensor | None = None


class TubeTokenizer(nn.Module):
    """One convolution per tube, fixed positions, and a class token without one.

    A clip of one frame is an image: the first tube alone cuts it, without its temporal stride and offset.

    Args:
        in_channels: C.
        embed_dim: largest embedding D.
        kernels: those (T, H, W) that each tube may have; of the first all are one frame long.
        clamp_offsets: start a tube earlier where its kernel does not fit behind its offset.
        patch_grid: rows and columns of learned positions that the first tube's tokens are given beside the fixed ones
            (resized to its own rows and columns); None for none.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        kernels: Sequence[Sequence[Extent]],
        clamp_offsets: bool = False,
        patch_grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.clamp_offsets = clamp_offsets
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.tubes = nn.ModuleList(TubeEmbed(in_channels, embed_dim, offered) for offered in kernels)
        self.patch_position = nn.Parameter(torch.zeros(1, *patch_grid, embed_dim)) if patch_grid else None
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor, embed: EmbedAt, tubes: Sequence[Sequence[TubeCandidate]]) -> Tokens:
        """``(B, C, T, H, W)`` to tokens; the candidates of a tube all run, and their tokens stand side by side."""
        tokens = [take(self.cls_token, 2, embed.window).expand(x.shape[0], -1, -1)]
        weights: list[Tensor | None] = [None]
        candidates = tubes if x.shape[2] > 1 else [as_image(tubes[0])]
        for tube, options in zip(self.tubes, candidates, strict=False):
            for option in options:
                y = self._cut(tube, x, embed, option.at)
                if tube is self.tubes[0] and self.patch_position is not None:
                    y = y + self._learned(tuple(y.shape[2:4]), embed)
                tokens.append(y.flatten(1, 3))
                weights.append(option.weight)
        joined = torch.cat(tokens, 1)
        if all(weight is None for weight in weights):
            return Tokens(joined)
        one = joined.new_ones(1)
        spans = [(one if w is None else w.to(one)).expand(t.shape[1]) for t, w in zip(tokens, weights, strict=True)]
        return Tokens(joined, torch.cat(spans))

    def _cut(self, tube: TubeEmbed, x: Tensor, embed: EmbedAt, at: TubeAt) -> Tensor:
        start, counts = tube_grid(tuple(x.shape[2:]), at, self.clamp_offsets)
        y = tube(x, embed.window, at._replace(offset=start))
        places = [centres(*axis) for axis in zip(counts, at.kernel, at.stride, start, strict=True)]
        if not embed.parts:
            return y + tube_positions(places, embed.window.length, y)
        return y + sum(spread(tube_positions(places, w.length, y), w) * p.to(y.dtype) for w, p in embed.parts)

    def _learned(self, size: tuple[int, int], embed: EmbedAt) -> Tensor:
        """``(1, 1, H', W', D)``: the learned positions of rows and columns, at another number of them."""
        table = take(self.patch_position, 3, embed.window)
        if table.shape[1:3] != size:
            table = F.interpolate(table.permute(0, 3, 1, 2), size, mode='bicubic', align_corners=False)
            table = table.permute(0, 2, 3, 1)
        return table[:, None]

    def slices(self, prefix: str, embed: Window, tubes: Sequence[TubeAt]) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}cls_token', (None, None, embed))
        if self.patch_position is not None:
            yield Slice(f'{prefix}patch_position', (None, None, None, embed))
        for i, (tube, at) in enumerate(zip(self.tubes, tubes, strict=True)):
            yield from tube.slices(f'{prefix}tubes.{i}.', embed, at)

    def counts(self, number: int, at: TubeAt, size: Extent) -> int:
        """Tokens that a tube (from 0) gives for a clip or image of ``size`` (T, H, W)."""
        if size[0] == 1:
            if number:
                return 0
            at = as_image([TubeCandidate(at)])[0].at
        t, h, w = tube_grid(size, at, self.clamp_offsets)[1]
        return t * h * w


def as_image(options: Sequence[TubeCandidate]) -> list[TubeCandidate]:
    """The 2-D tube's candidates for a single frame: those that differ in time only are one. One alone needs no weight,
    since those of all sum to one."""
    merged: dict[TubeAt, Tensor | None] = {}
    for at, weight in options:
        known = merged.get(at.flat)
        merged[at.flat] = weight if known is None else known + weight
    return [TubeCandidate(at, weight if len(merged) > 1 else None) for at, weight in merged.items()]
