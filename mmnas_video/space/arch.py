"""Arch: one architecture as plain data, and its file format."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mmnas_video.errors import ConfigError, shown

from .choice import Value
from .files import read_text

if TYPE_CHECKING:
    from .space import SearchSpace

FORMAT = 'mmnas-video/arch@1'


class Arch(Mapping[str, Value]):
    """A frozen, hashable mapping from choice name to value.

    Two archs are equal if they map the same names to the same values; the order of the names does not matter.
    """

    __slots__ = ('_hash', '_values')

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values = dict(values or {})
        self._hash: int | None = None

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._values.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Arch) else other)

    def __reduce__(self) -> tuple[type[Arch], tuple[dict[str, Value]]]:
        return type(self), (self._values,)  # without the hash: those of strings differ between processes

    def __repr__(self) -> str:
        return f'Arch({self._values!r})'

    @property
    def raw(self) -> dict[str, Value]:
        """The values as a plain dict, for reading only: what a hot loop looks names up in."""
        return self._values

    def replace(self, values: Mapping[str, Value]) -> Arch:
        """A copy in which ``values`` take the place of the values of the same names."""
        return Arch({**self._values, **values})


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = sorted(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ConfigError(f'found the keys {shown(twice)} twice, expected each once')
    return found


def _no_constant(name: str) -> float:
    raise ConfigError(f'found the number {name[:80]}, expected finite numbers')


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_constant(text)  # 1e999 is JSON, and infinite


def arch_to_json(arch: Arch, space: SearchSpace | Mapping[str, str], extra: Mapping[str, Any] | None = None) -> str:
    """The text of an arch file.

    Args:
        arch: the architecture.
        space: the space that it belongs to, or ``name`` and ``hash`` of it (:attr:`SearchSpace.identity`).
        extra: further keys for the reader's use (``cost``, ``search``); never needed to build the network.
    """
    space = dict(getattr(space, 'identity', space))
    return json.dumps({'format': FORMAT, 'space': space, 'arch': dict(arch), **(extra or {})}, indent=2) + '\n'


def parse_json(text: str, source: str, expected: str) -> Any:
    """The data that ``text`` holds; no key twice, no number that is not finite.

    Raises:
        ConfigError: names ``source``, and ``expected`` where the text is not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_float=_finite, parse_constant=_no_constant)
    except ConfigError as error:
        raise ConfigError(f'{source}: {error}') from None
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f'{source}: found text that is not JSON ({error}), expected {expected}') from None


def arch_from_json(text: str, source: str = 'arch') -> dict[str, Any]:
    """Parse the text of an arch file; ``arch`` in the result is an :class:`Arch`, the rest plain JSON.

    Only the form is checked here; whether the arch lies in a space, the space says.

    Raises:
        ConfigError: not JSON, not our format, a key twice, a number that is not finite, a value that is no scalar.
    """
    return check_arch_data(parse_json(text, source, 'an arch file'), source)


def check_arch_data(data: Any, source: str = 'arch') -> dict[str, Any]:
    """What an arch file holds, with ``arch`` made an :class:`Arch`; see :func:`arch_from_json`.

    Raises:
        ConfigError: not our format, no arch and space in it, a value that is no scalar.
    """
    if not isinstance(data, Mapping) or data.get('format') != FORMAT:
        found = data.get('format') if isinstance(data, Mapping) else type(data).__name__
        raise ConfigError(f'{source}: found the format {shown(found)}, expected {FORMAT!r}')
    if not isinstance(data.get('arch'), Mapping) or not isinstance(data.get('space'), Mapping):
        raise ConfigError(f"{source}: expected the objects 'arch' and 'space', found {shown(sorted(map(str, data)))}")
    for name, value in data['arch'].items():
        if isinstance(value, (Mapping, list, tuple, set)):
            raise ConfigError(f'{source}: {shown(name)} holds a {type(value).__name__}, expected a single value')
    return {**data, 'arch': Arch(data['arch'])}


def read_arch_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an arch file; see :func:`arch_from_json`.

    Raises:
        ConfigError: the file is missing, larger than 1 MiB, not UTF-8, or not an arch file.
    """
    source = f'arch file {str(path)!r}'
    return arch_from_json(read_text(path, source, '; a search leaves one at WORK_DIR/search/arch.json'), source)
