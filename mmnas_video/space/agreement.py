"""How far several searches of one space agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from mmnas_video.errors import ConfigError

from .choice import Value
from .space import SearchSpace


def agreement(space: SearchSpace, archs: Sequence[Mapping[str, Value]]) -> dict[str, float]:
    """Per open choice the share of pairs of architectures with the same value, 0 to 1.

    Raises:
        ConfigError: fewer than two architectures, or one that is not of the space.
    """
    if len(archs) < 2:
        raise ConfigError(f'agreement: found {len(archs)} architectures, expected at least 2')
    checked = [space.check(arch) for arch in archs]
    pairs = list(combinations(checked, 2))
    return {c.name: sum(a[c.name] == b[c.name] for a, b in pairs) / len(pairs) for c in space.open}


def chance_agreement(space: SearchSpace) -> float:
    """What :func:`agreement` is in the mean over the choices for architectures drawn uniformly: the mean of 1 / K."""
    return sum(1 / len(choice) for choice in space.open) / len(space.open)
