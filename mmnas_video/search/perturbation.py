"""Choosing an architecture from a mixture: by what its removal costs, or by the largest weight.

Source: Wang et al., "Rethinking Architecture Selection in Differentiable NAS", ICLR 2021 (darts-pt); VIM-NAS, Sec. 3.1
and Supp. B: the strength of an operation in the network is what the accuracy loses without it, not its α.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, SearchSpace, Value

#: Choice name to its weights (K,) as they are now; asked again after every tuning, because α may have moved.
Weights = Callable[[], Mapping[str, Tensor]]
#: Held-out accuracy (or anything that should be large) of the network under a mixture. One with a method ``score_all``
#: is given those of a choice together, which several ranks may share.
Score = Callable[[Mixture], float]
#: Trains the network a little while the mixture is what is run; the mixture is made anew at every call of its argument.
Tune = Callable[[Callable[[], Mixture]], None]


def argmax_arch(space: SearchSpace, weights: Mapping[str, Tensor]) -> Arch:
    """The value with the largest weight in every choice (the first of equals): selection as in DARTS."""
    indices = [0 if choice.single else int(weights[choice.name].argmax()) for choice in space]
    return space.decode(indices)


def masked(weights: Tensor, index: int) -> Tensor:
    """The weights (K,) with one of them exactly 0 and the others as they are: not renormalised."""
    kept = torch.ones_like(weights)
    kept[index] = 0
    return weights * kept


class PerturbationSelection:
    """Fixes the open choices of a space one by one, in a seeded order.

    For a choice with weights p every value is masked in turn (its weight exactly 0, the others unchanged); the value
    without which the score is lowest is kept: from then on the choice is one-hot. Choices that are still open stay
    mixed. Of equal scores the value with the larger weight is kept; one whose weight is 0 is not in the network, so it
    is neither masked nor kept. A choice that does nothing any more (of a layer beyond the depth that has been fixed)
    keeps its largest weight, and nothing is scored.

    Args:
        space: what is chosen in.
        weights: see :data:`Weights`.
        rng: draws the order; nothing else is drawn.
        feasible: whether an architecture within the budget is left when choices are fixed so (name to value); a value
            with which none is left is not kept, unless that holds for all of them.
        occurrence: weights of a mixture as they count, see :meth:`~mmnas_video.entangle.Searchable.occurrence`.
        most: so many choices are fixed, the others are by their largest weight; None for all.
    """

    def __init__(
        self,
        space: SearchSpace,
        weights: Weights,
        rng: random.Random,
        feasible: Callable[[Mapping[str, Value]], bool] = lambda fixed: True,
        occurrence: Callable[[Mixture], Mapping[str, Tensor]] = lambda mixture: mixture,
        most: int | None = None,
    ) -> None:
        self.space, self.weights, self.feasible, self.occurrence = space, weights, feasible, occurrence
        self.order = [choice.name for choice in space.open]
        rng.shuffle(self.order)
        self.most = most
        self.fixed: dict[str, Value] = {}

    # ------------------------------------------------------------------ where it stands
    @property
    def current(self) -> str | None:
        """The choice that is next to be fixed; None at the end."""
        return next((name for name in self.order[: self.most] if name not in self.fixed), None)

    @property
    def arch(self) -> Arch:
        """The architecture: what has been fixed, and the largest weight elsewhere."""
        return Arch({**argmax_arch(self.space, self.weights()), **self.fixed})

    def mixture(self, replaced: Mapping[str, Tensor] | None = None) -> Mixture:
        """The weights as they are now, one-hot where a value has been fixed.

        Args:
            replaced: weights that take the place of these, as a choice with a masked value.
        """
        weights = {name: vector for name, vector in self.weights().items() if name in self.order}
        for name, value in self.fixed.items():
            weights[name] = torch.zeros_like(weights[name])
            weights[name][self.space[name].index(value)] = 1
        return Mixture(self.space, {**weights, **(replaced or {})})

    # ------------------------------------------------------------------ one choice
    def drops(self, name: str, score: Score) -> list[float | None]:
        """The score without each value of a choice, in the order of its values; None for one that has no weight."""
        weights = self.weights()[name].detach()
        known = weights.tolist()
        found: list[float | None] = [None] * len(known)
        mixtures: dict[int, Mixture] = {}
        for index in (i for i, weight in enumerate(known) if weight):
            if any(known[:index] + known[index + 1 :]):
                mixtures[index] = self.mixture({name: masked(weights, index)})
            else:  # with nothing left there is no network to score
                found[index] = -math.inf
        score_all = getattr(score, 'score_all', lambda several: [score(mixture) for mixture in several])
        for index, value in zip(mixtures, score_all(list(mixtures.values())), strict=True):
            found[index] = value
        return found

    def fix_next(self, score: Score) -> dict[str, Any]:
        """Fix the next choice.

        Returns:
            What happened, as plain data: ``choice``, ``value``, ``without`` (the score without each value; all None
            where the choice does nothing) and ``weights``.

        Raises:
            ConfigError: all are fixed.
        """
        name = self.current
        if name is None:
            raise ConfigError(f'perturbation: found all {len(self.fixed)} choices fixed, expected one that is open')
        weights = self.weights()[name].detach().tolist()
        idle = not self.occurrence(self.mixture())[name].any()
        without = [None] * len(weights) if idle else self.drops(name, score)
        # A score that is no number counts as the lowest: without this value the network is broken.
        scores = [math.inf if found is None else -math.inf if math.isnan(found) else found for found in without]
        values = self.space[name].values
        over = [not self.feasible({**self.fixed, name: value}) for value in values]
        keys = list(zip(over, scores, (-weight for weight in weights), strict=True))
        value = values[min(range(len(keys)), key=keys.__getitem__)]
        self.fixed[name] = value
        return {'choice': name, 'value': value, 'without': without, 'weights': weights}

    # ------------------------------------------------------------------ checkpoints
    def state_dict(self) -> dict[str, Any]:
        """The order, and what has been fixed, as plain data."""
        return {'order': list(self.order), 'fixed': dict(self.fixed)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises:
            ConfigError: the state is of other choices.
        """
        if sorted(state['order']) != sorted(self.order):
            raise ConfigError(
                f'resume: found a selection among {len(state["order"])} other choices, expected the {len(self.order)} '
                f'open choices of {self.space.name!r}'
            )
        self.order, self.fixed = list(state['order']), dict(state['fixed'])


def select_by_perturbation(
    selection: PerturbationSelection,
    score: Score,
    tune: Tune | None = None,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
    keep: Callable[[], None] = lambda: None,
) -> Arch:
    """Fix all choices, tuning after each but the last and those that do nothing; goes on where ``selection`` stands.

    Args:
        selection: the state; after a resume with some choices fixed.
        score: see :data:`Score`.
        tune: see :data:`Tune`; None tunes nothing.
        report: told of each choice what :meth:`PerturbationSelection.fix_next` returns (a line of the history).
        keep: called when all that belongs to a choice is done: from there another process may go on.
    """
    while selection.current is not None:
        line = selection.fix_next(score)
        report(line)
        changed = any(found is not None for found in line['without'])
        if tune is not None and changed and selection.current is not None:
            tune(selection.mixture)
        keep()
    return selection.arch
