"""Choice: one thing that can vary, as a value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmnas_video.errors import ConfigError, shown

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Choice:
    """A name and its ordered values.

    The order means something: the first value is what a search calls the smallest, the last the largest. Values
    are JSON scalars, so that an architecture goes to a file and back unchanged. Two values are the same only if
    type and value agree (``1`` and ``True`` and ``1.0`` are three values, as they are in a config).

    Raises:
        ConfigError: no value, a value offered twice, or a value that is not a JSON scalar.
    """

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'values', tuple(self.values))
        if not self.values:
            raise ConfigError(f'choice {self.name!r}: found no values, expected at least one')
        for value in self.values:
            finite = not isinstance(value, float) or math.isfinite(value)
            if not isinstance(value, (str, int, float, bool, type(None))) or not finite:
                raise ConfigError(
                    f'choice {self.name!r}: found the value {value!r}, expected a string, a finite '
                    'number, true, false or null'
                )
        typed = [(type(value), value) for value in self.values]
        if len(set(typed)) != len(typed):
            raise ConfigError(f'choice {self.name!r}: found a value twice in {list(self.values)}, expected each once')

    def __len__(self) -> int:
        return len(self.values)

    @property
    def single(self) -> bool:
        """Whether nothing is left to choose."""
        return len(self.values) == 1

    def index(self, value: Value) -> int:
        """Position of ``value`` in the ordered values.

        Raises:
            ConfigError: the value is not offered; names the choice, the value and the values offered.
        """
        for i, offered in enumerate(self.values):
            if type(offered) is type(value) and offered == value:
                return i
        # A JSON file may hold 3 where the table says 3.0 (or the other way round): the same number.
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            for i, offered in enumerate(self.values):
                if isinstance(offered, (int, float)) and not isinstance(offered, bool) and offered == value:
                    return i
        raise ConfigError(
            f'choice {self.name!r}: found {shown(value)}, which is not offered; expected one of {list(self.values)}'
        )

    def weights(self, given: Mapping[str, Sequence[float]]) -> list[float]:
        """The weights of the values, out of those of all choices by name; a choice with one value need not have any.

        Raises:
            ConfigError: none, or not one for each value.
        """
        row = [float(weight) for weight in given.get(self.name, (1.0,) if self.single else ())]
        if len(row) != len(self):
            raise ConfigError(f'derive: {self.name}: found {len(row)} weights, expected {len(self)}')
        return row

    def fixed(self, value: Value) -> Choice:
        """The same choice with ``value`` alone left."""
        return Choice(self.name, (self.values[self.index(value)],))
