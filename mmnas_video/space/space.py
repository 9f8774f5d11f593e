"""SearchSpace: an ordered set of choices, and what can be done with it."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmnas_video.errors import ConfigError, shown

from .arch import Arch, check_arch_data, read_arch_file
from .choice import Choice, Value


class SearchSpace:
    """Ordered choices, each independent of the others.

    A value object: two spaces with the same choices are the same space, whatever they are called. Random generators
    are passed in (:class:`random.Random`); nothing here draws from a global one.

    Args:
        name: what users read in arch files and errors, e.g. ``'autox3d'``.
        choices: the choices in order; the order is that of :meth:`encode`.

    Raises:
        ConfigError: two choices share a name.
    """

    def __init__(self, name: str, choices: Sequence[Choice]) -> None:
        self.name = name
        self.choices = tuple(choices)
        self._by_name = {choice.name: choice for choice in self.choices}
        if len(self._by_name) != len(self.choices):
            names = [choice.name for choice in self.choices]
            raise ConfigError(
                f'space {name!r}: found the choices {sorted({n for n in names if names.count(n) > 1})} '
                'twice, expected each once'
            )

    # ------------------------------------------------------------------ what it is
    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, name: str) -> Choice:
        return self._by_name[name]

    def __contains__(self, arch: object) -> bool:
        return isinstance(arch, Mapping) and not self._faults(arch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.choices == other.choices

    def __hash__(self) -> int:
        return hash(self.choices)

    def __repr__(self) -> str:
        return f'SearchSpace({self.name!r}, {len(self)} choices, size {self.size:.3g})'

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the choices, in order."""
        return tuple(self._by_name)

    @property
    def size(self) -> int:
        """Number of architectures, exactly."""
        return math.prod(len(choice) for choice in self.choices)

    @property
    def open(self) -> tuple[Choice, ...]:
        """The choices in which something is left to choose."""
        return tuple(choice for choice in self.choices if not choice.single)

    @property
    def hash(self) -> str:
        """First 16 hex digits of SHA-256 over the choices' names and values; the name of the space is left out."""
        text = json.dumps([[choice.name, list(choice.values)] for choice in self.choices])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def identity(self) -> dict[str, str]:
        """``name`` and ``hash``, as they stand in an arch file."""
        return {'name': self.name, 'hash': self.hash}

    def to_dict(self) -> dict[str, Any]:
        """The space as JSON data (``space.json`` beside a search)."""
        return {**self.identity, 'choices': [{'name': c.name, 'values': list(c.values)} for c in self.choices]}

    # ------------------------------------------------------------------ checking
    def _faults(self, arch: Mapping[str, Value]) -> list[str]:
        faults = [f'unknown choice {shown(name)}' for name in arch if name not in self._by_name]
        for choice in self.choices:
            if choice.name not in arch:
                faults.append(f'no value for {choice.name!r} (one of {list(choice.values)})')
                continue
            try:
                choice.index(arch[choice.name])
            except ConfigError as error:
                faults.append(str(error))
        return faults

    def check(self, arch: Mapping[str, Value], source: str = 'arch') -> Arch:
        """The arch in the space's own order and number types.

        Raises:
            ConfigError: names the first faults: unknown or missing choices, values not offered, and what is offered.
        """
        faults = self._faults(arch)
        if faults:
            more = f' (and {len(faults) - 3} more)' if len(faults) > 3 else ''
            raise ConfigError(
                f'{source}: not an architecture of the space {self.name!r}: {"; ".join(faults[:3])}{more}'
            )
        return self.decode([choice.index(arch[choice.name]) for choice in self.choices])

    def check_file(self, data: Mapping[str, Any], source: str = 'arch') -> Arch:
        """Check parsed arch-file data (:func:`~mmnas_video.space.arch.arch_from_json`) against this space.

        A file of another space is refused by its hash, unless this space has been narrowed from the one that it
        names (then the arch itself is the test). Choices that offer one value need not be named.

        Raises:
            ConfigError: another space, or an arch that is not of this one.
        """
        found = data['space']
        if found.get('hash') != self.hash and found.get('name') != self.name:
            raise ConfigError(
                f'{source}: found an arch of the space {shown(found.get("name"))} (hash {shown(found.get("hash"))}), '
                f'expected {self.name!r} (hash {self.hash})'
            )
        return self.check(self._completed(data['arch']), source)

    def _completed(self, arch: Mapping[str, Value]) -> dict[str, Value]:
        return {**{choice.name: choice.values[0] for choice in self.choices if choice.single}, **arch}

    def read(self, arch: str | os.PathLike[str] | Mapping[str, Any], source: str = 'arch') -> Arch:
        """An arch of this space from what a config may hold: a path, an arch file's content, or the bare values.

        Choices that offer one value need not be named.

        Raises:
            ConfigError: the file cannot be read, or the arch is not of this space.
        """
        if isinstance(arch, (str, os.PathLike)):
            return self.check_file(read_arch_file(arch), f'{source}={str(arch)!r}')
        if not isinstance(arch, Mapping):
            raise ConfigError(
                f'{source}: found a {type(arch).__name__}, expected the path of an arch file or a mapping'
            )
        if 'format' in arch and 'arch' in arch:
            return self.check_file(check_arch_data(arch, source), source)
        return self.check(self._completed(arch), source)

    def match(self, patterns: Mapping[str, Value], source: str = 'fixed') -> dict[str, Value]:
        """Choice name to value for shell-style name patterns (``{'*.kernel': 't3_s3'}``), for :meth:`fix`.

        Raises:
            ConfigError: a pattern that fits no choice.
        """
        if not isinstance(patterns, Mapping) or not all(isinstance(pattern, str) for pattern in patterns):
            raise ConfigError(
                f'{source}: found {shown(patterns)}, expected names or patterns of choices and their values, such as '
                "{'*.kernel': 't3_s3'}"
            )
        found: dict[str, Value] = {}
        for pattern, value in patterns.items():
            names = fnmatch.filter(self.names, pattern)
            if not names:
                raise ConfigError(
                    f'{source}: the pattern {pattern!r} fits none of the choices of {self.name!r} '
                    f'({", ".join(self.names[:4])}, ...)'
                )
            found.update(dict.fromkeys(names, value))
        return found

    # ------------------------------------------------------------------ points
    def encode(self, arch: Mapping[str, Value]) -> tuple[int, ...]:
        """Index of each value, in the order of the choices."""
        return tuple(choice.index(arch[choice.name]) for choice in self.choices)

    def decode(self, indices: Sequence[int]) -> Arch:
        """Inverse of :meth:`encode`.

        Raises:
            ConfigError: another number of indices, or an index outside its choice.
        """
        if len(indices) != len(self.choices):
            raise ConfigError(f'space {self.name!r}: found {len(indices)} indices, expected {len(self.choices)}')
        for choice, index in zip(self.choices, indices, strict=True):
            if not 0 <= index < len(choice):
                raise ConfigError(f'choice {choice.name!r}: found the index {index}, expected 0 to {len(choice) - 1}')
        return Arch({choice.name: choice.values[index] for choice, index in zip(self.choices, indices, strict=True)})

    @property
    def smallest(self) -> Arch:
        """The first value everywhere."""
        return Arch({choice.name: choice.values[0] for choice in self.choices})

    @property
    def largest(self) -> Arch:
        """The last value everywhere."""
        return Arch({choice.name: choice.values[-1] for choice in self.choices})

    def sample(self, rng: random.Random) -> Arch:
        """One architecture, uniform over the space.

        Raises:
            ConfigError: ``rng`` is no generator of Python's.
        """
        _check_generator(rng)
        return Arch({choice.name: choice.values[rng.randrange(len(choice))] for choice in self.choices})

    def mutate(self, arch: Mapping[str, Value], rng: random.Random, probability: float = 0.1) -> Arch:
        """Each open choice takes, with ``probability``, one of its *other* values (uniformly).

        Raises:
            ConfigError: as of :meth:`sample`.
        """
        _check_generator(rng)
        values = dict(arch)
        for choice in self.choices:
            if not choice.single and rng.random() < probability:
                step = rng.randrange(1, len(choice))
                values[choice.name] = choice.values[(choice.index(arch[choice.name]) + step) % len(choice)]
        return Arch(values)

    def cross(self, first: Mapping[str, Value], second: Mapping[str, Value], rng: random.Random) -> Arch:
        """Uniform crossover: each choice from either parent with probability one half.

        Raises:
            ConfigError: as of :meth:`sample`.
        """
        _check_generator(rng)
        return Arch({name: (first if rng.random() < 0.5 else second)[name] for name in self.names})

    # ------------------------------------------------------------------ spaces from spaces
    def fix(self, values: Mapping[str, Value]) -> SearchSpace:
        """The same space with the named choices pinned; pinning all of them leaves a space of size 1.

        Raises:
            ConfigError: a name that is no choice of this space, or a value that is not offered.
        """
        unknown = [name for name in values if name not in self._by_name]
        if unknown:
            raise ConfigError(
                f'space {self.name!r}: cannot fix {unknown[:3]}, which it does not have; its choices '
                f'are {", ".join(self.names[:4])}, ...'
            )
        return SearchSpace(self.name, [c.fixed(values[c.name]) if c.name in values else c for c in self.choices])

    def prefixed(self, prefix: str) -> SearchSpace:
        """The same space with ``prefix`` before every choice name (``'dense.'``)."""
        return SearchSpace(self.name, [Choice(prefix + c.name, c.values) for c in self.choices])

    @classmethod
    def union(cls, name: str, *spaces: SearchSpace) -> SearchSpace:
        """The product of several spaces: all their choices, one after another.

        A choice that stands in two of them must offer the same values there, and is one choice in the union.

        Raises:
            ConfigError: two spaces have a choice of one name with different values.
        """
        choices: dict[str, Choice] = {}
        for space in spaces:
            for choice in space:
                if choices.setdefault(choice.name, choice) != choice:
                    raise ConfigError(
                        f'union {name!r}: choice {choice.name!r} offers {list(choice.values)} in one '
                        f'space and {list(choices[choice.name].values)} in another; expected the same'
                    )
        return cls(name, list(choices.values()))


def _check_generator(rng: object) -> None:
    """Refuse a bare seed, and generators of numpy and torch, which have other methods."""
    if not hasattr(rng, 'randrange'):
        raise ConfigError(f"rng: found {shown(rng)}, expected a generator of Python's random, such as random.Random(0)")
