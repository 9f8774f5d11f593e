"""A transformer layer with shared weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import (
    HeadsAt,
    MixedHeads,
    MixedWindow,
    Slice,
    SuperAttention,
    SuperLayerNorm,
    SuperLinear,
    Window,
)


class LayerAt(NamedTuple):
    """What an architecture (or a mixture) makes of one layer: the embedding, the heads and the middle of the MLP."""

    embed: Window | MixedWindow
    heads: HeadsAt | MixedHeads
    hidden: Window | MixedWindow


class ViTLayer(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``, with GELU: the pre-norm layer of ViT.

    Args:
        embed_dim, heads, head_dim, hidden: largest widths.
        drop_path: probability that a sample skips each of the two (stochastic depth), in training.
    """

    def __init__(self, embed_dim: int, heads: int, head_dim: int, hidden: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.attention_norm = SuperLayerNorm(embed_dim)
        self.attention = SuperAttention(embed_dim, heads, head_dim)
        self.mlp_norm = SuperLayerNorm(embed_dim)
        self.expand = SuperLinear(embed_dim, hidden)
        self.project = SuperLinear(hidden, embed_dim)

    def forward(self, x: Tensor, at: LayerAt, bias: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` to ``(B, N, D)``; ``bias`` (N,) is added to the attention logits of each key."""
        y = self.attention(self.attention_norm(x, at.embed), at.embed, at.heads, bias)
        x = x + self._dropped(y)
        y = F.gelu(self.expand(self.mlp_norm(x, at.embed), at.hidden, at.embed))
        return x + self._dropped(self.project(y, at.embed, at.hidden))

    def _dropped(self, y: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return y
        keep = torch.rand(y.shape[0], 1, 1, dtype=y.dtype, device=y.device) >= self.drop_path
        return y * keep / (1 - self.drop_path)

    def slices(self, prefix: str, at: LayerAt) -> Iterator[Slice]:
        """The parts of the parameters that :meth:`forward` uses."""
        yield from self.attention_norm.slices(f'{prefix}attention_norm.', at.embed)
        yield from self.attention.slices(f'{prefix}attention.', at.embed, at.heads)
        yield from self.mlp_norm.slices(f'{prefix}mlp_norm.', at.embed)
        yield from self.expand.slices(f'{prefix}expand.', at.hidden, at.embed)
        yield from self.project.slices(f'{prefix}project.', at.embed, at.hidden)

    def cost(self, at: LayerAt, tokens: int) -> Cost:
        """MACs and parameters on N tokens."""
        embed, hidden = at.embed.length, at.hidden.length
        cost = SuperLayerNorm.cost(embed) + SuperLayerNorm.cost(embed)
        cost += self.attention.cost(embed, at.heads.heads.length, at.heads.dim.length, tokens)
        return cost + self.expand.cost(hidden, embed, tokens) + self.project.cost(embed, hidden, tokens)
