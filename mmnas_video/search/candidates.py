"""Scoring candidates with inherited weights, and random search among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from mmengine.utils import track_iter_progress

from mmnas_video.datasets import derive_seed
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch

from .indicator import VideoAccuracy
from .stream import BatchStream
from .weighted import sum_over_ranks

if TYPE_CHECKING:
    from .base import SearchHook

#: Draws per candidate before a budget counts as too narrow to be met by chance.
MAX_DRAWS = 1000


class CandidateScorer:
    """Top-1 accuracy of architectures with inherited weights on one fixed set of held-out clips.

    Every candidate sees the same clips, after its BatchNorm statistics have been recalibrated.

    Args:
        hook: the search.
        batches: number of held-out batches.
    """

    def __init__(self, hook: SearchHook, batches: int) -> None:
        stream = BatchStream(hook.held_out_cfg, hook.seed, 'candidates', 'arch_dataloader')
        self.hook = hook
        self._batches = [next(stream) for _ in range(batches)]
        stream.close()

    @torch.no_grad()
    def __call__(self, arch: Arch) -> float:
        """Accuracy in 0..1."""
        indicator, right, count = VideoAccuracy(), 0.0, 0
        with self.hook.inherited(arch):
            training = self.hook.bare.training
            self.hook.bare.eval()
            for batch in self._batches:
                r, c = indicator.measure(self.hook.bare, self.hook.prepare(dict(batch)))
                right, count = right + r, count + c
            self.hook.bare.train(training)
        right, total = sum_over_ranks([right, count], next(self.hook.bare.parameters()).device)
        return right / total


def sample_admitted(hook: SearchHook, rng: random.Random) -> Arch:
    """One architecture drawn uniformly from those that the budget admits (by rejection).

    Raises:
        ConfigError: none of :data:`MAX_DRAWS` draws was admitted.
    """
    for _ in range(MAX_DRAWS):
        arch = hook.space.sample(rng)
        if not hook.budget.needs or hook.budget.admits(**hook.cost(arch)._asdict()):
            return arch
    raise ConfigError(
        f'budget: found {hook.budget.to_dict()}, which none of {MAX_DRAWS:,} random architectures meets; '
        'expected a wider one (a lower bound far from the middle of the space is rarely met by chance)'
    )


def random_search(hook: SearchHook, candidates: int, batches: int) -> Arch:
    """The best of some random architectures under the budget, by inherited weights; all go to the history."""
    rng = random.Random(derive_seed(hook.seed, 'candidates'))
    score = CandidateScorer(hook, batches)
    drawn: list[Arch] = list(dict.fromkeys(sample_admitted(hook, rng) for _ in range(candidates)))
    scores = [score(arch) for arch in track_iter_progress(drawn)]
    _record(hook, drawn, scores)
    return drawn[max(range(len(drawn)), key=scores.__getitem__)]


def _record(hook: SearchHook, archs: Sequence[Arch], scores: Sequence[float]) -> None:
    if hook.record:
        for arch, score in zip(archs, scores, strict=True):
            hook.record.append(
                {
                    'kind': 'candidate',
                    'arch': list(hook.space.encode(arch)),
                    'score': score,
                    **hook.cost(arch)._asdict(),
                }
            )
