"""Random architectures under a budget, also where the budget is so tight that chance alone hardly ever meets it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from mmnas_video.space import Arch, SearchSpace

#: Draws for one random architecture before it is moved to the budget.
MAX_DRAWS = 1000
#: Draws that are moved before the budget counts as one that cannot be met, or the rest of the space as used up.
MAX_MOVED = 30

#: How far the cost of an architecture is outside the budget: 0 within, see :meth:`~mmnas_video.cost.Budget.violation`.
Violation = Callable[[Arch], float]


class Draws:
    """Random architectures within a budget, of which some are wanted.

    They are drawn uniformly, and those outside the budget left out, until :data:`MAX_DRAWS` in a row have given nothing
    that is wanted. From then on each draw is moved to the budget (:func:`moved`); these are not uniform.

    Args:
        space: what is drawn from.
        rng: draws.
        violation: see :data:`Violation`.
    """

    def __init__(self, space: SearchSpace, rng: random.Random, violation: Violation) -> None:
        self.space, self.rng, self.violation, self._tight = space, rng, violation, False

    def first(self, wanted: Callable[[Arch], bool] = lambda arch: True) -> Arch | None:
        """The next that is within the budget and ``wanted``; None if none is found (:data:`MAX_MOVED`)."""
        for _ in range(0 if self._tight else MAX_DRAWS):
            arch = self.space.sample(self.rng)
            if wanted(arch) and not self.violation(arch):
                return arch
        self._tight = True
        for _ in range(MAX_MOVED):
            arch = moved(self.space, self.space.sample(self.rng), self.rng, self.violation)
            if wanted(arch) and not self.violation(arch):
                return arch
        return None


def moved(space: SearchSpace, arch: Arch, rng: random.Random, violation: Violation) -> Arch:
    """``arch`` changed in one choice after another, in random order, each time to a random value that brings it nearer
    to the budget, until it is within or no change of a single choice brings it nearer."""
    outside, stuck = violation(arch), False
    while outside and not stuck:
        stuck = True
        for choice in rng.sample(space.open, len(space.open)):
            for value in rng.sample(choice.values, len(choice)):
                other = arch.replace({choice.name: value})
                if (found := violation(other)) < outside:
                    arch, outside, stuck = other, found, False
                    break
            if not outside:
                break
    return arch


def unmet(budget: Mapping[str, object]) -> str:
    """What an error says of a budget that nothing was found for."""
    return (
        f'budget: found {dict(budget)}, which none of {MAX_DRAWS:,} random architectures meets, nor one of {MAX_MOVED} '
        'further that were moved towards it; expected a wider one'
    )
