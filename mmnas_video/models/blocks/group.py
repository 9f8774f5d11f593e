"""A group of MBConv3D blocks that share their choices, and the attention block that may follow it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmnas_video.cost import Cost
from mmnas_video.entangle import Slice, Window, lay_windows, strided, whole
from mmnas_video.space import KERNELS, Group, Value

from .glore import SuperGloRe
from .mbconv3d import BlockWindows, MBConv3D
from .nonlocal_block import SuperNonLocal
from .squeeze_excite import squeeze_width


class GroupWindows(NamedTuple):
    """What an architecture makes of a group: its first block, its other blocks, and the attention's name."""

    first: BlockWindows
    rest: BlockWindows
    attention: str


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
    ) -> None:
        super().__init__()
        self.group, self.inputs, self.with_cp = group, dict(inputs), with_cp
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
        self._build(se_blocks, drop_path)
        if 'glore' in group.attentions:
            self.glore = SuperGloRe(max(group.channels), glore_nodes)
        if 'nonlocal' in group.attentions:
            self.nonlocal_block = SuperNonLocal(max(group.channels), nonlocal_width)

    def _build(self, se_blocks: tuple[bool, ...], drop_path: tuple[float, ...]) -> None:
        group = self.group
        inp = next(iter(self.inputs.values())).total
        out, mid = max(group.channels), max(w.total for w in self.mids.values())
        squeeze = max(w.total for w in self.squeezes.values())
        kernel = (max(KERNELS[k][0] for k in group.kernels), max(KERNELS[k][1] for k in group.kernels))
        shortcut = group.stride != 1 or any(i != o for i in self.inputs for o in self.outputs)  # widths, not windows
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
            )
            for b in range(group.blocks)
        )

    # ------------------------------------------------------------------ an architecture's part
    def at(self, arch: Mapping[str, Value], inp: Value) -> GroupWindows:
        """The windows for this group's values in ``arch`` and the previous group's channels ``inp``."""
        name = self.group.name
        return self.windows(
            inp, arch[f'{name}.kernel'], arch[f'{name}.expansion'], arch[f'{name}.channels'], arch[f'{name}.attention']
        )

    def windows(self, inp: Value, kernel: Value, expansion: Value, channels: Value, attention: Value) -> GroupWindows:
        """As :meth:`at`, from the values."""
        key = (inp, kernel, expansion, channels, attention)
        found = self._windows.get(key)
        if found is None:  # bounded by the group's own values, not by the number of architectures
            out, pair = self.outputs[channels], (expansion, channels)
            rest = BlockWindows(out, self.mids[pair], out, self.squeezes[pair], KERNELS[kernel])
            found = self._windows[key] = GroupWindows(rest._replace(inp=self.inputs[inp]), rest, attention)
        return found

    def forward(self, x: Tensor, at: GroupWindows) -> Tensor:
        """``(B, C_in, T, H, W)`` to ``(B, C_out, T, H / stride, W / stride)``."""
        for b, block in enumerate(self.blocks):
            windows = at.rest if b else at.first
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, windows, use_reentrant=False)
            else:
                x = block(x, windows)
        return x if at.attention == 'none' else self._attention(at)(x, at.rest.out)

    def _attention(self, at: GroupWindows) -> nn.Module:
        return self.glore if at.attention == 'glore' else self.nonlocal_block

    def slices(self, prefix: str, at: GroupWindows) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        for b, block in enumerate(self.blocks):
            yield from block.slices(f'{prefix}blocks.{b}.', at.rest if b else at.first)
        if at.attention != 'none':
            name = 'glore' if at.attention == 'glore' else 'nonlocal_block'
            yield from self._attention(at).slices(f'{prefix}{name}.', at.rest.out)

    def cost(self, at: GroupWindows, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on an input of ``size`` (T, H, W)."""
        key = (at.rest, at.attention, size)
        rest = self._rest_costs.get(key)
        if rest is None:  # most of a group does not depend on what it is given
            rest = self._rest_costs[key] = self._rest_cost(at, self.size_after(size))
        return self.blocks[0].cost(at.first, size) + rest

    def _rest_cost(self, at: GroupWindows, size: tuple[int, int, int]) -> Cost:
        cost = sum((block.cost(at.rest, size) for block in self.blocks[1:]), Cost())
        return cost if at.attention == 'none' else cost + self._attention(at).cost(at.rest.out.length, size)

    def size_after(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """(T, H, W) of the output."""
        return strided(size, (1, self.group.stride, self.group.stride))
