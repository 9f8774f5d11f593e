"""A group of MBConv3D blocks that share their choices, and the attention block that may follow it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import (
    JoinedWindow,
    MixedWindow,
    Mixture,
    Slice,
    Window,
    lay_windows,
    mix_kernels,
    mix_moves,
    mix_windows,
    recomputed,
    strided,
    weigh,
    whole,
)
from mmnas_video.space import KERNELS, Group, Value

from .glore import SuperGloRe
from .mbconv3d import BlockWindows, MBConv3D, MixedShortcut
from .nonlocal_block import SuperNonLocal
from .squeeze_excite import squeeze_width

#: Attention to the name of its module in a group.
ATTENTION_MODULES = {'glore': 'glore', 'nonlocal': 'nonlocal_block'}


class JoinedInput(NamedTuple):
    """What another stream joins to a group's input.

    Attributes:
        parts: name and window of each further part.
        alone: of a mixture, the weight with which nothing joins; None where that takes no part.
        beside: of a mixture, the weight with which something does.
    """

    parts: tuple[tuple[str, Window | MixedWindow], ...]
    alone: Tensor | None = None
    beside: Tensor | None = None


class GroupWindows(NamedTuple):
    """What an architecture, or a mixture, makes of a group.

    Attributes:
        first, rest: its first block and its other blocks.
        attention: the attention's name; of a mixture, the weight of each name that takes part.
    """

    first: BlockWindows
    rest: BlockWindows
    attention: str | Mapping[str, Tensor]

    def joined_by(self, joined: JoinedInput) -> GroupWindows:
        """The same with further channels at the end of the first block's input."""
        first = self.first._replace(inp=JoinedWindow(self.first.inp, joined.parts))
        if first.shortcut is not None:  # the identity where nothing joins, which only the other weights then rule out
            move, convolved, pairs = first.shortcut
            beside = joined.beside * pairs
            if joined.alone is None:
                move, convolved = None, beside
            else:
                move = None if move is None else joined.alone * move
                convolved = beside + (0 if convolved is None else joined.alone * convolved)
            first = first._replace(shortcut=MixedShortcut(move, convolved, pairs))
        return self._replace(first=first)


class MBConv3DGroup(nn.Module):
    """N blocks of one kernel, width and expansion, then no attention, GloRe or a non-local block.

    Args:
        group: what it may be.
        inputs: the previous group's channel values and their windows.
        se_ratio: SE reduction, None for none.
        se_blocks: which of the N blocks have SE.
        sharing: ``'fair'`` or ``'prefix'`` windows.
        glore_nodes: M of this site's GloRe.
        nonlocal_width: inner width of this site's non-local block.
        drop_path: one probability per block.
        joined_channels: see :class:`MBConv3D`; of the first block.
    """

    def __init__(
        self,
        group: Group,
        inputs: Mapping[int, Window],
        se_ratio: float | None,
        se_blocks: tuple[bool, ...],
        sharing: str,
        glore_nodes: int,
        nonlocal_width: int,
        drop_path: tuple[float, ...],
        with_cp: bool = False,
        joined_channels: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.inputs, self.with_cp = group, dict(inputs), with_cp
        self.outputs = dict(zip(group.channels, lay_windows(group.channels, sharing), strict=True))
        # The middle width follows from two choices: its windows are laid over all their pairs.
        pairs = list(product(group.expansions, group.channels))
        mids = [int(e * c) for e, c in pairs]
        self.mids = dict(zip(pairs, lay_windows(mids, sharing), strict=True))
        squeezes = [squeeze_width(mid, se_ratio) for mid in mids] if se_ratio else []
        self.squeezes = dict(
            zip(pairs, lay_windows(squeezes, sharing) if squeezes else [whole(0)] * len(pairs), strict=True)
        )
        self._windows: dict[tuple[Value, ...], GroupWindows] = {}
        self._rest_costs: dict[tuple, Cost] = {}
        self._build(se_blocks, drop_path, joined_channels or {})
        if 'glore' in group.attentions:
            self.glore = SuperGloRe(max(group.channels), glore_nodes)
        if 'nonlocal' in group.attentions:
            self.nonlocal_block = SuperNonLocal(max(group.channels), nonlocal_width)

    def _build(
        self, se_blocks: tuple[bool, ...], drop_path: tuple[float, ...], joined_channels: Mapping[str, int]
    ) -> None:
        group = self.spec
        inp = next(iter(self.inputs.values())).total
        out, mid = max(group.channels), max(w.total for w in self.mids.values())
        squeeze = max(w.total for w in self.squeezes.values())
        kernel = (max(KERNELS[k][0] for k in group.kernels), max(KERNELS[k][1] for k in group.kernels))
        shortcut = group.stride != 1 or any(i != o for i in self.inputs for o in self.outputs)  # widths, not windows
        shortcut = shortcut or bool(joined_channels)
        self.blocks = nn.ModuleList(
            MBConv3D(
                inp if b == 0 else out,
                mid,
                out,
                squeeze if se_blocks[b] else 0,
                kernel,
                group.stride if b == 0 else 1,
                shortcut and b == 0,
                drop_path[b],
                joined_channels if b == 0 else None,
            )
            for b in range(group.blocks)
        )

    # ------------------------------------------------------------------ an architecture's part
    def at(self, arch: Mapping[str, Value] | Mixture, source: Value) -> GroupWindows:
        """The windows for this group's values in ``arch``.

        Args:
            arch: an architecture or a mixture.
            source: name of the choice that is the input's width, or that width where it is none.
        """
        if isinstance(arch, Mixture):
            return self._mixed(arch, source)
        name = self.spec.name
        return self.windows(
            arch.get(source, source),
            arch[f'{name}.kernel'],
            arch[f'{name}.expansion'],
            arch[f'{name}.channels'],
            arch[f'{name}.attention'],
        )

    def windows(self, inp: Value, kernel: Value, expansion: Value, channels: Value, attention: Value) -> GroupWindows:
        """As :meth:`at`, from the values."""
        key = (inp, kernel, expansion, channels, attention)
        # Not while torch.compile looks: what is kept in between would be a reason for it to begin anew, and it cannot
        # write into a dict what it has made itself.
        keep = not torch.compiler.is_compiling()
        found = self._windows.get(key) if keep else None
        if found is None:
            out, pair = self.outputs[channels], (expansion, channels)
            rest = BlockWindows(out, self.mids[pair], out, self.squeezes[pair], KERNELS[kernel])
            found = GroupWindows(rest._replace(inp=self.inputs[inp]), rest, attention)
            if keep:  # bounded by the group's own values, not by the number of architectures
                self._windows[key] = found
        return found

    def _mixed(self, arch: Mixture, source: Value) -> GroupWindows:
        kernel, expansion, channels = (arch[f'{self.spec.name}.{part}'] for part in ('kernel', 'expansion', 'channels'))
        given = arch.get(source, channels.new_ones(1))
        pairs = (expansion[:, None] * channels).flatten()  # in the order of product()
        out = mix_windows([*self.outputs.values()], channels)
        mid, squeeze = (mix_windows([*laid.values()], pairs) for laid in (self.mids, self.squeezes))
        kernels = mix_kernels([KERNELS[k] for k in self.spec.kernels], kernel)
        rest = BlockWindows(out, mid, out, squeeze, kernels)
        first = rest._replace(inp=mix_windows([*self.inputs.values()], given))
        if self.spec.stride == 1:
            first = first._replace(shortcut=self._mixed_shortcut(arch, source, given, channels))
        return GroupWindows(first, rest, arch.terms(f'{self.spec.name}.attention'))

    def _mixed_shortcut(self, arch: Mixture, source: Value, given: Tensor, channels: Tensor) -> MixedShortcut:
        """Which pairs of widths pass the input on, as in :meth:`MBConv3D.identity`."""
        inputs = zip(self.inputs.items(), given, arch.present(source) if source in arch else [True], strict=True)
        outputs = zip(self.outputs.items(), channels, arch.present(f'{self.spec.name}.channels'), strict=True)
        same, other, moves = [], [], []
        for ((i, inp), p, p_here), ((o, out), q, q_here) in product(inputs, outputs):
            if p_here and q_here:
                (same if i == o else other).append(p * q)
                if i == o:
                    moves.append((inp, out))
        move = mix_moves(moves, torch.stack(same)) if same else None
        return MixedShortcut(move, torch.stack(other).sum() if other else None, torch.stack(same + other).sum())

    def forward(self, x: Tensor, at: GroupWindows) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T, H / stride, W / stride)``."""
        for b, block in enumerate(self.blocks):
            windows = at.rest if b else at.first
            x = recomputed(block, x, windows) if self.with_cp and x.requires_grad else block(x, windows)
        if isinstance(at.attention, str):
            return self._attend(at.attention, x, at)
        return sum(weigh(weight, self._attend(name, x, at)) for name, weight in at.attention.items())

    def _attend(self, name: str, x: Tensor, at: GroupWindows) -> Tensor:
        return x if name == 'none' else self._attention(name)(x, at.rest.out)

    def _attention(self, name: str) -> nn.Module:
        return getattr(self, ATTENTION_MODULES[name])

    def slices(self, prefix: str, at: GroupWindows) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        for b, block in enumerate(self.blocks):
            yield from block.slices(f'{prefix}blocks.{b}.', at.rest if b else at.first)
        if at.attention != 'none':
            module = f'{prefix}{ATTENTION_MODULES[at.attention]}.'
            yield from self._attention(at.attention).slices(module, at.rest.out)

    def cost(self, at: GroupWindows, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        key = (at.rest, at.attention, size)
        rest = self._rest_costs.get(key)
        if rest is None:  # most of a group does not depend on what it is given
            rest = self._rest_costs[key] = self._rest_cost(at, self.size_after(size))
        return self.blocks[0].cost(at.first, size) + rest

    def _rest_cost(self, at: GroupWindows, size: tuple[int, int, int]) -> Cost:
        cost = sum((block.cost(at.rest, size) for block in self.blocks[1:]), Cost())
        return cost if at.attention == 'none' else cost + self._attention(at.attention).cost(at.rest.out.length, size)

    def size_after(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """(T, H, W) of the output."""
        return strided(size, (1, self.spec.stride, self.spec.stride))
