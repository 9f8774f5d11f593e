"""Mutation and crossover of architectures, by layers or by single choices.

Source: VIM-NAS, Supp. C ("a block is then uniformly chosen from each candidate in each layer"; "changing a candidate
depth with probability P_d and then mutating each block with a probability of P_m"). The AutoFormer code works on single
choices; :data:`UNITS` names both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, SearchSpace, Value

#: What is inherited or mutated as a whole: the choices of a layer (equal names up to the last dot), or each by itself.
UNITS = ('layer', 'choice')

#: Names of open choices that move together.
Unit = tuple[str, ...]


def units_of(space: SearchSpace, kind: str) -> tuple[Unit, ...]:
    """The open choices in their units; a choice without a dot in its name (``depth``) is one of its own.

    Args:
        space: the space.
        kind: one of :data:`UNITS`.
    """
    units: dict[tuple[str, str], list[str]] = {}
    for choice in space.open:
        layer, _, last = choice.name.rpartition('.')
        key = (layer, '') if layer and kind == 'layer' else (layer, last)
        units.setdefault(key, []).append(choice.name)
    return tuple(tuple(names) for names in units.values())


def mutation_rates(
    space: SearchSpace, patterns: Mapping[str, float], units: Sequence[Unit], source: str = 'mutation'
) -> tuple[float, ...]:
    """Probability with which each unit mutates.

    Args:
        space: the space.
        patterns: shell-style choice names to probabilities, ``{'depth': 0.4, '*': 0.2}``; the first that fits a choice
            counts, and a choice that none fits stays as it is.
        units: see :func:`units_of`.
        source: config key for errors.

    Raises:
        ConfigError: a pattern that fits no choice, a probability outside 0..1, choices of one unit with different
            probabilities, or nothing that ever mutates.
    """
    for pattern, rate in patterns.items():
        check_probability(rate, f'{source}[{pattern!r}]')
    # In match() the last pattern that fits a name counts; here it is the first.
    found = space.match(dict(reversed(patterns.items())), source)
    rates = []
    for unit in units:
        own = {name: float(found.get(name, 0.0)) for name in unit}
        if len(set(own.values())) > 1:
            raise ConfigError(
                f'{source}: found different probabilities for choices of one layer ({own}), expected one for the whole '
                "layer; or set unit='choice'"
            )
        rates.append(own[unit[0]])
    if not any(rates):
        raise ConfigError(f'{source}: found {dict(patterns)}, expected a probability above 0 for an open choice')
    return tuple(rates)


def check_probability(value: object, source: str) -> None:
    """Refuse what is no probability.

    Raises:
        ConfigError: not a number in 0..1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(f'{source}: found {value!r}, expected a probability from 0 to 1')


def mutate(
    space: SearchSpace, arch: Mapping[str, Value], rng: random.Random, units: Sequence[Unit], rates: Sequence[float]
) -> Arch:
    """Each unit takes, with its probability, another combination of its values, uniformly among the others."""
    values = dict(arch)
    for unit, rate in zip(units, rates, strict=True):
        if rng.random() < rate:
            values.update(_other(space, values, unit, rng))
    return Arch(values)


def _other(space: SearchSpace, arch: Mapping[str, Value], unit: Unit, rng: random.Random) -> dict[str, Value]:
    """Another combination of the unit's values: its number in mixed radix, moved on by a random step."""
    choices = [space[name] for name in unit]
    number = 0
    for choice in choices:
        number = number * len(choice) + choice.index(arch[choice.name])
    size = math.prod(len(choice) for choice in choices)
    number = (number + rng.randrange(1, size)) % size
    found: dict[str, Value] = {}
    for choice in reversed(choices):
        number, index = divmod(number, len(choice))
        found[choice.name] = choice.values[index]
    return found


def cross(first: Mapping[str, Value], second: Mapping[str, Value], rng: random.Random, units: Sequence[Unit]) -> Arch:
    """Each unit from either parent with probability one half."""
    values = dict(first)
    for unit in units:
        if rng.random() < 0.5:
            values.update({name: second[name] for name in unit})
    return Arch(values)
