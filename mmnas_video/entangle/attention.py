"""Self-attention with shared (entangled) weights.

Source of the head-consistent slicing: AutoFormer (Chen et al., ICCV 2021), whose rows of Q, K and V are interleaved so
that a head keeps its own. Here the weight has an axis for the heads and one for the channels of a head, and each is cut
by a window of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost

from .masked import masked
from .window import MixedWindow, Slice, Window, take

#: A logit whose exponential is 0 in every format, and finite in half precision also by the scale of a wide head.
LEFT_OUT = -1000.0
#: The channels of a head are filled up to a multiple of it. torch does so by itself on a GPU, with copies of queries,
#: keys and values; on a CPU forward and backward of attention on 85 take an eighth longer than on 88.
ALIGNED = 8


class HeadsAt(NamedTuple):
    """Which heads are used, and which channels of each."""

    heads: Window
    dim: Window


class MixedHeads(NamedTuple):
    """Several of them at once.

    Attributes:
        mask: (heads, head_dim), the weight of the candidates that use each channel of each head. How many channels a
            head has depends on how many heads there are, so this is not a product of two masks.
        scale: what the products of queries and keys are multiplied by, expected over the candidates.
        groups: (heads, channels) of heads that follow each other and of which the candidates use as many channels:
            where a candidate with more heads has narrower ones, the last heads of a mixture are narrow.
    """

    mask: Tensor
    scale: Tensor
    groups: tuple[tuple[int, int], ...]


def mix_heads(candidates: Sequence[HeadsAt], weights: Tensor) -> MixedHeads:
    """The expected mask and scale of some candidates over the same heads and channels.

    Args:
        weights: (K,), one for each candidate.
    """
    first = candidates[0]
    masks = torch.zeros(len(candidates), first.heads.total, first.dim.total)
    for mask, at in zip(masks, candidates, strict=True):
        for start, length in at.heads.spans():
            for begin, channels in at.dim.spans():
                mask[start : start + length, begin : begin + channels] = 1
    used = masks.amax(0) * torch.arange(1, first.dim.total + 1)
    groups = tuple(
        (len(list(heads)), channels) for channels, heads in groupby(used.amax(1).clamp(min=1).int().tolist())
    )
    scales = torch.tensor([at.dim.length**-0.5 for at in candidates], dtype=weights.dtype)
    masks, scales = (table.to(weights, non_blocking=True) for table in (masks, scales))
    # No matrix products: under autocast those would round the weights to 16 bits.
    return MixedHeads((weights.view(-1, 1, 1) * masks).sum(0), (weights * scales).sum(), groups)


def attend(
    q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None = None, channels: int | None = None
) -> Tensor:
    """softmax(scale · q kᵀ + bias) v, of (B, heads, N, head_dim) each; as many channels come out as go in.

    The bias goes in as one more channel, a 1 in every query and bias / scale in the keys. As a mask it would be N × N,
    and attention kernels of linear memory take none with a gradient.

    Args:
        bias: (N,), added to the logits of each key; -inf leaves the key out.
        channels: of ``head_dim``, those that count. Behind them there is room: zeros, but, with a bias, for a 1 in the
            first one of every query. None: all count, and room for a bias is made.
    """
    if bias is not None:
        if channels is None:
            q, k, v = F.pad(q, (0, 1), value=1.0), F.pad(k, (0, 1)), F.pad(v, (0, 1))
            return attend(q, k, v, scale, bias, k.shape[-1] - 1)[..., :-1]
        column = bias.clamp(min=LEFT_OUT).div(scale).to(k.dtype).unsqueeze(-1)
        k = k + F.pad(column, (channels, k.shape[-1] - channels - 1))
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


class _Weights(nn.Module):
    """A weight and a bias under the names that optimisers' settings go by."""

    def __init__(self, weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(weight)), nn.Parameter(torch.zeros(bias))


class SuperAttention(nn.Module):
    """Multi-head self-attention of which some heads, some channels of each and some of the embedding are used.

    Args:
        embed_dim: largest embedding D.
        heads: largest number of heads.
        head_dim: largest number of channels a head.
    """

    def __init__(self, embed_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.qkv = _Weights((3, heads, head_dim, embed_dim), (3, heads, head_dim))
        self.proj = _Weights((embed_dim, heads, head_dim), (embed_dim,))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of 0.02, as vision transformers are initialised."""
        for part in (self.qkv, self.proj):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)

    def forward(
        self, x: Tensor, embed: Window | MixedWindow, at: HeadsAt | MixedHeads, bias: Tensor | None = None
    ) -> Tensor:
        """``(B, N, D)`` to ``(B, N, D)`` with ``D = embed.length``.

        Mixed, query, key and value weights are the expected ones. The softmax is not linear, so for weights that are
        not one-hot this is not the sum of the candidates' outputs.

        Args:
            bias: (N,), added to the attention logits of each key.
        """
        weight, offset, back = self._cut(embed, at)
        _, heads, dim, width = weight.shape
        groups, scale = (((heads, dim),), dim**-0.5) if isinstance(at, HeadsAt) else (at.groups, 1.0)
        # Room is made in the weights, not in what comes out of them; where a network is counted (on the meta device)
        # there is none.
        extra = int(bias is not None)
        rooms = [extra + (0 if x.is_meta else -(channels + extra) % ALIGNED) for _, channels in groups]
        weight, back = _merge(weight, groups, rooms), _merge(back, groups, rooms)
        if extra:  # the 1 of every query; where keys have zeros, it may be there, too
            offset = torch.cat([_merge(offset[:1], groups, rooms, 1.0), _merge(offset[1:], groups, rooms)])
        else:
            offset = _merge(offset, groups, rooms)
        sizes = [heads * (channels + room) for (heads, channels), room in zip(groups, rooms, strict=True)]
        parts = F.linear(x, weight.reshape(-1, width), offset.flatten()).split(sizes * 3, -1)
        out = []
        for i, (heads, channels) in enumerate(groups):
            q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts[i :: len(groups)])
            out.append(attend(q, k, v, scale, bias, channels).transpose(1, 2).flatten(2))
        y = out[0] if len(out) == 1 else torch.cat(out, -1)
        return F.linear(y, back, take(self.proj.bias, 0, embed))

    def _cut(self, embed: Window | MixedWindow, at: HeadsAt | MixedHeads) -> tuple[Tensor, Tensor, Tensor]:
        """Of the weights of Q, K and V (3, heads, head_dim, D), their biases, and the projection (D, heads, head_dim)
        what is used; of a mixture with the scale in the queries' part, which is smaller than the queries."""
        weight, offset, back = self.qkv.weight, self.qkv.bias, self.proj.weight
        if isinstance(at, HeadsAt):
            weight, offset, back = (take(take(part, 1, at.heads), 2, at.dim) for part in (weight, offset, back))
            return take(weight, 3, embed), offset, take(back, 0, embed)
        rows = torch.stack([at.mask * at.scale, at.mask, at.mask])
        if not isinstance(embed, MixedWindow):
            return take(weight * rows.unsqueeze(-1), 3, embed), offset * rows, take(back, 0, embed) * at.mask
        return (
            masked(weight.flatten(0, 2), rows.flatten(), embed.mask).view(weight.shape),
            offset * rows,
            masked(back.flatten(1), embed.mask, at.mask.flatten()).view(back.shape),
        )

    def slices(self, prefix: str, embed: Window, at: HeadsAt) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield Slice(f'{prefix}qkv.weight', (None, at.heads, at.dim, embed))
        yield Slice(f'{prefix}qkv.bias', (None, at.heads, at.dim))
        yield Slice(f'{prefix}proj.weight', (embed, at.heads, at.dim))
        yield Slice(f'{prefix}proj.bias', (embed,))

    @staticmethod
    def cost(embed: int, heads: int, head_dim: int, tokens: int) -> Cost:
        """MACs and parameters on N tokens: four linear maps and two products."""
        qkv = heads * head_dim
        linear = 4 * embed * qkv
        return Cost(tokens * linear + 2 * tokens**2 * qkv, linear + 3 * qkv + embed)


def _merge(part: Tensor, groups: Sequence[tuple[int, int]], rooms: Sequence[int], value: float = 0.0) -> Tensor:
    """``(P, heads, head_dim, ...)`` to ``(P, Σ heads · (channels + room), ...)``, with ``value`` in the room."""
    pieces = []
    for piece, (_, channels), room in zip(part.split([n for n, _ in groups], 1), groups, rooms, strict=True):
        if channels < part.shape[2]:
            piece = piece[:, :, :channels]
        if room:  # an empty pad is a copy
            piece = F.pad(piece, (*[0, 0] * (part.dim() - 3), 0, room), value=value)
        pieces.append(piece.flatten(1, 2))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)
