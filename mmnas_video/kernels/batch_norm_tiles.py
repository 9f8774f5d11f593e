"""How BatchNorm's kernels share a tensor out: programs, rows and channels of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

#: Programs that a launch aims at: 8 for each of an H200's 132 multiprocessors. A constant, so that sums are added up in
#: the same order on every GPU.
PROGRAMS = 1056
#: Elements that a program (of four warps) holds at once.
ELEMENTS = 2048
#: Partial results and channels that a merging program holds at once, of which the first with enough rows is taken: all
#: rows in one step, because it waits for memory and does not work, and no more lanes without a row than need be.
MERGED = ((8, 128), (64, 64), (512, 8), (2048, 4))


@dataclass(frozen=True)
class Tiles:
    """A tensor (groups, rows, channels), channels fastest, cut into what single programs work on.

    Attributes:
        groups, rows, channels: its size. With one group the rows of all samples are alike, with B each sample has its
            own (what an SE gate needs).
        block_m, block_c: rows and channels that a program holds at once.
        per: rows of a program, a multiple of ``block_m``; the last program of a group may have fewer.
        blocks: programs that share the rows of a group.
    """

    groups: int
    rows: int
    channels: int
    block_m: int
    block_c: int
    per: int
    blocks: int

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Programs along the rows and along the channels."""
        return self.groups * self.blocks, -(-self.channels // self.block_c)

    @cached_property
    def partials(self) -> tuple[int, int]:
        """Shape of what one launch leaves behind for the next: a row for each program."""
        return self.groups * self.blocks, self.channels

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What a kernel is told of it.

        C is passed as ``units * ALIGN``. Only so does the compiler see that rows start at a multiple of ALIGN elements
        (54 bf16 channels can be loaded two by two) without a new compilation for every width of a supernet.
        """
        align = math.gcd(self.channels, 8)
        return {
            'rows': self.rows,
            'per': self.per,
            'blocks': self.blocks,
            'units': self.channels // align,
            'ALIGN': align,
            'BLOCK_M': self.block_m,
            'BLOCK_C': self.block_c,
        }

    @cached_property
    def merging(self) -> Merging:
        """Of the partial results of a group's programs."""
        return _merging(self.rows, self.per, self.blocks, self.channels)

    @cached_property
    def merging_groups(self) -> Merging:
        """Of the results of all groups."""
        return _merging(self.groups * self.rows, self.rows, self.groups, self.channels)


class Merging(NamedTuple):
    """Programs along the channels, and what a kernel is told, that merges partial results."""

    programs: int
    arguments: dict[str, Any]


def _merging(rows: int, per: int, blocks: int, channels: int) -> Merging:
    """Of ``rows`` rows, ``per`` in each of the ``blocks`` results but the last."""
    block_p, most = next((size for size in MERGED if size[0] >= blocks), MERGED[-1])
    block_c = min(_block_c(channels), most)
    arguments = {
        **{'rows': rows, 'per': per, 'blocks': blocks, 'units': channels, 'ALIGN': 1},
        **{'BLOCK_P': block_p, 'BLOCK_C': block_c, 'num_warps': max(block_p * block_c // 512, 4)},
    }
    return Merging(-(-channels // block_c), arguments)


@lru_cache(maxsize=4096)
def lay_tiles(groups: int, rows: int, channels: int) -> Tiles:
    """Cut (groups, rows, channels) so that about :data:`PROGRAMS` programs have work."""
    block_c = _block_c(channels)
    block_m = ELEMENTS // block_c
    wanted = max(PROGRAMS // (groups * -(-channels // block_c)), 1)
    per = -(-rows // (wanted * block_m)) * block_m
    return Tiles(groups, rows, channels, block_m, block_c, per, -(-rows // per))


def _block_c(channels: int) -> int:
    """A power of two; of the two widest, that which leaves fewer lanes idle."""
    if channels <= 64:
        return 1 << (channels - 1).bit_length()
    return min((128, 64), key=lambda block: -(-channels // block) * block)
