"""Cost of a vision transformer with searched tubes, from tables: exact, without a forward pass.

A layer costs ``a N + b N^2`` multiply-adds on N tokens, and a and b depend on its own values and the embedding only. So
does what a tube costs, but for the number of its tokens. The cheapest and the dearest architecture follow from the
tubes' Pareto fronts (tokens against multiply-adds): everything else grows with the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import NamedTuple

from mmnas_video.space import Arch, SearchSpace, Value, extent

from .closed_form import ClosedForm
from .cost import Cost


class Tubes(NamedTuple):
    """Some tubes together, with the values that they have.

    Attributes:
        tokens: of all of them.
        work: sum over the tubes of tokens x taps (multiply-adds per input channel and embedding channel).
        taps: sum of the kernels' taps.
        values: choice name to value.
    """

    tokens: int
    work: int
    taps: int
    values: dict[str, Value]


class ViTCost(ClosedForm):
    """Closed-form cost of every architecture, for one input shape.

    Args:
        space: as :func:`~mmnas_video.space.vit.vit_space` makes it, perhaps with choices fixed.
        tokens: number of a tube (from 0), kernel, stride, offset to the tokens that it gives for this shape.
        in_channels: C of the input.
        fixed: embedding to the cost of all that is neither tube nor layer.
        layer: embedding, heads, Q-K-V dimension (None where it is no choice), MLP ratio and tokens to a layer's cost.
    """

    def __init__(
        self,
        space: SearchSpace,
        tokens: Callable[[int, str, str, str], int],
        in_channels: int,
        fixed: Callable[[Value], Cost],
        layer: Callable[[Value, Value, Value, Value, int], Cost],
    ) -> None:
        self._space, self._tokens, self._channels, self._layer = space, tokens, in_channels, layer
        self._fixed = {embed: fixed(embed) for embed in space['embed_dim'].values}
        names = [name[: -len('.kernel')] for name in space.names if name.endswith('.kernel')]
        self._tube_names = [tuple(f'{name}.{part}' for part in ('kernel', 'stride', 'offset')) for name in names]
        self._tube_keys = [itemgetter(*names) for names in self._tube_names]
        self._layer_names = []
        for i in range(1, max(space['depth'].values) + 1):
            qkv = f'layer{i}.qkv'
            self._layer_names.append((f'layer{i}.heads', qkv if qkv in space.names else None, f'layer{i}.mlp_ratio'))
        keys = [itemgetter(*filter(None, names)) for names in self._layer_names]
        self._layer_keys = {depth: keys[:depth] for depth in space['depth'].values}
        self._tubes: list[dict[tuple, tuple[int, int]]] = [{} for _ in names]
        self._layers: dict[tuple, tuple[int, int, int]] = {}

    # ------------------------------------------------------------------ one architecture
    def __call__(self, arch: Mapping[str, Value]) -> Cost:
        """MACs and parameters of ``arch``."""
        values = arch.raw if isinstance(arch, Arch) else arch
        embed, tokens, work, taps = values['embed_dim'], 1, 0, 0
        for i, key_of in enumerate(self._tube_keys):
            key = key_of(values)
            found, volume = self._tubes[i].get(key) or self._tube_entry(i, key)
            tokens, work, taps = tokens + found, work + found * volume, taps + volume
        macs, params = self._with_tubes(embed, work, taps)
        for key_of in self._layer_keys[values['depth']]:
            key = (embed, *key_of(values))
            linear, square, weights = self._layers.get(key) or self._layer_entry(key)
            macs += (linear + square * tokens) * tokens
            params += weights
        return Cost(macs, params)

    def _with_tubes(self, embed: Value, work: int, taps: int) -> tuple[int, int]:
        macs, params = self._fixed[embed]
        wide = self._channels * embed
        return macs + work * wide, params + taps * wide + len(self._tubes) * embed

    def _tube_entry(self, i: int, key: tuple[str, str, str]) -> tuple[int, int]:
        for name, value in zip(self._tube_names[i], key, strict=True):
            self._space[name].index(value)  # refuses what is not offered
        entry = self._tubes[i][key] = (self._tokens(i, *key), math.prod(extent(key[0])))
        return entry

    def _layer_entry(self, key: tuple[Value, ...]) -> tuple[int, int, int]:
        """Coefficients of N and N^2, and parameters: from the cost on one and on two tokens."""
        embed, heads, *qkv, ratio = key
        one, two = (self._layer(embed, heads, qkv[0] if qkv else None, ratio, n) for n in (1, 2))
        square = (two.macs - 2 * one.macs) // 2
        entry = self._layers[key] = (one.macs - square, square, one.params)
        return entry

    # ------------------------------------------------------------------ the whole space
    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        sign = best(-1, 1)
        every = [self._most_taps(sign)] if quantity else self._front(sign)  # parameters know no tokens
        found: tuple[int, dict[str, Value]] | None = None
        for tubes, embed in product(every, self._space['embed_dim'].values):
            start = self._with_tubes(embed, tubes.work, tubes.taps)[quantity]
            for depth, cost, values in self._layers_upto(embed, tubes.tokens + 1, quantity, sign):
                if found is None or sign * (start + cost) > sign * found[0]:
                    found = start + cost, {'embed_dim': embed, 'depth': depth, **tubes.values, **values}
        assert found is not None
        return found[0], Arch({**self._space.smallest, **found[1]})  # layers beyond the depth at their first values

    def _layers_upto(self, embed: Value, tokens: int, quantity: int, sign: int):
        """Per depth its cost and the values of its layers, each layer at its own extreme."""
        cost, values, known = 0, {}, {}
        for depth, names in enumerate(self._layer_names, 1):
            names = tuple(filter(None, names))
            offered = tuple(self._space[name].values for name in names)
            if offered not in known:
                known[offered] = max(
                    ((self._layer_cost((embed, *key), tokens)[quantity], key) for key in product(*offered)),
                    key=lambda found: sign * found[0],
                )
            step, key = known[offered]
            cost, values = cost + step, {**values, **dict(zip(names, key, strict=True))}
            if depth in self._space['depth'].values:
                yield depth, cost, values

    def _layer_cost(self, key: tuple[Value, ...], tokens: int) -> tuple[int, int]:
        linear, square, params = self._layers.get(key) or self._layer_entry(key)
        return (linear + square * tokens) * tokens, params

    def _most_taps(self, sign: int) -> Tubes:
        found = Tubes(0, 0, 0, {})
        for i, (kernel, stride, offset) in enumerate(self._tube_names):
            best = max(self._space[kernel].values, key=lambda k: sign * math.prod(extent(k)))
            own = {kernel: best, stride: self._space[stride].values[0], offset: self._space[offset].values[0]}
            found = _join(found, self._one(i, own))
        return found

    def _one(self, i: int, values: dict[str, Value]) -> Tubes:
        tokens, volume = self._tube_entry(i, self._tube_keys[i](values))
        return Tubes(tokens, tokens * volume, volume, values)

    def _front(self, sign: int) -> list[Tubes]:
        """What tubes can be together: no other set has fewer (more) tokens and fewer (more) multiply-adds."""
        together = [Tubes(0, 0, 0, {})]
        for i, names in enumerate(self._tube_names):
            kernels, strides, offsets = (self._space[name].values for name in names)
            ends = product(kernels, _outermost(strides, -sign), _outermost(offsets, -sign))
            own = _pareto([self._one(i, dict(zip(names, key, strict=True))) for key in ends], sign)
            together = _pareto([_join(a, b) for a, b in product(together, own)], sign)
        return together


def _join(a: Tubes, b: Tubes) -> Tubes:
    return Tubes(a.tokens + b.tokens, a.work + b.work, a.taps + b.taps, {**a.values, **b.values})


def _pareto(every: Sequence[Tubes], sign: int) -> list[Tubes]:
    front: list[Tubes] = []
    for tubes in sorted(every, key=lambda t: (sign * t.tokens, sign * t.work), reverse=True):
        if not front or sign * tubes.work > sign * front[-1].work:
            front.append(tubes)
    return front


def _outermost(values: Sequence[str], sign: int) -> list[str]:
    """The largest (sign 1) or smallest (-1) strides or offsets: larger in no axis than another and smaller in none.

    More tokens come of smaller ones, whatever the kernel.
    """
    extents = {value: tuple(sign * n for n in extent(value)) for value in values}
    corner = tuple(map(max, zip(*extents.values(), strict=True)))
    whole = [value for value, e in extents.items() if e == corner]
    if whole:
        return whole
    return [
        value
        for value, e in extents.items()
        if not any(o != e and all(x >= y for x, y in zip(o, e, strict=True)) for o in extents.values())
    ]
