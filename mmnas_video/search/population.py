"""Evolution as ask and tell: which architectures to score next, given the scores so far. Knows no network.

Source: VIM-NAS, Supp. C, Algorithm 2; defaults of the AutoFormer code (Chen et al., ICCV 2021).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmnas_video.cost import Budget, Cost, TimedCost
from mmnas_video.errors import ConfigError, check_number, check_one_of
from mmnas_video.space import Arch, SearchSpace

from .admitted import Draws, unmet
from .nsga2 import crowded_order, non_dominated
from .operators import UNITS, check_probability, cross, mutate, mutation_rates, units_of

#: Whose options these are, for errors.
OWNER = 'EvolutionSearchHook'
#: Children tried for each that is wanted (AutoFormer); parents alike have few new ones.
TRIES = 10
#: Rank of a score that is no number: finite, because distances between ranks are compared.
WORST = 1e300


@dataclass(frozen=True)
class EvolutionOptions:
    """How a generation comes from the one before; what stands here is checked without a space.

    Args:
        population: N, new architectures in a generation.
        top_k: K, the best so far, from which parents are drawn.
        crossover_share: of a generation, children of two parents.
        mutation_share: of a generation, mutated parents. The rest, and what the two cannot fill, is drawn at random:
            with both shares 0 this is random search.
        mutation: pattern of choice names to probability, see :func:`~.operators.mutation_rates`.
        unit: what is crossed and mutated as a whole, one of :data:`~.operators.UNITS`.
        pareto: None for the best score, or the cost (``'macs'``, ``'params'``, ``'latency_ms'``) against which the
            whole front is sought.

    Raises:
        ConfigError: an option without such a value, or a population smaller than top-k.
    """

    population: int = 50
    top_k: int = 10
    crossover_share: float = 0.5
    mutation_share: float = 0.5
    mutation: Mapping[str, float] = field(default_factory=lambda: {'*': 0.2})
    unit: str = 'layer'
    pareto: str | None = None

    def __post_init__(self) -> None:
        for key in ('population', 'top_k'):
            check_number(f'{OWNER}.{key}', getattr(self, key), 1)
        if self.population < self.top_k:
            raise ConfigError(
                f'{OWNER}.population: found {self.population}, expected at least top_k = {self.top_k}: parents '
                'are the best of a whole generation'
            )
        for key in ('crossover_share', 'mutation_share'):
            check_probability(getattr(self, key), f'{OWNER}.{key}')
        if self.crossover_share + self.mutation_share > 1:
            raise ConfigError(
                f'{OWNER}.mutation_share: found {self.mutation_share} beside a crossover_share of '
                f'{self.crossover_share}, expected at most 1 together'
            )
        if not isinstance(self.mutation, Mapping):
            raise ConfigError(
                f"{OWNER}.mutation: found {self.mutation!r}, expected patterns and probabilities, {{'*': 0.2}}"
            )
        for pattern, rate in self.mutation.items():
            check_probability(rate, f'{OWNER}.mutation[{pattern!r}]')
        for key, known in (('unit', UNITS), ('pareto', (None, *TimedCost._fields))):
            check_one_of(f'{OWNER}.{key}', getattr(self, key), known)


@dataclass(frozen=True)
class Candidate:
    """One scored architecture. A score that is no number ranks below all others."""

    arch: Arch
    score: float
    cost: Cost | TimedCost

    @property
    def rank(self) -> float:
        """The score as something to make small."""
        return -self.score if math.isfinite(self.score) else WORST


class Evolution:
    """Algorithm 2 without the scoring: :meth:`ask` for a generation, :meth:`tell` its scores.

    No two architectures that are the same network are ever asked for, and none that the budget does not admit. Parents
    are the top K of all that have been scored (the algorithm's line 8 can be read as those of the last generation only;
    the AutoFormer code keeps the best of all). What a budget that a resume has narrowed does not admit is neither
    parent nor named, unless it admits nothing that has been scored.

    Args:
        space: what is searched.
        options: see :class:`EvolutionOptions`.
        cost: of an architecture.
        budget: what a cost has to be within; the others are never asked for.
        canonical: one architecture for all that are the same network.

    Raises:
        ConfigError: a mutation pattern that fits no choice; see :func:`~.operators.mutation_rates`.
    """

    def __init__(
        self,
        space: SearchSpace,
        options: EvolutionOptions,
        cost: Callable[[Arch], Cost | TimedCost] = lambda arch: Cost(),
        budget: Budget | None = None,
        canonical: Callable[[Arch], Arch] = lambda arch: arch,
    ) -> None:
        self.space, self.options = space, options
        self.cost, self.budget, self.canonical = cost, budget or Budget(), canonical
        self.units = units_of(space, options.unit)
        self.rates = mutation_rates(space, options.mutation, self.units, f'{OWNER}.mutation')
        self.generation = 0
        #: All that has been scored, in order, by canonical architecture.
        self.seen: dict[Arch, Candidate] = {}
        self.parents: list[Candidate] = []
        #: The best score so far, of equals the cheaper; None before the first generation.
        self.best: Candidate | None = None
        self._indices: dict[Arch, list[int]] = {}  # of all that has been scored, as a checkpoint has them

    # ------------------------------------------------------------------ ask
    def ask(self, rng: random.Random) -> list[Arch]:
        """The next generation: new, admitted, all different; fewer than N where there are no more.

        Raises:
            ConfigError: the first generation, if no architecture that is drawn is admitted.
        """
        options, asked = self.options, {}
        if self.parents:
            for share, child in ((options.crossover_share, self._child), (options.mutation_share, self._mutant)):
                count = round(share * options.population)
                self._fill(asked, min(len(asked) + count, options.population), child, rng, TRIES * count)
        random_ones = Draws(self.space, rng, self._violation)
        while len(asked) < options.population:
            arch = random_ones.first(lambda arch: self._is_new(arch, asked))
            if arch is None:
                break
            asked[self.canonical(arch)] = arch
        if not asked and not self.seen:
            raise ConfigError(unmet(self.budget.to_dict()))
        return list(asked.values())

    def _child(self, rng: random.Random) -> Arch:
        first, second = (rng.choice(self.parents).arch for _ in range(2))
        return cross(first, second, rng, self.units)

    def _mutant(self, rng: random.Random) -> Arch:
        return mutate(self.space, rng.choice(self.parents).arch, rng, self.units, self.rates)

    def admits(self, arch: Arch) -> bool:
        """Whether the cost of ``arch`` is within the budget."""
        return not self._violation(arch)

    def _violation(self, arch: Arch) -> float:
        return self.budget.violation(**self.cost(arch)._asdict()) if self.budget.needs else 0.0

    def _fill(
        self,
        asked: dict[Arch, Arch],
        count: int,
        propose: Callable[[random.Random], Arch],
        rng: random.Random,
        tries: int,
    ) -> None:
        """Add what is new and admitted until there are ``count``, or after so many tries."""
        for _ in range(tries):
            if len(asked) >= count:
                return
            arch = propose(rng)
            if self._is_new(arch, asked) and self.admits(arch):
                asked[self.canonical(arch)] = arch

    def _is_new(self, arch: Arch, asked: Mapping[Arch, Arch]) -> bool:
        key = self.canonical(arch)
        return key not in self.seen and key not in asked

    # ------------------------------------------------------------------ tell
    def tell(self, archs: Sequence[Arch], scores: Sequence[float]) -> None:
        """Take the scores of what was asked for, and select the next parents."""
        new = [Candidate(arch, score, self.cost(arch)) for arch, score in zip(archs, scores, strict=True)]
        keys = [self.canonical(arch) for arch in archs]
        self.seen.update(zip(keys, new, strict=True))
        self._indices.update((key, list(self.space.encode(arch))) for key, arch in zip(keys, archs, strict=True))
        self.best = self._leader([*filter(None, [self.best]), *new])
        self.parents = self._best(self._within([*self.parents, *new]), self.options.top_k)
        self.generation += 1

    def _within(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Those that the budget admits; all of them, if it admits none."""
        candidates = list(candidates)
        return [one for one in candidates if self.budget.admits(**one.cost._asdict())] or candidates

    def _best(self, candidates: Sequence[Candidate], count: int) -> list[Candidate]:
        """By score, of equals the cheaper; in Pareto mode by NSGA-II's crowded comparison."""
        if self.options.pareto:
            order = crowded_order([self._point(candidate) for candidate in candidates])
        else:
            order = sorted(range(len(candidates)), key=lambda i: (candidates[i].rank, candidates[i].cost))
        return [candidates[i] for i in order[:count]]

    def _point(self, candidate: Candidate) -> tuple[float, float]:
        return candidate.rank, getattr(candidate.cost, self.options.pareto or 'macs')

    # ------------------------------------------------------------------ what was found
    def _leader(self, candidates: Iterable[Candidate]) -> Candidate | None:
        return min(self._within(candidates), key=lambda candidate: (candidate.rank, candidate.cost), default=None)

    @property
    def front(self) -> list[Candidate]:
        """All that nothing scored so far beats in both score and cost, by rising cost."""
        found = [candidate for candidate in self._within(self.seen.values()) if candidate.rank < WORST]
        front = [found[i] for i in non_dominated([self._point(candidate) for candidate in found])]
        return sorted(front, key=lambda candidate: self._point(candidate)[::-1])

    # ------------------------------------------------------------------ checkpoints
    def state_dict(self) -> dict[str, Any]:
        """Everything but the generator, as plain data."""
        numbers = {key: number for number, key in enumerate(self.seen)}
        return {
            'generation': self.generation,
            'archs': list(self._indices.values()),
            'scores': [candidate.score for candidate in self.seen.values()],
            'parents': [numbers[self.canonical(candidate.arch)] for candidate in self.parents],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        archs = [self.space.decode(indices) for indices in state['archs']]
        found = [Candidate(arch, score, self.cost(arch)) for arch, score in zip(archs, state['scores'], strict=True)]
        self.seen = {self.canonical(candidate.arch): candidate for candidate in found}
        self._indices = dict(zip(self.seen, map(list, state['archs']), strict=True))
        self.best = self._leader(found)
        self.parents = [found[number] for number in state['parents']]
        if not all(self.admits(parent.arch) for parent in self.parents):  # a budget narrowed since
            self.parents = self._best(self._within(found), self.options.top_k)
        self.generation = state['generation']
