"""Scoring candidates with inherited weights, and random search among them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_rank, get_world_size

from mmnas_video.datasets import derive_seed
from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError, check_number
from mmnas_video.space import Arch

from .admitted import Draws, unmet
from .indicator import Likelihood, VideoAccuracy, read
from .kept_scores import KeptScores
from .over_ranks import sum_over_ranks
from .shared_clips import load_together
from .stream import BatchStream
from .task_streams import TaskStreams, is_joint
from .told import told

if TYPE_CHECKING:
    from .base import SearchHook


#: Bytes of prepared clips (4 a value, where decoded ones have 1) that are kept from one candidate to the next.
KEPT_READY = 2**30


class CandidateScorer:
    """Score of architectures with inherited weights on one fixed set of held-out clips.

    Every candidate sees the same clips, after its BatchNorm statistics have been recalibrated. Of several named
    datasets (``JointDataset``) the score is the mean of each one's, whatever their sizes, or what the hook's
    ``score_weights`` make of them.

    Several ranks share the work: of many candidates each has some (:meth:`score_all`), of a single one some batches.
    All ranks see all clips, so a score does not depend on their number. The ranks of a machine decode these together
    and keep them once (:mod:`~.shared_clips`); from one machine to another go nothing but scores.

    Args:
        hook: the search.
        batches: number of held-out batches, of each dataset, on all ranks together; a held-out part that has fewer is
            scored on once.
        indicator: what is measured; by default top-1 accuracy (hit@1 of several labels).
    """

    def __init__(self, hook: SearchHook, batches: int, indicator: VideoAccuracy | Likelihood | None = None) -> None:
        self.hook, self.indicator = hook, indicator or VideoAccuracy()
        self._weights = hook.score_weights or {}
        self._batches = held_out_batches(hook, batches)
        self._ready: dict[int, dict[str, Any]] = {}
        self._room = KEPT_READY
        #: Candidates that the last :meth:`score_all` has run.
        self.scored = 0

    def __call__(self, arch: Arch | Mixture) -> float:
        """The score: accuracy in 0..1, or what the indicator says."""
        return self._mean(self.measure(arch))

    def score_all(self, archs: Sequence[Arch | Mixture], kept: KeptScores | None = None) -> list[float]:
        """The score of each, in their order. Every rank calls this with the same candidates and gets all scores.

        Candidates that are the same network are scored once. A mixture is only itself.

        Args:
            archs: the candidates.
            kept: architectures whose score it knows are not run, and the others' are kept in it, as soon as they are
                known.
        """
        canonical = self.hook.searchable.canonical
        keys = [id(arch) if isinstance(arch, Mixture) else canonical(arch) for arch in archs]
        first = dict(zip(reversed(keys), reversed(archs), strict=True))
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        distinct = [first[key] for key in numbers]
        if get_world_size() > 1 and len(distinct) == 1:
            scores = [self(arch) for arch in distinct]
        else:
            scores = self._dealt(distinct, kept)
        return [scores[numbers[key]] for key in keys]

    def _dealt(self, archs: Sequence[Arch | Mixture], kept: KeptScores | None) -> list[float]:
        """The scores of different candidates, each run by one rank, which says them to all."""
        width, ranks, logger = 2 * len(self._batches), get_world_size(), self.hook.runner.logger
        names = [self.hook.space.encode(arch) for arch in archs] if kept else list(range(len(archs)))
        known = kept.read() if kept else {}
        todo = [number for number, name in enumerate(names) if name not in known]
        if len(todo) < len(archs):
            logger.info(f'Scored candidates: {len(archs) - len(todo)} of {len(archs)} by the run that was cut short')
        costs = [1 if isinstance(archs[n], Mixture) else self.hook.cost(archs[n]).macs or 1 for n in todo]
        own = [todo[i] for i in deal(costs, ranks)[get_rank()]] if ranks > 1 else todo
        table = [0.0] * width * len(archs)
        for number in told(own, 'Scored candidates' + ", the first rank's share" * (ranks > 1), logger):
            sums = self._sums(archs[number], self._batches)
            table[number * width : (number + 1) * width] = sums
            if kept:
                kept.add(names[number], sums)
        if kept:
            kept.close()
        table = sum_over_ranks(table, self.hook.device)
        parts = [table[low : low + width] for low in range(0, len(table), width)]
        self.scored = len(todo)
        return [self._mean(self._scores(known.get(name, sums))) for name, sums in zip(names, parts, strict=True)]

    def measure(self, arch: Arch | Mixture) -> dict[str, float]:
        """The score on each dataset; the name is empty where there is only one. Every rank calls this."""
        rank, ranks = get_rank(), get_world_size()
        sums = self._sums(arch, {name: batches[rank::ranks] for name, batches in self._batches.items()})
        return self._scores(sum_over_ranks(sums, self.hook.device))

    @torch.no_grad()
    def _sums(self, arch: Arch | Mixture, parts: Mapping[str, Sequence[dict[str, Any]]]) -> list[float]:
        """Sum and count of what the indicator measures on some batches of each dataset, one after the other."""
        if not any(parts.values()):
            return [0.0] * 2 * len(parts)
        sums: list[float] = []
        with self.hook.inherited(arch):
            training = self.hook.bare.training
            self.hook.bare.eval()
            for batches in parts.values():
                pairs = read([self.indicator.measure(self.hook.bare, self._prepared(batch)) for batch in batches])
                sums += [sum(total for total, _ in pairs), sum(count for _, count in pairs)]
            self.hook.bare.train(training)
        return sums

    def _prepared(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch on the model's device, normalised: once for all candidates, where there is room to keep it."""
        if id(batch) not in self._ready:
            ready = self.hook.prepare(dict(batch))
            size = ready['inputs'].numel() * ready['inputs'].element_size()
            if size > self._room:
                return ready
            self._room -= size
            self._ready[id(batch)] = ready
        return dict(self._ready[id(batch)])

    def _mean(self, scores: Mapping[str, float]) -> float:
        weights = [self._weights.get(name, 1.0) for name in scores]
        return sum(weight * score for weight, score in zip(weights, scores.values(), strict=True)) / sum(weights)

    def _scores(self, sums: Sequence[float]) -> dict[str, float]:
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return {
            name: self.indicator.score(total, int(count))
            for name, (total, count) in zip(self._batches, pairs, strict=True)
        }


def deal(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """The numbers of some works for each rank, so that all are done at about the same time.

    The dearest first, each to the rank that has the least so far: at most one work more than the mean.
    """
    hands: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0.0] * ranks
    for number in sorted(range(len(costs)), key=lambda i: -costs[i]):
        rank = loads.index(min(loads))
        hands[rank].append(number)
        loads[rank] += costs[number]
    return hands


def held_out_batches(hook: SearchHook, batches: int) -> dict[str, list[dict[str, Any]]]:
    """The first so many batches of each held-out dataset that counts, at most one pass; the clips are kept as they were
    decoded. Every rank has to call this.

    Raises:
        ConfigError: on all ranks: too many clips cannot be read.
    """
    args = (hook.scoring_cfg, hook.seed, 'candidates', 'arch_dataloader', hook.max_bad_share)
    if is_joint(hook.scoring_cfg):
        streams = TaskStreams(*args, shared=False).streams
    else:
        streams = {'': BatchStream(*args, shared=False)}
    streams = {name: stream for name, stream in streams.items() if (hook.score_weights or {}).get(name, 1.0)}
    counts: dict[str, int] = {}
    for name, stream in streams.items():
        whole = len(stream.loader.sampler) // stream.loader.batch_size
        if whole < batches:
            hook.runner.logger.warning(
                f'arch_dataloader{name and "." + name}: found {max(whole, 1)} held-out batches of '
                f'{stream.loader.batch_size} clips, expected {batches}; candidates are scored on these'
            )
        counts[name] = min(batches, max(whole, 1))
    return load_together(streams, counts, hook.runner.logger)


def check_score_weights(hook: SearchHook) -> None:
    """Refuse weights of scores that say nothing, or nothing of the held-out data.

    Raises:
        ConfigError: data that is not joint, a name that no dataset has, a weight that is no number from 0, all 0.
    """
    weights = hook.score_weights
    if weights is None:
        return
    key, held_out = f'{type(hook).__name__}.score_weights', hook.held_out
    if not isinstance(weights, Mapping):
        raise ConfigError(f'{key}: found {weights!r}, expected names of datasets with their weights, dict(image=2.0)')
    if not isinstance(held_out, TaskStreams):
        raise ConfigError(f'{key}: found {weights!r} with data of one dataset, expected none: it is for a JointDataset')
    for name, weight in weights.items():
        if name not in held_out.tasks:
            raise ConfigError(f'{key}: found the name {name!r}, expected one of {", ".join(held_out.tasks)}')
        check_number(f'{key}.{name}', weight, whole=False)
    if not any(weights.get(name, 1.0) for name in held_out.tasks):
        raise ConfigError(f'{key}: found 0 for every dataset, expected a positive weight of at least one')


def sample_admitted(hook: SearchHook, rng: random.Random, count: int) -> list[Arch]:
    """Architectures drawn uniformly from those that the budget admits; where chance finds none, some that were moved to
    it (:mod:`~.admitted`).

    Raises:
        ConfigError: none was found.
    """
    draws = Draws(hook.space, rng, hook.violation)
    found = [draws.first() for _ in range(count)]
    if None in found:
        raise ConfigError(unmet(hook.budget.to_dict()))
    return found


def random_search(hook: SearchHook, candidates: int, batches: int) -> Arch:
    """The best of some random architectures under the budget, by inherited weights; all go to the history."""
    rng = random.Random(derive_seed(hook.seed, 'candidates'))
    score = CandidateScorer(hook, batches)
    archs = sample_admitted(hook, rng, candidates)
    drawn = list({hook.searchable.canonical(arch): arch for arch in archs}.values())
    scores = score.score_all(drawn, KeptScores(hook.runner))
    record_candidates(hook, drawn, scores)
    return drawn[max(range(len(drawn)), key=scores.__getitem__)]


def record_candidates(hook: SearchHook, archs: Sequence[Arch], scores: Sequence[float], **more: Any) -> None:
    """A line of the history for each, with ``more`` at its end."""
    if hook.record:
        for arch, score in zip(archs, scores, strict=True):
            indices, cost = list(hook.space.encode(arch)), hook.cost(arch)._asdict()
            hook.record.append({'kind': 'candidate', 'arch': indices, 'score': score, **cost, **more})
