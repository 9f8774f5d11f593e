"""DrawnValues: which values take part in one step's mixture, where all of them would be too many to run."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Mapping

from torch import Tensor

from mmnas_video.errors import ConfigError, check_number
from mmnas_video.space import SearchSpace

from .distribution import offered_values

#: "sampling at each search step 4 tubes from the search space" (VIM-NAS, Sec. 4.1).
DEFAULT = {'tube*': 4}


class DrawnValues:
    """Draws, for groups of choices, a few of the combinations of their values.

    A group is the choices whose names begin alike, up to the first point (``tube2``: its kernel, stride and offset). A
    mixture runs every combination of what is left of them, so a number of combinations is split into its prime factors,
    each of which falls to one of the choices at random: of 4 combinations, two kernels at two strides, or four offsets,
    ... Values are drawn uniformly without repetition.

    Args:
        space: what is drawn from.
        numbers: pattern of group names to combinations per step. None: :data:`DEFAULT` for the groups that there are;
            {} takes all values of all choices.
        key: config key for errors.

    Raises:
        ConfigError: a pattern that fits no group, or a number below 1.
    """

    def __init__(self, space: SearchSpace, numbers: Mapping[str, int] | None, key: str) -> None:
        self.space = space
        names = [name.partition('.')[0] for name in space.names]
        self.groups: list[tuple[list[int], int]] = []
        for pattern, number in (DEFAULT if numbers is None else numbers).items():
            check_number(f'{key}[{pattern!r}]', number, 1)
            found = dict.fromkeys(fnmatch.filter(names, pattern))
            if not found and numbers is not None:
                raise ConfigError(
                    f'{key}: the pattern {pattern!r} fits none of the groups of {space.name!r} '
                    f'({", ".join(list(dict.fromkeys(names))[:4])}, ...)'
                )
            self.groups += [([i for i, name in enumerate(names) if name == group], number) for group in found]

    @property
    def all(self) -> Tensor:
        """(choices, most values): every value that is offered."""
        return offered_values(self.space)

    def draw(self, rng: random.Random) -> Tensor:
        """(choices, most values): those that take part."""
        live = self.all
        for rows, number in self.groups:
            sizes = [len(self.space.choices[row]) for row in rows]
            for row, size, count in zip(rows, sizes, _split(number, sizes, rng), strict=True):
                live[row] = False
                live[row, rng.sample(range(size), count)] = True
        return live

    def strongest(self, weights: Mapping[str, list[float]], current: str | None) -> Tensor:
        """As :meth:`draw`, by weight: of each group the heaviest values, and several only of the choice ``current``."""
        live = self.all
        for rows, number in self.groups:
            for row in rows:
                name = self.space.choices[row].name
                best = sorted(range(len(weights[name])), key=weights[name].__getitem__, reverse=True)
                live[row] = False
                live[row, best[: number if name == current else 1]] = True
        return live


def _split(number: int, sizes: list[int], rng: random.Random) -> list[int]:
    """How many values of each choice, their product ``number`` (less where the choices do not have as many)."""
    counts, factor = [1] * len(sizes), 2
    while number > 1:
        if number % factor:
            factor += 1
            continue
        number //= factor
        fitting = [i for i, size in enumerate(sizes) if counts[i] * factor <= size]
        if fitting:
            counts[rng.choice(fitting)] *= factor
    return counts
