"""Scoring candidates with inherited weights, and random search among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.utils import track_iter_progress

from mmnas_video.datasets import derive_seed
from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch

from .indicator import Likelihood, VideoAccuracy
from .population import MAX_DRAWS
from .stream import BatchStream
from .task_streams import TaskStreams, is_joint
from .weighted import sum_over_ranks

if TYPE_CHECKING:
    from .base import SearchHook


class CandidateScorer:
    """Score of architectures with inherited weights on one fixed set of held-out clips.

    Every candidate sees the same clips, after its BatchNorm statistics have been recalibrated. Of several named
    datasets (``JointDataset``) the score is the mean of each one's, whatever their sizes.

    Args:
        hook: the search.
        batches: number of held-out batches, of each dataset; a held-out part that has fewer is scored on once.
        indicator: what is measured; by default top-1 accuracy.
    """

    def __init__(self, hook: SearchHook, batches: int, indicator: VideoAccuracy | Likelihood | None = None) -> None:
        self.hook, self.indicator = hook, indicator or VideoAccuracy()
        self._batches = held_out_batches(hook, batches)

    def __call__(self, arch: Arch | Mixture) -> float:
        """The score: accuracy in 0..1, or what the indicator says."""
        scores = self.measure(arch)
        return sum(scores.values()) / len(scores)

    @torch.no_grad()
    def measure(self, arch: Arch | Mixture) -> dict[str, float]:
        """The score on each dataset, over all ranks; the name is empty where there is only one."""
        sums: list[float] = []
        with self.hook.inherited(arch):
            training = self.hook.bare.training
            self.hook.bare.eval()
            for batches in self._batches.values():
                pairs = [self.indicator.measure(self.hook.bare, self.hook.prepare(dict(batch))) for batch in batches]
                sums += [sum(total for total, _ in pairs), sum(count for _, count in pairs)]
            self.hook.bare.train(training)
        sums = sum_over_ranks(sums, next(self.hook.bare.parameters()).device)
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return {
            name: self.indicator.score(total, int(count))
            for name, (total, count) in zip(self._batches, pairs, strict=True)
        }


def held_out_batches(hook: SearchHook, batches: int) -> dict[str, list[dict[str, Any]]]:
    """The first so many batches of each held-out dataset, at most one pass; the clips are kept as they were decoded."""
    args = (hook.held_out_cfg, hook.seed, 'candidates', 'arch_dataloader')
    streams = TaskStreams(*args).streams if is_joint(hook.held_out_cfg) else {'': BatchStream(*args)}
    found: dict[str, list[dict[str, Any]]] = {}
    for name, stream in streams.items():
        whole = len(stream.loader.sampler) // stream.loader.batch_size
        if whole < batches:
            hook.runner.logger.warning(
                f'arch_dataloader{name and "." + name}: found {max(whole, 1)} held-out batches of '
                f'{stream.loader.batch_size} clips, expected {batches}; candidates are scored on these'
            )
        found[name] = [next(stream) for _ in range(min(batches, max(whole, 1)))]
        stream.close()
    return found


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
    archs = [sample_admitted(hook, rng) for _ in range(candidates)]
    drawn = list({hook.searchable.canonical(arch): arch for arch in archs}.values())
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
