"""PARSEC: probabilistic architecture search with importance-weighted samples.

Source: Casale, Gordon, Fusi, "Probabilistic Neural Architecture Search", 2019; AutoX3D (WACV 2022), Sec. 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.entangle import batch_statistics, has_synced_norms
from mmnas_video.errors import ConfigError, check_number, check_one_of, refuse_unknown
from mmnas_video.registry import HOOKS, TASK_UTILS
from mmnas_video.space import Arch, SearchSpace

from .alpha_optimizer import build_alpha_optimizer
from .base import SearchHook
from .distribution import ArchDistribution, score_term
from .generators import generator_states, set_generator_states
from .indicator import batch_loss, read
from .loss_scale import scaled_loss
from .over_ranks import fill_gradients, sum_over_ranks
from .weighted import WeightedGradient, effective_sample_size
from .work import Work

#: Option to the values that it has.
VALUES = {'mode': ('joint', 'alternating'), 'cost_term': ('weight', 'score'), 'rank_archs': ('same', 'own')}
#: When it is warned of a collapse; see ``collapse_guard``.
GUARD = {'entropy': 0.05, 'macs': 0.8}


@HOOKS.register_module()
class PARSECSearchHook(SearchHook):
    """Learn p(A|α) over architectures together with the shared weights ω.

    Every update draws A_1..K ~ p(A|α). On held-out data w_k = lik_k / Σ lik gives α the gradient
    Σ_k w_k ∇ log p(A_k|α); on the training batch w_k = lik_k / Σ lik gives ω the gradient Σ_k w_k ∇ log p(y|A_k), in
    one pass and with the memory of a single architecture. The cost hinge of Eq. 2, c_k = max(cost_k - T, 0) / T (of a
    lower bound the share that is lacking, max(T - cost_k, 0) / T), does not depend on ω; it moves α

    - with ``cost_term='weight'`` through the weights, w_k ∝ lik_k · exp(-λ c_k): Eq. 2 added to the loss of each clip
      (where the likelihood is summed over a batch, so is λ c_k);
    - with ``cost_term='score'`` through the score function, λ Σ_k (c_k - mean c) ∇ log p(A_k|α) / K, whatever the
      likelihoods' scale.

    On several ranks (``rank_archs='same'``) every rank runs all K architectures on its part of a batch, and their
    log-likelihoods are summed over the ranks before they become weights: exactly what one rank would do with the whole
    batch. With ``'own'`` the K are dealt out, so that an update costs each rank K / ranks architectures. That is
    another estimator, and its result depends on the number of ranks:

    - an architecture is scored and trained on one rank's part of the batch, so two of them are compared on different
      clips, and what differs between the clips counts as if the architectures did;
    - a log-likelihood that is summed (``reduction='sum'``) is of so many times fewer clips, and the weights so much
      closer to uniform (the logged effective sample size says how close);
    - in the alternating mode each training step has as many architectures as there are ranks;
    - BatchNorm statistics are each rank's own: ``sync_bn`` is refused.

    Args:
        num_archs: K, on all ranks together. One would make every weight 1 and the gradient of α pure noise: refused.
        mode: ``'joint'`` as above, or ``'alternating'``: one architecture per training step, and an update of α from K
            architectures every K steps (about K times cheaper).
        indicator: what an architecture is weighted by, see :mod:`~mmnas_video.search.indicator`.
        cost_weight: λ, in nats a clip for twice the target, 0 for none.
        cost_term: ``'weight'`` or ``'score'``.
        arch_optimizer: optimiser of α (Sec. 5.1.2: Adam, 0.02, no decay).
        warmup_epochs: epochs in which the weights are trained on uniformly drawn architectures and α stays as it is;
            with an IterBasedTrainLoop, which counts none, refused.
            None in the paper; in short searches it keeps α from settling on what trains fastest.
        control_variate: subtract the plain mean of ∇ log p(A_k|α), which is zero in expectation: the same gradient with
            less noise. Off in the paper.
        rank_archs: ``'same'`` on all ranks, or each its ``'own'``.
        collapse_guard: warn when the mean entropy per choice (nats) falls below ``entropy`` while the most probable
            architecture costs less than ``macs`` times the target.
        **kwargs: see :class:`~mmnas_video.search.base.SearchHook`.

    Raises:
        ConfigError: K < 2, or an option (or key of ``collapse_guard``) that is unknown or has no such value; in
            ``before_run`` also a ``JointDataset``: one α is not scored on several data sets at once.
    """

    takes_joint_data = False
    dry_options: ClassVar[Mapping[str, int]] = {**SearchHook.dry_options, 'warmup_epochs': 0}

    def __init__(
        self,
        num_archs: int = 13,
        mode: str = 'joint',
        indicator: Mapping[str, Any] | None = None,
        cost_weight: float = 1.0,
        cost_term: str = 'weight',
        arch_optimizer: Mapping[str, Any] | None = None,
        warmup_epochs: int = 0,
        control_variate: bool = False,
        rank_archs: str = 'same',
        collapse_guard: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        why = ': with K = 1 every importance weight is 1 and the architecture gradient carries no information'
        check_number('PARSECSearchHook.num_archs', num_archs, 2, why=why)
        check_number('PARSECSearchHook.warmup_epochs', warmup_epochs)
        check_number('PARSECSearchHook.cost_weight', cost_weight, whole=False)
        for key, value in {'mode': mode, 'cost_term': cost_term, 'rank_archs': rank_archs}.items():
            check_one_of(f'PARSECSearchHook.{key}', value, VALUES[key])
        self.num_archs, self.mode, self.rank_archs = num_archs, mode, rank_archs
        self.cost_weight, self.cost_term = cost_weight, cost_term
        self.indicator = TASK_UTILS.build(dict(indicator or dict(type='Likelihood')))
        self.held_out_clips = getattr(self.indicator, 'num_clips', None)
        self.arch_optimizer = dict(arch_optimizer or dict(type='Adam', lr=0.02, weight_decay=0))
        self.control_variate, self.warmup_epochs = control_variate, warmup_epochs
        refuse_unknown('PARSECSearchHook.collapse_guard', collapse_guard, GUARD)
        self.guard = {**GUARD, **(collapse_guard or {})}
        for key, value in self.guard.items():
            check_number(f'PARSECSearchHook.collapse_guard.{key}', value, whole=False)
        self._scores: list[float] = []

    def setup(self, runner: Runner) -> None:
        """Build α (zeros: every architecture equally likely) and its optimiser."""
        if self.apart:
            self._check_ranks()
        self.distribution = ArchDistribution(self.space)
        self.alpha_optimizer = build_alpha_optimizer(self.arch_optimizer, self.distribution.alpha, runner)

    @property
    def apart(self) -> bool:
        """Whether ranks run different architectures."""
        return self.rank_archs == 'own' and get_world_size() > 1

    def _check_ranks(self) -> None:
        if self.num_archs < (ranks := get_world_size()):
            raise ConfigError(
                f"PARSECSearchHook.num_archs: found {self.num_archs} with rank_archs='own' on {ranks} ranks, expected "
                'at least as many: each rank runs some of them'
            )
        if has_synced_norms(self.bare):
            raise ConfigError(
                "PARSECSearchHook.rank_archs: found 'own' with sync_bn, expected 'same': ranks that run different "
                'architectures have no statistics in common'
            )

    def _mine(self, count: int) -> range:
        """Which of so many architectures this rank runs."""
        return range(get_rank(), count, get_world_size()) if self.apart else range(count)

    def complete_gradients(self) -> None:
        """Average over the ranks, also of parameters that only some ranks' architectures have."""
        if self.apart:
            fill_gradients([p for p in self.bare.parameters() if p.requires_grad])
        super().complete_gradients()

    # ------------------------------------------------------------------ one step
    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Weights and α, or in the alternating mode weights and every K-th time α."""
        warm = self.runner.epoch < self.warmup_epochs  # α is still zero: what is drawn from it is uniform
        if self.mode == 'joint':
            archs = self._draw(self.num_archs)
            weights, scores = (None, []) if warm else self._arch_step(archs, optim_wrapper)
            logged = self._weight_step(archs, weights, batch, optim_wrapper)
        else:
            drawn = self._draw(get_world_size() if self.apart else 1)
            mine = [drawn[i] for i in self._mine(len(drawn))]
            logged = self.sampled_step(mine, batch, optim_wrapper, drawn if self.apart else None)
            if warm or (self.runner.iter + 1) % self.num_archs:
                return logged
            archs = self._draw(self.num_archs)
            weights, scores = self._arch_step(archs, optim_wrapper)
        if not warm:
            self._log(archs, scores, weights, logged)
            logged['arch_score'] = torch.tensor(sum(scores) / len(scores))
        return logged

    def _draw(self, count: int) -> list[Arch]:
        return [self.distribution.sample(self.rng) for _ in range(count)]

    def _penalties(self, archs: Sequence[Arch], clips: int) -> list[float]:
        """What the cost takes off each log-weight, for scores on so many clips."""
        weight = self.cost_weight * self.indicator.scale(clips) if self.cost_term == 'weight' else 0.0
        return [weight * self.violation(arch) for arch in archs]

    @torch.no_grad()
    def score(self, archs: Sequence[Arch], optim_wrapper: OptimWrapper) -> tuple[list[float], int]:
        """Score of each architecture on the next held-out batch, and the clips that it has seen.

        BatchNorm uses the batch's statistics and writes none.
        """
        held_out = self.prepare(next(self.held_out))
        pairs, found = [0.0] * 2 * len(archs), []
        with batch_statistics(self.bare), optim_wrapper.optim_context(self.bare):
            for k in self._mine(len(archs)):
                with self.searchable.use(archs[k]):
                    found.append(self.indicator.measure(self.bare, held_out))
        for k, pair in zip(self._mine(len(archs)), read(found), strict=True):
            pairs[2 * k : 2 * k + 2] = pair
        pairs = sum_over_ranks(pairs, self.device)
        return [
            self.indicator.score(total, int(count)) for total, count in zip(pairs[::2], pairs[1::2], strict=True)
        ], int(pairs[1])

    def _arch_step(self, archs: Sequence[Arch], optim_wrapper: OptimWrapper) -> tuple[Tensor, list[float]]:
        """Update α; returns the importance weights (K,) and the scores."""
        scores, clips = self.score(archs, optim_wrapper)
        penalties = torch.tensor(self._penalties(archs, clips), dtype=torch.float64)
        log_weights = self.indicator.log_weights(scores) - penalties
        weights = log_weights.masked_fill(~log_weights.isfinite(), -torch.inf).softmax(0)
        self.finite.note('score', [arch for arch, score in zip(archs, scores, strict=True) if not math.isfinite(score)])
        if weights.isfinite().all():
            self.alpha_optimizer.zero_grad()
            self.arch_loss(archs, weights).backward()
            self.alpha_optimizer.step()
        self._scores.extend(score for score in scores if math.isfinite(score))
        return weights, scores

    def arch_loss(self, archs: Sequence[Arch], weights: Tensor) -> Tensor:
        """Scalar whose gradient in α is that of PARSEC's objective, to be descended."""
        log_probs = self.distribution.log_prob(archs)
        coefficients = weights - (1 / len(archs) if self.control_variate else 0.0)
        loss = -(coefficients * log_probs).sum()
        if self.cost_term == 'score':
            loss = loss + self.cost_weight * score_term(log_probs, [self.violation(arch) for arch in archs])
        return loss

    def _weight_step(
        self, archs: Sequence[Arch], weights: Tensor | None, batch: dict[str, Any], optim_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        """Update ω with the importance-weighted gradient of all K architectures."""
        gradient = WeightedGradient(self.bare.parameters())
        generators = generator_states(self.bare)
        logged: list[dict[str, Tensor]] = []
        if weights is None:
            weights = torch.full((len(archs),), 1 / len(archs), dtype=torch.float64)
        known = None if self.indicator.from_training_loss else weights.log().tolist()
        table, bad = [0.0] * len(archs), [0.0] * len(archs)
        for k in self._mine(len(archs)):
            arch, table[k] = archs[k], -math.inf
            set_generator_states(generators)  # the K architectures share the dropout mask
            with self.searchable.use(arch), optim_wrapper.optim_context(self.bare):
                loss, values = batch_loss(self.bare, batch)
            values = {key: value.detach() for key, value in values.items()}
            clips = len(batch['data_samples'])
            total, count = self._over_ranks([-float(loss.detach()) * clips, clips], shards=True)
            penalty = self._penalties([arch], int(count))[0]
            log_weight = known[k] if known else self.indicator.score(total, int(count)) - penalty
            if not (math.isfinite(total) and math.isfinite(log_weight)):
                # Known weights may be 0 (no video right): nothing to learn from, and no fault.
                bad[k] = float(not math.isfinite(total) or math.isnan(log_weight))
                loss = loss.detach()  # or its graph would stay beside the next architecture's
                continue
            logged.append(values)
            table[k] = log_weight
            loss = optim_wrapper.scale_loss(loss) * gradient.add(log_weight)
            scaled_loss(loss, optim_wrapper).backward()
        found = self._over_ranks([*table, *bad], shards=False)
        table, bad = found[: len(archs)], found[len(archs) :]
        self.finite.note('loss', [arch for arch, one in zip(archs, bad, strict=True) if one])
        used = gradient.finish(table, get_world_size() if self.apart else 1)
        self.finish_step(optim_wrapper, archs)
        logged = logged or [values]  # of the last architecture, where none was of use
        mean = {k: torch.stack([v[k].float() for v in logged]).mean() for k in logged[0]}
        return {**mean, 'ess': torch.tensor(effective_sample_size(used))}

    def _over_ranks(self, values: Sequence[float], shards: bool) -> list[float]:
        """The values of all ranks together: where all run one architecture, sums over their ``shards`` of its batch;
        else what each has of its own ones (0 elsewhere)."""
        return sum_over_ranks(values, self.device) if shards != self.apart else list(values)

    # ------------------------------------------------------------------ what it costs
    def step_work(self, ranks: int) -> list[Work]:
        """The architectures on the training batch, and forward alone on a held-out one."""
        own = self.num_archs / (ranks if self.rank_archs == 'own' else 1)
        joint, clips = self.mode == 'joint', self.held_out_clips or 1
        scored, warm = own if joint else own / self.num_archs, self.warmup_epochs
        return [
            Work('searched', own if joint else 1),
            Work('searched', scored, held_out=True, backward=False, after=warm, clips=clips),
        ]

    def summed_values(self, space: SearchSpace) -> int:
        """Sum and count of each architecture, on held-out and on training data."""
        return 4 * self.num_archs

    # ------------------------------------------------------------------ logging
    def _log(
        self, archs: Sequence[Arch], scores: Sequence[float], weights: Tensor, logged: Mapping[str, Tensor]
    ) -> None:
        if self.record:
            self.record.append(
                {
                    'kind': 'step',
                    'step': self.runner.iter + 1,
                    'epoch': self.runner.epoch + 1,
                    'archs': [list(self.space.encode(arch)) for arch in archs],
                    'scores': list(scores),
                    'macs': [self.cost(arch).macs for arch in archs],
                    'weights': weights.tolist(),
                    'ess': effective_sample_size(weights),
                    'loss': float(logged['loss']),
                }
            )

    def choose(self) -> Arch:
        """The most probable architecture."""
        return self.distribution.most_probable()

    def epoch_summary(self) -> dict[str, Any]:
        """Entropy (nats), probabilities, mean score, and the share of choices whose smallest value leads."""
        return {
            **self.distribution.summary(self.choose()),
            'score': sum(self._scores) / len(self._scores) if self._scores else None,
        }

    def before_train_epoch(self, runner: Runner) -> None:
        """The score is that of the epoch, also of one that is gone on with."""
        if not self._within_epoch:
            self._scores = []
        self._within_epoch = False

    def after_train_epoch(self, runner: Runner) -> None:
        """As every search, and the collapse guard."""
        super().after_train_epoch(runner)
        target, macs = self.budget.macs[1], self.cost(self.choose()).macs
        mean_entropy = sum(self.distribution.entropies().values()) / len(self.space.open)
        if target and mean_entropy < self.guard['entropy'] and macs < self.guard['macs'] * target:
            runner.logger.warning(
                f'The search has settled (mean entropy {mean_entropy:.3f} nats) on a network of '
                f'{macs / 1e6:,.1f} MMACs, far below the target of {target / 1e6:,.1f}: it may have '
                "collapsed (AutoX3D Sec. 4.2; is backbone.sharing 'fair'?)"
            )

    # ------------------------------------------------------------------ checkpoints
    def shared_state(self, runner: Runner) -> dict[str, Any]:
        """Of any search, and before it α."""
        shared = super().shared_state(runner)
        return {'alpha': self.distribution.rows(), **shared} if self.is_set_up else shared

    def state_dict(self) -> dict[str, Any]:
        """α, its optimiser, and the epoch's scores."""
        return {
            **self.distribution.state_dict(),
            'optimizer': self.alpha_optimizer.state_dict(),
            'scores': list(self._scores),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.distribution.load_state_dict(state)
        self.alpha_optimizer.load_state_dict(state['optimizer'])
        self._scores = list(state['scores'])
