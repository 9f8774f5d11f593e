"""What an architecture or a mixture makes of a vision transformer: windows, head masks, and the tubes to run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from mmnas_video.entangle import (
    HeadsAt,
    Mixture,
    TubeAt,
    Window,
    lay_windows,
    mix_heads,
    mix_windows,
)
from mmnas_video.errors import ConfigError
from mmnas_video.space import SearchSpace, Value, ViTTable, extent, head_dim, layer_of

from .tube_tokenizer import EmbedAt, Extent, TubeCandidate
from .vit_layer import LayerAt

#: Of one tube in a mixture: their tokens stand side by side, so more would hardly be meant.
MAX_CANDIDATES = 64


class ViTAt(NamedTuple):
    """A whole network.

    Attributes:
        embed: of every token.
        tubes: per tube the candidates to run; one, but in a mixture.
        layers: those that run.
        depths: number of layers after which the network may end, with their weights; None for the one there is.
    """

    embed: EmbedAt
    tubes: tuple[tuple[TubeCandidate, ...], ...]
    layers: tuple[LayerAt, ...]
    depths: tuple[tuple[int, Tensor | None], ...]


class LayerWindows:
    """Windows of the layers that offer the same values.

    The channels of a head follow from two choices (Q-K-V dimension and heads), the middle width of the MLP as well
    (embedding and ratio): their windows are laid over all pairs.

    Args:
        embeds, heads, qkvs, ratios: values offered; no ``qkvs`` where every head has ``fixed_dim`` channels.
        rounding: see :func:`~mmnas_video.space.vit.head_dim`.
        sharing: ``'prefix'`` or ``'fair'`` (cyclic) windows.
    """

    def __init__(
        self,
        embeds: tuple[int, ...],
        heads: tuple[int, ...],
        qkvs: tuple[int, ...],
        ratios: tuple[float, ...],
        fixed_dim: int | None,
        rounding: str,
        sharing: str,
    ) -> None:
        self.head_pairs = list(product(heads, qkvs or (None,)))
        dims = [fixed_dim if qkv is None else head_dim(qkv, h, rounding) for h, qkv in self.head_pairs]
        over_heads = dict(zip(heads, lay_windows(heads, sharing), strict=True))
        #: Pair of heads and Q-K-V dimension to the first dimension that gives a head as many channels.
        self.same_dim = {
            (h, qkv): next(q for (g, q), d in zip(self.head_pairs, dims, strict=True) if (g, d) == (h, dim))
            for (h, qkv), dim in zip(self.head_pairs, dims, strict=True)
        }
        over_dims = lay_windows(dims, sharing)
        self.heads = {
            pair: HeadsAt(over_heads[pair[0]], window) for pair, window in zip(self.head_pairs, over_dims, strict=True)
        }
        self.hidden_pairs = list(product(embeds, ratios))
        widths = lay_windows([int(e * r) for e, r in self.hidden_pairs], sharing)
        self.hidden = dict(zip(self.hidden_pairs, widths, strict=True))

    @property
    def largest(self) -> tuple[int, int, int]:
        """Heads, channels a head and middle width of the super-layer."""
        at = self.heads[self.head_pairs[0]]
        return at.heads.total, at.dim.total, self.hidden[self.hidden_pairs[0]].total


class ViTWindows:
    """Windows of a whole network, of every architecture of a space.

    Args:
        space: as :func:`~mmnas_video.space.vit.vit_space` makes it, perhaps with choices fixed.
        table: tells whether there are choices of the Q-K-V dimension.
        rounding, sharing: see :class:`LayerWindows`.
    """

    def __init__(self, space: SearchSpace, table: ViTTable, rounding: str, sharing: str) -> None:
        self.space, self.searched_qkv = space, bool(table.qkv_dims)
        embeds = space['embed_dim'].values
        self.embeds: dict[Value, Window] = dict(zip(embeds, lay_windows(embeds, sharing), strict=True))
        self.tube_names = [n.partition('.')[0] for n in space.names if n.endswith('.kernel')]
        self.tubes = [
            {name: {v: extent(v) for v in space[f'{tube}.{name}'].values} for name in ('kernel', 'stride', 'offset')}
            for tube in self.tube_names
        ]
        self.layers: list[LayerWindows] = []
        known: dict[tuple, LayerWindows] = {}
        for i in range(1, max(space['depth'].values) + 1):
            qkvs = space[f'layer{i}.qkv'].values if self.searched_qkv else ()
            key = (space[f'layer{i}.heads'].values, qkvs, space[f'layer{i}.mlp_ratio'].values)
            if key not in known:
                known[key] = LayerWindows(embeds, *key, table.head_dim, rounding, sharing)
            self.layers.append(known[key])

    # ------------------------------------------------------------------ one architecture
    def tube(self, i: int, values: Mapping[str, Value]) -> TubeAt:
        """Tube i (from 0)."""
        name, known = self.tube_names[i], self.tubes[i]
        return TubeAt(*(known[part][values[f'{name}.{part}']] for part in TubeAt._fields))

    def layer(self, i: int, embed: Value, heads: Value, qkv: Value, ratio: Value) -> LayerAt:
        """Layer i (from 0) at its values; ``qkv`` is None where it is no choice."""
        windows = self.layers[i]
        return LayerAt(self.embeds[embed], windows.heads[heads, qkv], windows.hidden[embed, ratio])

    def sampled(self, arch: Mapping[str, Value]) -> ViTAt:
        """The network that ``arch`` is."""
        embed, depth = arch['embed_dim'], arch['depth']
        layers = []
        for i in range(depth):
            name = f'layer{i + 1}'
            qkv = arch[f'{name}.qkv'] if self.searched_qkv else None
            layers.append(self.layer(i, embed, arch[f'{name}.heads'], qkv, arch[f'{name}.mlp_ratio']))
        tubes = tuple((TubeCandidate(self.tube(i, arch)),) for i in range(len(self.tubes)))
        return ViTAt(EmbedAt(self.embeds[embed]), tubes, tuple(layers), ((depth, None),))

    # ------------------------------------------------------------------ all of them at once
    def mixed(self, mixture: Mixture) -> ViTAt:
        """The network in which every choice is weighed; what weighs exactly 0 is not run."""
        embeds = _weighed(mixture, 'embed_dim')
        windows = [self.embeds[value] for value, _ in embeds]
        weights = [weight for _, weight in embeds]
        embed = EmbedAt(mix_windows(windows, torch.stack(weights)), tuple(zip(windows, weights, strict=True)))
        depths = tuple(_weighed(mixture, 'depth'))
        layers = tuple(self._mixed_layer(i, mixture, embed, embeds) for i in range(max(d for d, _ in depths)))
        tubes = tuple(self._mixed_tube(i, mixture) for i in range(len(self.tubes)))
        return ViTAt(embed, tubes, layers, depths)

    def occurrence(self, mixture: Mixture) -> dict[str, Tensor]:
        """Weights over the values of each choice as they count, equal for all that
        :func:`~mmnas_video.space.vit.canonical_vit` calls the same network: the values of a layer weigh as much as the
        depths that have it, and of Q-K-V dimensions that are the same beside a number of heads only the first
        counts."""
        found = {name: mixture[name] for name in self.space.names}
        for name in found:
            if layer_of(name) > len(self.layers):  # no depth has it
                found[name] = torch.zeros_like(found[name])
        for i, windows in enumerate(self.layers):
            deep = torch.tensor([depth > i for depth in self.space['depth'].values])
            share = mixture['depth'].masked_fill(~deep.to(mixture['depth'].device, non_blocking=True), 0).sum()
            for part in ('heads', 'qkv', 'mlp_ratio'):
                name = f'layer{i + 1}.{part}'
                if name in found:
                    row = self._first_dims(i, windows, mixture) if part == 'qkv' else found[name]
                    found[name] = share * row
        return found

    def alike_on_images(self) -> dict[str, list[Extent | None]]:
        """What a single frame sees of each value of a tube's choices; None of those of all but the first tube."""
        return {
            f'{name}.{part}': [None if i else (0, *values[value][1:]) for value in self.space[f'{name}.{part}'].values]
            for i, (name, tube) in enumerate(zip(self.tube_names, self.tubes, strict=True))
            for part, values in tube.items()
        }

    def _first_dims(self, i: int, windows: LayerWindows, mixture: Mixture) -> Tensor:
        """(K,) weights of a layer's Q-K-V dimensions, each counted as the first that is the same."""
        heads, dims = mixture[f'layer{i + 1}.heads'], mixture[f'layer{i + 1}.qkv']
        offered = self.space[f'layer{i + 1}.heads'], self.space[f'layer{i + 1}.qkv']
        pairs = (heads[:, None] * dims).flatten()  # in the order of the pairs
        first = [offered[1].index(windows.same_dim[pair]) for pair in windows.head_pairs]
        return torch.zeros_like(dims).index_add(0, torch.tensor(first).to(dims.device, non_blocking=True), pairs)

    def _mixed_layer(self, i: int, mixture: Mixture, embed: EmbedAt, embeds: list[tuple[Value, Tensor]]) -> LayerAt:
        name, windows = f'layer{i + 1}', self.layers[i]
        options = {
            part: _weighed(mixture, f'{name}.{part}')
            for part in ('heads', 'mlp_ratio', *(('qkv',) if self.searched_qkv else ()))
        }
        pairs = list(product(options['heads'], options.get('qkv', [(None, None)])))
        heads = [windows.heads[h, q] for (h, _), (q, _) in pairs]
        shares = [p if r is None else p * r for (_, p), (_, r) in pairs]
        ratios = list(product(embeds, options['mlp_ratio']))
        hidden = [windows.hidden[e, r] for (e, _), (r, _) in ratios]
        return LayerAt(
            embed.window,
            mix_heads(heads, torch.stack(shares)),
            mix_windows(hidden, torch.stack([p * r for (_, p), (_, r) in ratios])),
        )

    def _mixed_tube(self, i: int, mixture: Mixture) -> tuple[TubeCandidate, ...]:
        name = self.tube_names[i]
        parts = [_weighed(mixture, f'{name}.{part}') for part in TubeAt._fields]
        number = math.prod(map(len, parts))
        if number > MAX_CANDIDATES:
            raise ConfigError(
                f'mixture: found {number:,} combinations of kernel, stride and offset of {name} that weigh something, '
                f'expected at most {MAX_CANDIDATES}: each is run, so set all but a few drawn ones to 0'
            )
        every, known = list(product(*parts)), self.tubes[i]
        ats = [TubeAt(*(known[p][v] for p, (v, _) in zip(TubeAt._fields, found, strict=True))) for found in every]
        if len(ats) == 1:  # all there is: attention without weights is faster
            return (TubeCandidate(ats[0]),)
        weights = torch.stack([k * s * o for (_, k), (_, s), (_, o) in every])
        weights = weights / weights.sum()  # of the candidates that run, whatever the others weigh
        return tuple(TubeCandidate(at, weight) for at, weight in zip(ats, weights.unbind(), strict=True))


def _weighed(mixture: Mixture, name: str) -> list[tuple[Value, Tensor]]:
    """The values of a choice that weigh anything, with their weights."""
    return list(mixture.terms(name).items())
