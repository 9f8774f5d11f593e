"""PARSEC: probabilistic architecture search with importance-weighted samples.

Source: Casale, Gordon, Fusi, "Probabilistic Neural Architecture Search", 2019; AutoX3D (WACV 2022), Sec. 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.entangle import batch_statistics
from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS, OPTIMIZERS, TASK_UTILS
from mmnas_video.space import Arch

from .base import SearchHook
from .distribution import ArchDistribution, score_term
from .generators import generator_states, set_generator_states
from .indicator import batch_loss
from .task_streams import TaskStreams
from .weighted import WeightedGradient, effective_sample_size, scaled_loss, sum_over_ranks

MODES = ('joint', 'alternating')
COST_TERMS = ('weight', 'score')


@HOOKS.register_module()
class PARSECSearchHook(SearchHook):
    """Learn p(A|α) over architectures together with the shared weights ω.

    Every update draws A_1..K ~ p(A|α). On held-out data w_k = lik_k / Σ lik gives α the gradient
    Σ_k w_k ∇ log p(A_k|α); on the training batch w_k = lik_k / Σ lik gives ω the gradient Σ_k w_k ∇ log p(y|A_k), in
    one pass and with the memory of a single architecture. The cost hinge of Eq. 2, c_k = max(cost_k - T, 0) / T, does
    not depend on ω; it moves α

    - with ``cost_term='weight'`` through the weights, w_k ∝ lik_k · exp(-λ c_k): Eq. 2 added to the loss of each clip
      (where the likelihood is summed over a batch, so is λ c_k);
    - with ``cost_term='score'`` through the score function, λ Σ_k (c_k - mean c) ∇ log p(A_k|α) / K, whatever the
      likelihoods' scale.

    Args:
        num_archs: K. One would make every weight 1 and the gradient of α pure noise: refused.
        mode: ``'joint'`` as above, or ``'alternating'``: one architecture per training step, and an update of α from K
            architectures every K steps (about K times cheaper).
        indicator: what an architecture is weighted by, see :mod:`~mmnas_video.search.indicator`.
        cost_weight: λ, in nats a clip for twice the target.
        cost_term: ``'weight'`` or ``'score'``.
        arch_optimizer: optimiser of α (Sec. 5.1.2: Adam, 0.02, no decay).
        warmup_epochs: epochs in which the weights are trained on uniformly drawn architectures and α stays as it is.
        None in
            the paper; in short searches it keeps α from settling on what trains fastest.
        control_variate: subtract the plain mean of ∇ log p(A_k|α), which is zero in expectation: the same gradient with
            less noise. Off in the paper.
        collapse_guard: warn when the mean entropy per choice (nats) falls below ``entropy`` while the most probable
            architecture costs less than ``macs`` times the target.
        **kwargs: see :class:`~mmnas_video.search.base.SearchHook`.

    Raises:
        ConfigError: K < 2, or an option that is unknown or has no such value.
    """

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
        collapse_guard: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(num_archs, bool) or not isinstance(num_archs, int) or num_archs < 2:
            raise ConfigError(
                f'PARSECSearchHook.num_archs: found {num_archs!r}, expected at least 2: with K = 1 every '
                'importance weight is 1 and the architecture gradient carries no information'
            )
        for key, value, known in (('mode', mode, MODES), ('cost_term', cost_term, COST_TERMS)):
            if value not in known:
                raise ConfigError(f'PARSECSearchHook.{key}: found {value!r}, expected one of {list(known)}')
        self.num_archs, self.mode = num_archs, mode
        self.cost_weight, self.cost_term = cost_weight, cost_term
        self.indicator = TASK_UTILS.build(dict(indicator or dict(type='Likelihood')))
        self.held_out_clips = getattr(self.indicator, 'num_clips', None)
        self.arch_optimizer = dict(arch_optimizer or dict(type='Adam', lr=0.02, weight_decay=0))
        self.control_variate, self.warmup_epochs = control_variate, warmup_epochs
        self.guard = {'entropy': 0.05, 'macs': 0.8, **(collapse_guard or {})}
        self._scores: list[float] = []
        self.dropped = 0

    def setup(self, runner: Runner) -> None:
        """Build α (zeros: every architecture equally likely) and its optimiser."""
        if isinstance(self.held_out, TaskStreams):
            raise ConfigError(
                'PARSECSearchHook.arch_dataloader: found a JointDataset, expected one dataset: one α is not scored on '
                'several at once; EntanglementSearchHook and DARTSSearchHook take joint data'
            )
        self.distribution = ArchDistribution(self.space)
        self.alpha_optimizer = OPTIMIZERS.build({**self.arch_optimizer, 'params': [self.distribution.alpha]})

    # ------------------------------------------------------------------ one step
    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Weights and α, or in the alternating mode weights and every K-th time α."""
        warm = self.runner.epoch < self.warmup_epochs  # α is still zero: what is drawn from it is uniform
        if self.mode == 'joint':
            archs = self._draw(self.num_archs)
            weights, scores = (None, []) if warm else self._arch_step(archs, optim_wrapper)
            logged = self._weight_step(archs, weights, batch, optim_wrapper)
        else:
            logged = self.sampled_step(self._draw(1), batch, optim_wrapper)
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
        return [weight * self.hinge(arch) for arch in archs]

    @torch.no_grad()
    def score(self, archs: Sequence[Arch], optim_wrapper: OptimWrapper) -> tuple[list[float], int]:
        """Score of each architecture on the next held-out batch, and the clips in it (over all ranks).

        BatchNorm uses the batch's statistics and writes none.
        """
        held_out = self.prepare(next(self.held_out))
        pairs: list[float] = []
        with batch_statistics(self.bare), optim_wrapper.optim_context(self.bare):
            for arch in archs:
                with self.searchable.use(arch):
                    pairs.extend(self.indicator.measure(self.bare, held_out))
        pairs = sum_over_ranks(pairs, next(self.bare.parameters()).device)
        return [
            self.indicator.score(total, int(count)) for total, count in zip(pairs[::2], pairs[1::2], strict=True)
        ], int(pairs[1])

    def _arch_step(self, archs: Sequence[Arch], optim_wrapper: OptimWrapper) -> tuple[Tensor, list[float]]:
        """Update α; returns the importance weights (K,) and the scores."""
        scores, clips = self.score(archs, optim_wrapper)
        penalties = torch.tensor(self._penalties(archs, clips), dtype=torch.float64)
        log_weights = self.indicator.log_weights(scores) - penalties
        weights = log_weights.masked_fill(~log_weights.isfinite(), -torch.inf).softmax(0)
        if weights.isfinite().all():
            self.alpha_optimizer.zero_grad()
            self.arch_loss(archs, weights).backward()
            self.alpha_optimizer.step()
        self._scores.extend(scores)
        return weights, scores

    def arch_loss(self, archs: Sequence[Arch], weights: Tensor) -> Tensor:
        """Scalar whose gradient in α is that of PARSEC's objective, to be descended."""
        log_probs = self.distribution.log_prob(archs)
        coefficients = weights - (1 / len(archs) if self.control_variate else 0.0)
        loss = -(coefficients * log_probs).sum()
        if self.cost_term == 'score':
            loss = loss + self.cost_weight * score_term(log_probs, [self.hinge(arch) for arch in archs])
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
        for k, arch in enumerate(archs):
            set_generator_states(generators)  # the K architectures share the dropout mask
            with self.searchable.use(arch), optim_wrapper.optim_context(self.bare):
                loss, values = batch_loss(self.bare, batch)
            total, count = sum_over_ranks(
                [-float(loss.detach()) * len(batch['data_samples']), len(batch['data_samples'])], loss.device
            )
            penalty = self._penalties([arch], int(count))[0]
            log_weight = known[k] if known else self.indicator.score(total, int(count)) - penalty
            logged.append(values)
            if not (math.isfinite(total) and math.isfinite(log_weight)):
                # Known weights may be 0 (no video right): nothing to learn from, and no fault.
                self.dropped += not math.isfinite(total) or math.isnan(log_weight)
                continue
            loss = optim_wrapper.scale_loss(loss) * gradient.add(log_weight)
            scaled_loss(loss, optim_wrapper).backward()
        if not gradient.log_weights:
            raise FloatingPointError(
                f'PARSECSearchHook: the loss of all {len(archs)} sampled architectures is not finite '
                f'at iteration {self.runner.iter}; lower the learning rate, or resume from the last '
                'checkpoint'
            )
        used = gradient.finish()
        self.finish_step(optim_wrapper, archs, loss.device)
        mean = {k: torch.stack([v[k].detach().float() for v in logged]).mean() for k in logged[0]}
        return {**mean, 'ess': torch.tensor(effective_sample_size(used))}

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
            'dropped': self.dropped,
        }

    def before_train_epoch(self, runner: Runner) -> None:
        """The score is that of the epoch."""
        self._scores = []

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
    def state_dict(self) -> dict[str, Any]:
        """α, its optimiser, and the epoch's scores."""
        return {
            **self.distribution.state_dict(),
            'optimizer': self.alpha_optimizer.state_dict(),
            'scores': list(self._scores),
            'dropped': self.dropped,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.distribution.load_state_dict(state)
        self.alpha_optimizer.load_state_dict(state['optimizer'])
        self._scores, self.dropped = list(state['scores']), state['dropped']
