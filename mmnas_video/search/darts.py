"""DARTS: differentiable architecture search through a mixed network, of first and of second order.

Source: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019; P3D-DARTS (ICIP 2019), Sec. 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.datasets import derive_seed
from mmnas_video.entangle import Mixture, batch_statistics, has_synced_norms
from mmnas_video.errors import ConfigError, check_number, check_one_of
from mmnas_video.registry import HOOKS
from mmnas_video.space import Arch, SearchSpace, Value

from .alpha_optimizer import build_alpha_optimizer
from .base import SearchHook
from .bilevel import HESSIANS, Bilevel, VirtualStep, check_linear, placed
from .candidates import CandidateScorer
from .distribution import ArchDistribution, score_term
from .epochs import RULES, EpochArchs
from .indicator import batch_loss
from .loss_scale import batch_part
from .over_ranks import average_over_ranks, sum_over_ranks
from .perturbation import PerturbationSelection
from .perturbation_run import PerturbationRun
from .work import Work

#: Option to the values that it has.
VALUES = {
    'order': (1, 2),
    'hessian': HESSIANS,
    'derive': RULES,
    'score': ('mixture', 'arch'),
    'selection': ('argmax', 'perturbation'),
}
#: Option to the smallest whole number that it may be.
LEAST = {'score_batches': 1, 'cost_samples': 2, 'warmup_epochs': 0, 'tune_iters': 0}
#: What a step's line in the history has of what is logged; the last two with VIM-NAS's distribution gap.
HISTORY = ('loss', 'arch_loss', 'gap', 'similarity')


@HOOKS.register_module()
class DARTSSearchHook(SearchHook):
    """Learn α by its gradient on held-out data through a network whose choices are all mixed by softmax(α).

    Every step first moves α on a held-out batch, then the weights Θ on the training batch, both through the mixed
    network (widths and kernels in weight space, operations at their outputs). α's gradient is

    - ``order=1``: that of L_valid(Θ, α);
    - ``order=2``: that of L_valid(Θ', α) for Θ' one virtual step of the weights on the training batch (Eqs. 2-5). The
      step is that of the weights' own SGD (learning rates, momentum, Nesterov, decay), unclipped, as in DARTS; or with
      ``virtual_lr`` Eq. 3 as printed. It is computed beside the network: weights, statistics and optimiser stay.

    For α's gradient BatchNorm uses the batch's statistics and writes none, and dropout is off. Under gradient
    accumulation α's gradients are summed like those of the weights and α moves when the weights do, before them; each
    part has the virtual step of its own batch. Over several ranks gradients are averaged where they are used, so α is
    the same on all. An update of α that is not finite (an overflow under fp16) is left out and counted as ``dropped``.

    The cost does not depend on Θ or on the mixed outputs: with a budget the gradient of the expected hinge
    E max(cost - T, 0) / T (of a lower bound E max(T - cost, 0) / T) is estimated from drawn architectures (score
    function) and added.

    Args:
        order: 1 or 2.
        virtual_lr: ε of Eq. 3; None follows the weights' optimiser, which then must be SGD.
        hessian: of order 2, ``'finite_difference'`` (DARTS: 0.01 / ‖∇Θ' L_valid‖) or ``'exact'`` by differentiating
            twice; not with ``sync_bn`` on several ranks, whose all-reduce has no second derivative.
        arch_optimizer: optimiser of α. Default: DARTS's Adam, 3e-4, betas (0.5, 0.999), decay 1e-3.
        init_std: α starts as normal numbers of this size.
        warmup_epochs: epochs in which only the weights learn; with an IterBasedTrainLoop, which counts none, refused.
        cost_weight: λ, loss for twice the target.
        cost_samples: architectures drawn per update for the cost term.
        derive: ``'best'``: the architecture of the epoch with the best held-out score (of those within the budget, if
            there are some; the later of equals), ``'last'``: that of the last epoch.
        score: what is scored after an epoch, on ``score_batches`` held-out batches with recalibrated statistics: the
            ``'mixture'``, or the ``'arch'`` that it stands for, with inherited weights.
        score_batches: number of held-out batches for it.
        selection: ``'argmax'``: by α, as ``derive`` says; ``'perturbation'``: at the end, one choice after another, the
            value without which the held-out score of the mixture is lowest (the last α), of those that leave an
            architecture within the budget.
        perturbed_choices: so many choices are fixed by perturbation, the first of its seeded order; the others have
            the value with the largest α. None for all.
        tune_iters: steps on training data after each choice that perturbation has fixed.
        tune_lr: their rate; None leaves what the schedule has ended with.
        watch: values whose number in the architecture is written at every step, such as ``'skip'``.
        stop_when: ``dict(value='skip', count=8)``: end the search after the first epoch whose architecture has so many;
            architectures that have as many are not named unless there is no other.
        **kwargs: see :class:`~mmnas_video.search.base.SearchHook`.

    Raises:
        ConfigError: an option that is unknown or has no such value; ``freeze_unsampled``: a mixture uses all.
    """

    dry_options: ClassVar[Mapping[str, int]] = {
        **SearchHook.dry_options,
        'score_batches': 1,
        'warmup_epochs': 0,
        'perturbed_choices': 2,
    }
    dry_if_given: ClassVar[Mapping[str, int]] = {'tune_iters': 1}

    def __init__(
        self,
        order: int = 1,
        virtual_lr: float | None = None,
        hessian: str = 'finite_difference',
        arch_optimizer: Mapping[str, Any] | None = None,
        init_std: float = 1e-3,
        warmup_epochs: int = 0,
        cost_weight: float = 1.0,
        cost_samples: int = 16,
        derive: str = 'best',
        score: str = 'mixture',
        score_batches: int = 10,
        selection: str = 'argmax',
        perturbed_choices: int | None = None,
        tune_iters: int = 0,
        tune_lr: float | None = None,
        watch: str | Sequence[Value] = (),
        stop_when: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_options(type(self).__name__, locals())
        if self.freeze_unsampled:
            raise ConfigError(
                f'{type(self).__name__}.freeze_unsampled: found True, expected False: a mixture uses all weights'
            )
        self.order, self.virtual_lr, self.hessian = order, virtual_lr, hessian
        self.arch_optimizer = dict(arch_optimizer or dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3))
        self.init_std, self.warmup_epochs = init_std, warmup_epochs
        self.cost_weight, self.cost_samples = cost_weight, cost_samples
        self.derive, self.score, self.score_batches = derive, score, score_batches
        self.selection, self.perturbed_choices = selection, perturbed_choices
        self.tune_iters, self.tune_lr = tune_iters, tune_lr
        self.stop_when = _stop_rule(f'{type(self).__name__}.stop_when', stop_when)
        self.watch = tuple(dict.fromkeys([*((watch,) if isinstance(watch, str) else watch), *self.stop_when]))
        self.epochs = EpochArchs()
        self._score: float | None = None
        self._perturbation: PerturbationRun | None = None  # under way
        self.stopped = False

    def setup(self, runner: Runner) -> None:
        """Build α and its optimiser, which no part of the model has; look at what only the run can tell."""
        offered = {value for choice in self.space for value in choice.values}
        unknown = [value for value in self.watch if value not in offered]
        if unknown:
            raise ConfigError(
                f'{type(self).__name__}.watch: found {unknown[0]!r}, which no choice of {self.space.name!r} offers; '
                f'expected one of {sorted(map(str, offered))}'
            )
        if self.order == 2 and self.virtual_lr is None:
            check_linear(runner.optim_wrapper.optimizer)
        if self.order == 2 and self.hessian == 'exact' and get_world_size() > 1 and has_synced_norms(self.bare):
            raise ConfigError(
                f"{type(self).__name__}.hessian: found 'exact' with sync_bn, expected 'finite_difference': the "
                'statistics of several ranks can be differentiated once only'
            )
        self.distribution = ArchDistribution(self.space)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, 'alpha'))
        with torch.no_grad():
            noise = torch.randn(self.distribution.alpha.shape, dtype=torch.float64, generator=generator)
            self.distribution.alpha.copy_(self.init_std * noise)
        self.alpha_optimizer = build_alpha_optimizer(self.arch_optimizer, self.distribution.alpha, runner)

    # ------------------------------------------------------------------ one step
    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """α on the next held-out batch, then the weights on the training batch."""
        warm = self.runner.epoch < self.warmup_epochs
        arch_loss = None if warm else self._arch_step(batch, optim_wrapper, *batch_part(optim_wrapper))
        logged = self.sampled_step([self.mixture()], batch, optim_wrapper)
        if arch_loss is not None:
            logged['arch_loss'] = arch_loss
        self._log(logged)
        return logged

    def mixture(self, alpha: Tensor | None = None) -> Mixture:
        """softmax(α) in the network's dtype; differentiable if ``alpha`` is given."""
        like = next(self.bare.parameters())
        return self.distribution.mixture(like, self.distribution.alpha.detach() if alpha is None else alpha)

    def _arch_step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper, share: float, due: bool) -> Tensor:
        """Add up α's gradient, a ``share`` of an accumulated batch's, and move α if it is ``due``; returns the held-out
        loss."""
        alpha = self.distribution.alpha
        grad, loss = self.arch_gradient(batch, self.held_out_batch(batch), optim_wrapper)
        alpha.grad = grad * share if alpha.grad is None else alpha.grad + grad * share
        if due:
            self._update_alpha()
        return loss

    def arch_gradient(
        self, batch: dict[str, Any], held_out: dict[str, Any], optim_wrapper: OptimWrapper
    ) -> tuple[Tensor, Tensor]:
        """This rank's gradient of α, (choices, most values), and its held-out loss; changes nothing.

        Args:
            batch, held_out: preprocessed batches.
            optim_wrapper: of the weights, for its precision and (order 2) its step.
        """
        weights = [p for p in self.bare.parameters() if p.requires_grad]
        scaler = getattr(optim_wrapper, 'loss_scaler', None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        losses = [partial(self._loss, data, optim_wrapper) for data in (batch, held_out)]
        bilevel = Bilevel(*losses, scale, average_over_ranks, partial(placed, self.bare, weights))
        with batch_statistics(self.bare):
            if self.order == 1:
                return bilevel.first_order(weights, self.distribution.alpha)
            if self.virtual_lr is None:
                virtual = VirtualStep.of(optim_wrapper.optimizer, weights)
            else:
                virtual = VirtualStep.plain(weights, self.virtual_lr)
            return bilevel.second_order(weights, self.distribution.alpha, virtual, self.hessian)

    def _loss(
        self, batch: dict[str, Any], optim_wrapper: OptimWrapper, weights: Sequence[Tensor], alpha: Tensor
    ) -> Tensor:
        """Mean loss of a batch with the weights that are in place."""
        with self.searchable.use(self.mixture(alpha)), optim_wrapper.optim_context(self.bare):
            return batch_loss(self.bare, batch)[0]

    def _update_alpha(self) -> None:
        """Move α by the mean of the ranks' gradients, and by that of the cost."""
        alpha = self.distribution.alpha
        total = sum_over_ranks(alpha.grad.flatten().tolist(), self.device)
        alpha.grad = torch.tensor(total, dtype=alpha.dtype).view_as(alpha) / get_world_size()
        self._move_alpha()

    def _move_alpha(self) -> None:
        alpha = self.distribution.alpha
        if self.budget.needs and self.cost_weight:
            (self.cost_weight * self.cost_term()).backward()
        if alpha.grad.isfinite().all():
            self.alpha_optimizer.step()
        else:
            self.finite.note('alpha', [self.mixture()])
        self.alpha_optimizer.zero_grad()

    def cost_term(self) -> Tensor:
        """Scalar whose gradient in α estimates that of the expected cost hinge; the same draws on every rank."""
        archs = [self.distribution.sample(self.rng) for _ in range(self.cost_samples)]
        return score_term(self.distribution.log_prob(archs), [self.decided_violation(arch) for arch in archs])

    def _log(self, logged: Mapping[str, Tensor]) -> None:
        if self.record:
            line = {
                'kind': 'step',
                'step': self.runner.iter + 1,
                'epoch': self.runner.epoch + 1,
                **{key: float(logged[key]) for key in HISTORY if key in logged},
                'entropy': sum(self.distribution.entropies().values()),
            }
            self.record.append({**line, 'counts': self.counts(self.choose())} if self.watch else line)

    # ------------------------------------------------------------------ what it stands for
    def choose(self) -> Arch:
        """The architecture that α stands for now, by the network's rule (:meth:`Searchable.derive`): the strongest
        value of each choice, but for networks of cells, which have a rule of their own."""
        return self.searchable.derive(self.distribution.probs())

    def decided(self, arch: Arch) -> Arch:
        """The architecture that a search ends with whose values these are: what the network's rule makes of ``arch``,
        which is itself, but for networks of cells (of a cell that has all edges, two inputs a node)."""
        probs = self.distribution.probs()
        pairs = {choice.name: zip(choice.values, probs[choice.name], strict=True) for choice in self.space}
        return self.searchable.derive({name: [p * (v == arch[name]) for v, p in of] for name, of in pairs.items()})

    def decided_violation(self, arch: Arch) -> float:
        """Of that architecture."""
        return self.violation(self.decided(arch))

    def counts(self, arch: Arch) -> dict[str, int]:
        """How often each watched value stands in an architecture."""
        return {str(value): sum(found == value for found in arch.values()) for value in self.watch}

    def select(self, runner: Runner) -> Arch:
        """The architecture of the best, or of the last, epoch; or what perturbation finds."""
        if self.selection == 'perturbation':
            self._perturbation = PerturbationRun(self, runner)
            arch = self._perturbation()
            self._score = self._scorer(arch)
            return arch
        if (named := self.epochs.named(self.derive)) is None:
            return self.choose()
        self._score = named['score']
        if self.record:
            self.record.append({'kind': 'chosen', **named})
        runner.logger.info(f'Search: the architecture of epoch {named["epoch"]}, held-out score {named["score"]:.4g}')
        return self.space.decode(named['arch'])

    def selected_from(self, selection: PerturbationSelection) -> Mixture:
        """The weights that perturbation looks at where ``selection`` stands."""
        return self.mixture()

    def selection_score(self) -> CandidateScorer:
        """What it scores with."""
        return self._scorer

    @cached_property
    def _scorer(self) -> CandidateScorer:
        return CandidateScorer(self, self.score_batches)

    # ------------------------------------------------------------------ epochs
    def before_train(self, runner: Runner) -> None:
        """As every search; one that had stopped itself and is resumed goes straight to its end."""
        super().before_train(runner)
        if self.stopped:
            runner.train_loop.stop_training = True

    def after_train_epoch(self, runner: Runner) -> None:
        """Score the epoch, and look whether it is the last."""
        arch = self.choose()
        self._score = self._scorer(self.mixture() if self.score == 'mixture' else arch)
        counts = self.counts(arch)
        stop = any(counts[str(value)] >= count for value, count in self.stop_when.items())
        within = not self.violation(arch)
        self.epochs.add(runner.epoch + 1, self.space.encode(arch), self._score, within, stop)
        super().after_train_epoch(runner)
        if stop:
            self.stopped = runner.train_loop.stop_training = True
            runner.logger.warning(f'Search: ends here, the architecture has {counts} (stop_when)')

    def epoch_summary(self) -> dict[str, Any]:
        """Entropy (nats), probabilities, held-out score, the share of choices whose smallest value leads, and how often
        watched values stand in the architecture."""
        best = self.choose()
        counts = {'counts': self.counts(best)} if self.watch else {}
        return {**self.distribution.summary(best), 'score': self._score, **counts}

    # ------------------------------------------------------------------ what it costs
    def step_work(self, ranks: int) -> list[Work]:
        """The mixed network on both batches; of second order the virtual step too, and the training loss on either side
        of the weights (or its second derivative)."""
        more = [Work('mixed', 3, after=self.warmup_epochs)] if self.order == 2 else []
        return [Work('mixed'), *more, Work('mixed', held_out=True, after=self.warmup_epochs)]

    def selection_work(self, space: SearchSpace, ranks: int, epochs: int) -> list[Work]:
        """The score of each epoch; with perturbation that of every value, and the tuning."""
        network = 'mixed' if self.score == 'mixture' else 'sampled'
        work = [Work(network, epochs * self.score_batches / ranks, held_out=True, backward=False)]
        if self.selection == 'perturbation':
            every = len(space.open)
            fixed = every if self.perturbed_choices is None else min(self.perturbed_choices, every)
            removals = self.removals(space) * fixed / max(every, 1)  # of choices of the mean size
            work.append(Work('mixed', removals / ranks, held_out=True, backward=False))
            work.append(Work('mixed', self.tune_iters * max(fixed - 1, 0)))
        return work

    def removals(self, space: SearchSpace) -> int:
        """Held-out batches that perturbation scores on: each value is removed once."""
        return sum(len(choice) for choice in space.open) * self.score_batches

    def summed_values(self, space: SearchSpace) -> int:
        """α's gradient."""
        return sum(len(choice) for choice in space.open)

    # ------------------------------------------------------------------ checkpoints
    def shared_state(self, runner: Runner) -> dict[str, Any]:
        """Of any search, and before it α."""
        shared = super().shared_state(runner)
        return {'alpha': self.distribution.rows(), **shared} if self.is_set_up else shared

    @property
    def keeps_selection(self) -> bool:
        """Perturbation takes hours; what the epochs have shown is in every checkpoint."""
        return self.selection == 'perturbation'

    def selection_state(self) -> dict[str, Any]:
        """What perturbation has fixed, and how far the tuning is."""
        return {} if self._perturbation is None else self._perturbation.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """α, its optimiser, and what each epoch had."""
        return {
            **self.distribution.state_dict(),
            'optimizer': self.alpha_optimizer.state_dict(),
            'epochs': list(self.epochs.lines),
            'score': self._score,
            'stopped': self.stopped,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.distribution.load_state_dict(state)
        self.alpha_optimizer.load_state_dict(state['optimizer'])
        # The budget may be another one since.
        lines = [{**line, 'within': not self.violation(self.space.decode(line['arch']))} for line in state['epochs']]
        self.epochs, self._score = EpochArchs(lines), state['score']
        self.stopped = state['stopped']


def _check_options(hook: str, options: Mapping[str, Any]) -> None:
    """Refuse values that an option of :class:`DARTSSearchHook` (or of ``hook``, which has it from there) does not
    have."""
    for key, known in VALUES.items():
        check_one_of(f'{hook}.{key}', options[key], known)
    for key, least in LEAST.items():
        check_number(f'{hook}.{key}', options[key], least)
    if options['perturbed_choices'] is not None:
        check_number(f'{hook}.perturbed_choices', options['perturbed_choices'], 1)
    for key in ('virtual_lr', 'tune_lr', 'init_std', 'cost_weight'):
        if options[key] is not None or not key.endswith('_lr'):
            check_number(f'{hook}.{key}', options[key], whole=False)


def _stop_rule(key: str, stop_when: Mapping[str, Any] | None) -> dict[Value, int]:
    """Value to the count at which the search ends."""
    if not stop_when:
        return {}
    count = stop_when.get('count')
    if set(stop_when) != {'value', 'count'} or isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigError(f"{key}: found {dict(stop_when)}, expected dict(value='skip', count=a positive number)")
    return {stop_when['value']: count}
