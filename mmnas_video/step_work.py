"""What a search method runs in a step, and at its end: which networks, on which data, forward alone or backward too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmnas_video.search import (
    ConflictAwareSearchHook,
    DARTSSearchHook,
    EntanglementSearchHook,
    EvolutionSearchHook,
    PARSECSearchHook,
    SearchHook,
    UniformSearchHook,
)
from mmnas_video.search.drawn import DrawnValues
from mmnas_video.space import SearchSpace


@dataclass(frozen=True)
class Work:
    """Some passes of one kind of network.

    Attributes:
        network: see :meth:`mmnas_video.plan.Networks.macs`.
        count: passes in a step of one rank, each of a batch.
        held_out: whether the batch is a held-out one.
        backward: whether a backward pass follows.
        after: epochs before which there are none.
        clips: of each held-out video.
        every_set: whether each of several named datasets gives such batches in every step, or the step's own alone.
    """

    network: str
    count: float = 1.0
    held_out: bool = False
    backward: bool = True
    after: int = 0
    clips: int = 1
    every_set: bool = False

    def share(self, epochs: int) -> float:
        """Share of the run in which there are such passes."""
        return max(epochs - self.after, 0) / epochs


def work_of(hook: SearchHook | None, ranks: int) -> list[Work]:
    """A step of a search on so many ranks; of a plain training for None.

    Training passes come first, and of these the one that is run most.
    """
    if hook is None:
        return [Work('sampled')]
    table: list[tuple[type, Callable[[Any, int], list[Work]]]] = [
        (EvolutionSearchHook, _evolution),
        (ConflictAwareSearchHook, lambda h, _: [Work('sampled', h.num_archs), Work('largest'), Work('smallest')]),
        (UniformSearchHook, lambda h, _: [Work('sampled', h.num_archs)]),
        (PARSECSearchHook, _parsec),
        (EntanglementSearchHook, _entangled),
        (DARTSSearchHook, _darts),
    ]
    for kind, work in table:
        if isinstance(hook, kind):
            return work(hook, ranks)
    raise TypeError(f'{type(hook).__name__}: what its step runs is not known to the plan')


def _parsec(hook: PARSECSearchHook, ranks: int) -> list[Work]:
    own = hook.num_archs / (ranks if hook.rank_archs == 'own' else 1)
    joint, clips = hook.mode == 'joint', hook.held_out_clips or 1
    trained = own if joint else 1
    scored = own if joint else own / hook.num_archs
    warm = hook.warmup_epochs
    return [Work('searched', trained), Work('searched', scored, held_out=True, backward=False, after=warm, clips=clips)]


def _darts(hook: DARTSSearchHook, ranks: int) -> list[Work]:
    # Second order: the virtual step, and the training loss on either side of the weights (or its second derivative).
    more = [Work('mixed', 3, after=hook.warmup_epochs)] if hook.order == 2 else []
    return [Work('mixed'), *more, Work('mixed', held_out=True, after=hook.warmup_epochs)]


def _entangled(hook: EntanglementSearchHook, ranks: int) -> list[Work]:
    passes = 4 if hook.distribution_gap else 1
    trained = Work('mixed') if hook.weight_mode == 'mixed' else Work('sampled', passes)
    mixed = hook.arch_mode == 'mixed'
    network, count = ('mixed', 1) if mixed else ('sampled', hook.arch_samples)
    return [trained, Work(network, count, held_out=True, backward=mixed, after=hook.warmup_epochs)]


def _evolution(hook: EvolutionSearchHook, ranks: int) -> list[Work]:
    clips = hook.held_out_clips or 1
    candidates = hook.options.population / ranks
    scored = Work('sampled', candidates * hook.eval_batches, True, False, clips=clips, every_set=True)
    return [Work('sampled', 0), scored]


def selection_work(hook: SearchHook | None, space: SearchSpace, ranks: int, epochs: int) -> list[Work]:
    """What comes after epochs and at the end, in the whole run: scores of candidates, and steps between them."""
    if isinstance(hook, UniformSearchHook):
        return [Work('sampled', hook.candidates * hook.score_batches / ranks, True, False)]
    if not isinstance(hook, DARTSSearchHook):
        return []
    network = 'mixed' if hook.score == 'mixture' else 'sampled'
    work = [Work(network, epochs * hook.score_batches / ranks, True, False)]
    if hook.selection == 'perturbation':
        batches = getattr(hook, 'eval_batches', None) or hook.score_batches
        scored = sum(len(choice) for choice in space.open)
        if isinstance(hook, EntanglementSearchHook):  # of choices that are drawn from a few values are looked at
            groups = DrawnValues(space, hook.drawn, 'drawn').groups
            drawn = {row: number for rows, number in groups for row in rows}
            scored = sum(min(len(c), drawn.get(i, len(c))) for i, c in enumerate(space) if not c.single)
        work.append(Work('mixed', scored * batches / ranks, True, False))
        work.append(Work('mixed', hook.tune_iters * max(len(space.open) - 1, 0)))
    return work
