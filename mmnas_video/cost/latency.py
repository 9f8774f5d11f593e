"""Latency of an architecture, as the sum of what the blocks of its network take by a measured table.

A table (``tools/latency.py``) holds, for every kind of block, how many milliseconds each part of its work takes: the
rates, fitted to blocks that were timed inside whole networks. So a block of any width has a prediction, also one that
was never measured, and a network's latency is a sum like its multiply-adds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import mul
from typing import Any, NamedTuple

from mmnas_video.errors import ConfigError, shown
from mmnas_video.space import Arch, SearchSpace, Value
from mmnas_video.space.arch import parse_json
from mmnas_video.space.files import read_text

FORMAT = 'mmnas-video/latency@1'
#: What a table must hold, by key; a table that is only begun has no rates yet.
KEYS = {'format': str, 'space': Mapping, 'shape': list, 'network': Mapping, 'setting': Mapping, 'measured': list}
#: The types in them as messages call them.
NAMES = {str: 'a text', list: 'a list', Mapping: 'an object'}
MAX_BYTES = 1 << 26


class Block(NamedTuple):
    """A part of a network that is timed as one.

    Attributes:
        module: its name in the network that is built for the architecture; empty for all that no other block has.
        kind: what it is. Blocks of one kind differ in their widths only, and share their rates.
        work: amounts of which its time is a sum: of each, times a rate of the kind that is not negative.
    """

    module: str
    kind: str
    work: tuple[float, ...]


class TimedCost(NamedTuple):
    """A :class:`~.cost.Cost`, and milliseconds of a batch of the size that the latency table was measured with."""

    macs: int
    params: int
    latency_ms: float


class LatencyTable:
    """Rates by kind of block, and what they were measured on.

    Args:
        data: content of a table's file.
        source: what messages call it.

    Raises:
        ConfigError: not such a table, or one whose measurement is not finished.
    """

    def __init__(self, data: Mapping[str, Any], source: str) -> None:
        _check_form(data, source)
        if 'rates' not in data:
            raise ConfigError(
                f'{source}: found {len(data["measured"])} measured networks and no rates, expected a finished '
                'measurement; the same tools/latency.py command goes on from there'
            )
        self.source = source
        self.space: dict[str, str] = dict(data['space'])
        self.shape = tuple(data['shape'])
        self.network: dict[str, int] = dict(data['network'])
        self.setting: dict[str, Any] = dict(data['setting'])
        self._rates: dict[str, tuple[float, ...]] = {kind: tuple(row['ms']) for kind, row in data['rates'].items()}

    def __call__(self, blocks: Iterable[Block]) -> float:
        """Milliseconds of the blocks together.

        Raises:
            ConfigError: a kind of block that was not measured.
        """
        return sum([sum(map(mul, self._of(block), block.work)) for block in blocks])

    def _of(self, block: Block) -> tuple[float, ...]:
        rates = self._rates.get(block.kind)
        if rates is None or len(rates) != len(block.work):
            raise ConfigError(
                f'{self.source}: found no rates for {block.kind!r}, a block of this network; expected a table '
                'measured with the config that uses it (tools/latency.py CONFIG)'
            )
        return rates

    def check(self, space: SearchSpace, shape: Sequence[int], network: Mapping[str, int]) -> None:
        """Refuse a table of other architectures, of another clip, or of another network.

        A space that has been narrowed from the one that was measured is another with the same name; the blocks of its
        networks then are the test.

        Args:
            space, shape: of the search.
            network: ``macs`` and ``params`` of the whole network at its largest architecture.

        Raises:
            ConfigError: says what differs.
        """
        if self.space['hash'] != space.hash and self.space['name'] != space.name:
            raise ConfigError(
                f'{self.source}: found a table of the space {self.space["name"]!r} (hash {self.space["hash"]}), '
                f'expected {space.name!r} (hash {space.hash})'
            )
        if self.shape != tuple(shape):
            raise ConfigError(f'{self.source}: found a table for clips of {self.shape}, expected {tuple(shape)}')
        if self.space['hash'] == space.hash and self.network != dict(network):
            raise ConfigError(
                f'{self.source}: found a table of a network with {self.network} at its largest, expected '
                f'{dict(network)}: blocks, head or depth differ (cfg-options when it was measured?)'
            )


def read_table(path: str | os.PathLike[str], key: str = 'latency_table') -> LatencyTable:
    """A finished table from its file.

    Raises:
        ConfigError: the file is missing, not a latency table, or not finished; begins with ``key``.
    """
    source = f'{key}={str(path)!r}'
    return LatencyTable(read_data(path, source), source)


def load_latency(
    path: str | os.PathLike[str], searchable: Any, shape: Sequence[int], network: Mapping[str, int], key: str
) -> Latency:
    """The latency of a network's architectures by the table at ``path``; arguments as of :meth:`LatencyTable.check`.

    Raises:
        ConfigError: no such table, or one of another network; begins with ``key``.
    """
    table = read_table(path, key)
    table.check(searchable.space, shape, network)
    return Latency(table, searchable, shape)


def read_data(path: str | os.PathLike[str], source: str) -> dict[str, Any]:
    """What a table's file holds, finished or not.

    Raises:
        ConfigError: the file is missing, cannot be read, or is not a latency table.
    """
    text = read_text(path, source, '; tools/latency.py CONFIG --out FILE makes one', MAX_BYTES)
    data = parse_json(text, source, 'a latency table')
    _check_form(data, source)
    return data


def _check_form(data: Any, source: str) -> None:
    if not isinstance(data, Mapping) or data.get('format') != FORMAT:
        found = data.get('format') if isinstance(data, Mapping) else type(data).__name__
        raise ConfigError(f'{source}: found the format {found!r}, expected {FORMAT!r}')
    lacking = [key for key in KEYS if key not in data]
    if lacking:
        raise ConfigError(f'{source}: found no {", ".join(lacking)}, expected a latency table with {", ".join(KEYS)}')
    for key, kind in {**KEYS, 'rates': Mapping}.items():
        _check_type(key, data.get(key, {}), kind, source)
    for key in ('name', 'hash'):
        _check_type(f'space.{key}', data['space'].get(key), str, source)
    for kind, row in data.get('rates', {}).items():
        rates = row.get('ms') if isinstance(row, Mapping) else None
        if not _are_rates(rates):
            raise ConfigError(f'{source}: found the rates {rates!r} of {kind!r}, expected numbers from 0')
    for row in data['measured']:
        if not isinstance(row, Mapping) or not _are_rates([row.get('ms')], row.get('arch'), row.get('blocks')):
            raise ConfigError(
                f'{source}: found the measured network {shown(row)}, expected its arch, ms and blocks as numbers from 0'
            )


def _check_type(key: str, value: Any, kind: type, source: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f'{source}: found {key} = {shown(value)}, expected {NAMES[kind]}')


def _is_rate(rate: Any) -> bool:
    return isinstance(rate, (int, float)) and not isinstance(rate, bool) and math.isfinite(rate) and rate >= 0


def _are_rates(*lists: Any) -> bool:
    return all(isinstance(rates, list) and all(map(_is_rate, rates)) for rates in lists)


class Latency:
    """Predicted milliseconds of any architecture of a searchable network.

    Args:
        table: see :func:`read_table`; already checked against the network.
        searchable: gives the blocks (``latency_blocks``).
        shape: (C, T, H, W) of a clip.
    """

    def __init__(self, table: LatencyTable, searchable: Any, shape: Sequence[int]) -> None:
        self.table, self._searchable, self._shape = table, searchable, tuple(shape)

    def __call__(self, arch: Mapping[str, Value]) -> float:
        """Milliseconds of a batch of the table's size."""
        return self.table(self._searchable.latency_blocks(arch, self._shape))

    def range(self) -> tuple[float, float]:
        """Least and most milliseconds that a descent finds, one choice after another, from the ends of the MACs.

        Blocks depend on few choices, so the ends are nearly always the exact ones; where they are not, the range that
        is named is too narrow by little.
        """
        (_, cheapest), (_, dearest) = self._searchable.cost_range(self._shape)['macs']
        space: SearchSpace = self._searchable.space
        return -descend(space, cheapest, lambda a: -self(a))[0], descend(space, dearest, self)[0]


def descend(space: SearchSpace, start: Arch, value: Callable[[Arch], float]) -> tuple[float, Arch]:
    """The best value, and its architecture, from ``start`` by changing one choice after another until none helps."""
    best, arch, before = value(start), Arch(start), -math.inf
    while best > before:
        before = best
        for choice in space.open:
            for option in choice.values:
                candidate = arch.replace({choice.name: option})
                found = value(candidate)
                if found > best:
                    best, arch = found, candidate
    return best, arch
