"""Budget: what a network may cost, from either side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmnas_video.errors import ConfigError, refuse_unknown

#: What can be bounded, with its unit.
UNITS = {'macs': 'MACs', 'params': 'parameters', 'latency_ms': 'ms'}


@dataclass(frozen=True)
class Budget:
    """Bounds on cost; each is ``(low, high)`` with None for an open side, or one number for an upper bound.

    Args:
        macs: multiply-adds of one clip.
        params: parameters.
        latency_ms: milliseconds of a batch of the table's size, as the table predicts them.
        latency_table: path of the table (``tools/latency.py``). Without a bound, it makes latency one of the costs that
            are recorded, and that a Pareto front can be sought against.

    Raises:
        ConfigError: an unknown bound, a negative one, low above high, or a table that is no path.
    """

    macs: tuple[float | None, float | None] = (None, None)
    params: tuple[float | None, float | None] = (None, None)
    latency_ms: tuple[float | None, float | None] = (None, None)
    latency_table: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in UNITS:
            object.__setattr__(self, name, _bounds(name, getattr(self, name)))
        if self.latency_table is not None and not isinstance(self.latency_table, (str, os.PathLike)):
            raise ConfigError(f'budget.latency_table: found {self.latency_table!r}, expected the path of a table')

    @classmethod
    def from_cfg(cls, cfg: Budget | Mapping[str, Any] | None) -> Budget:
        """A budget from a config's ``budget=dict(macs=2e9)``."""
        if isinstance(cfg, Budget):
            return cfg
        refuse_unknown('budget', cfg, [*UNITS, 'latency_table'])
        return cls(**(cfg or {}))

    def to_dict(self) -> dict[str, list[float | None]]:
        """The bounds that are set, as JSON data."""
        return {name: list(getattr(self, name)) for name in UNITS if getattr(self, name) != (None, None)}

    @property
    def needs(self) -> tuple[str, ...]:
        """The quantities that are bounded."""
        return tuple(self.to_dict())

    def admits(self, **found: float) -> bool:
        """Whether every bounded quantity lies within its bounds (inclusive).

        Raises:
            ConfigError: a bounded quantity was not given.
        """
        return not self.violation(**found)

    def violation(self, **found: float) -> float:
        """How far a cost is outside: the sum, over the bounded quantities, of the distance to the bound as a share of
        it; 0 exactly where :meth:`admits`.

        Raises:
            ConfigError: a bounded quantity was not given.
        """
        return sum(self._excess(name, found) for name in self.needs)

    def _excess(self, name: str, found: Mapping[str, float]) -> float:
        if name not in found:
            raise ConfigError(
                f'budget: bounds {name}, but only {sorted(found)} can be computed here'
                + (' (latency needs a latency table)' if name == 'latency_ms' else '')
            )
        low, high = getattr(self, name)
        value = found[name]
        if low is not None and value < low:
            return (low - value) / low
        return (value - high) / (high or 1) if high is not None and value > high else 0.0

    def check_reachable(self, **reach: tuple[float, float]) -> None:
        """Refuse a budget that no architecture meets.

        Args:
            reach: per quantity the smallest and largest value in the space.

        Raises:
            ConfigError: names the bound and the range that can be reached.
        """
        for name in self.needs:
            if name not in reach:
                continue
            low, high = getattr(self, name)
            least, most = reach[name]
            if (high is not None and high < least) or (low is not None and low > most):
                raise ConfigError(
                    f'budget.{name}: found {_text(low, high)}, which no architecture of the space meets; '
                    f'expected bounds that meet the reachable range {least:,} to {most:,} {UNITS[name]}'
                )


def _bounds(name: str, value: Any) -> tuple[float | None, float | None]:
    low, high = value if isinstance(value, (tuple, list)) and len(value) == 2 else (None, value)
    for bound in (low, high):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, float)) or not bound >= 0):
            raise ConfigError(
                f'budget.{name}: found {value!r}, expected a number of {UNITS[name]} or a pair (low, high)'
            )
    if low is not None and high is not None and low > high:
        raise ConfigError(f'budget.{name}: found the lower bound {low:,} above the upper bound {high:,}')
    return low, high


def _text(low: float | None, high: float | None) -> str:
    if low is None:
        return f'at most {high:,}'
    return f'at least {low:,}' if high is None else f'{low:,} to {high:,}'
