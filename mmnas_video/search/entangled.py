"""Weights of sampled networks and α through the mixed one: differentiable search with entangled weights.

Source: VIM-NAS (Casarin et al., "NAS just once"), Sec. 3.1, 4.1 and Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.entangle import Mixture, batch_statistics
from mmnas_video.errors import ConfigError, check_number, check_one_of
from mmnas_video.registry import HOOKS
from mmnas_video.space import Arch, SearchSpace

from .candidates import CandidateScorer
from .darts import DARTSSearchHook
from .distribution import score_term
from .distribution_gap import DistributionGap
from .drawn import DrawnValues
from .freeze import frozen_entries
from .indicator import batch_loss
from .loss_scale import batch_part
from .perturbation import PerturbationSelection
from .work import Work

#: Option to the values that it has.
VALUES = {'weight_mode': ('sampled', 'mixed'), 'arch_mode': ('mixed', 'sampled'), 'sampling': ('uniform', 'alpha')}
#: Draws for the second architecture of a pair, before it may be the first one again.
MAX_DRAWS = 16


@HOOKS.register_module()
class EntanglementSearchHook(DARTSSearchHook):
    """Train sampled networks, which share their weights, and learn α on held-out data with the weights as they are.

    A step of Algorithm 1: one architecture is sampled, its part of the weights updated on the training batch and the
    rest of them left bit-identical; then α is updated by the gradient of the loss on a held-out batch, of the same
    dataset where there are several, through the network in which every choice is mixed by softmax(α).

    Of choices with too many values to mix all of them (the tubes) a few are drawn for every mixture, and the softmax is
    over these; the α of the others, and their moments in α's optimiser, stay bit-identical over the step. So do on
    images those of choices that make no difference there: of the tubes that only videos come by, and of the 2-D tube
    where what takes part differs in time only. At the end choices are fixed one after another by what the removal of a
    value costs; of the choices that are drawn from, the values with the largest α are looked at, one choice of a tube
    at a time while its others have their best value.

    With ``distribution_gap`` a step of the weights samples two architectures and adds the term of Eq. 3: how much worse
    they are with common local weights than each with its own, as much as these are alike
    (:mod:`~mmnas_video.search.distribution_gap`; four passes instead of one). It needs ``local_weights`` of the
    backbone. These are trained by the weights' optimiser, as Eq. 3 has it ("w*, o* = argmax"), without decay:
    ``optim_wrapper.paramwise_cfg.custom_keys={'local_weights': dict(decay_mult=0.0)}``. Without the term they are
    trained by the losses alone.

    Baselines of Tab. 9a: AutoFormer's sharing and ViTAS's are ``sharing`` of the backbone; GraViT-E is
    ``weight_mode='mixed'``; uniform sampling without α is ``UniformSearchHook``.

    Args:
        weight_mode: what the weights are trained through, the ``'sampled'`` network or the ``'mixed'`` one.
        arch_mode: α's gradient: ``'mixed'``; or ``'sampled'``, the score function's from the held-out losses of
            ``arch_samples`` networks that are drawn from α.
        sampling: of the network that is trained: ``'uniform'`` (Algorithm 1) or from ``'alpha'``.
        arch_samples: see ``arch_mode``.
        drawn: group of choices (pattern) to the combinations of their values in a step's mixture; by default 4 of each
            tube. See :class:`~mmnas_video.search.drawn.DrawnValues`.
        selection: as for :class:`DARTSSearchHook`.
        distribution_gap: weight of the term of Eq. 3; 0 or None for none.
        eval_batches: held-out batches (of each dataset) for ``'perturbation'``; by default ``score_batches``.
        freeze_unsampled: by default where ``weight_mode`` is ``'sampled'``; a mixture uses all weights.
        **kwargs: see :class:`DARTSSearchHook`, but for ``order``, ``hessian``, ``virtual_lr`` (α's gradient is that of
            first order) and ``score`` (an epoch's score is its architecture's).

    Raises:
        ConfigError: an option that is unknown, is not one of this hook, or has no such value.
    """

    refused = ('order', 'hessian', 'virtual_lr', 'score')  # how a step of DARTS goes: Algorithm 1 says so here
    dry_options: ClassVar[Mapping[str, int]] = {**DARTSSearchHook.dry_options, 'eval_batches': 1}

    def __init__(
        self,
        weight_mode: str = 'sampled',
        arch_mode: str = 'mixed',
        sampling: str = 'uniform',
        arch_samples: int = 4,
        drawn: Mapping[str, int] | None = None,
        selection: str = 'perturbation',
        eval_batches: int | None = None,
        freeze_unsampled: bool | None = None,
        distribution_gap: float | None = None,
        **kwargs: Any,
    ) -> None:
        _check_options(locals(), kwargs)
        super().__init__(selection=selection, score='arch', **kwargs)
        self.weight_mode, self.arch_mode, self.sampling = weight_mode, arch_mode, sampling
        self.arch_samples, self.drawn, self.eval_batches = arch_samples, drawn, eval_batches
        self.distribution_gap = distribution_gap or 0.0
        self.freeze_unsampled = weight_mode == 'sampled' if freeze_unsampled is None else freeze_unsampled

    def setup(self, runner: Runner) -> None:
        """Build α, and look whether there is what is to be drawn, and what the distribution gap is of."""
        super().setup(runner)
        self._gap = DistributionGap(self, self.distribution_gap) if self.distribution_gap else None
        self.values = DrawnValues(self.space, self.drawn, f'{type(self).__name__}.drawn')
        #: (choices, most values): what takes part in a mixture now, and in any since α was last updated.
        self.live, self._touched = self.values.all, torch.zeros_like(self.values.all)

    # ------------------------------------------------------------------ one step
    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """The weights on the training batch, then α on the next held-out batch."""
        part = batch_part(optim_wrapper)  # the step of the weights counts on
        self.live = self.values.draw(self.rng)
        if self._gap is None:
            logged = self.sampled_step([self._trained()], batch, optim_wrapper)
        else:
            logged = self._gap.step(self._pair(), batch, optim_wrapper)
        if self.runner.epoch >= self.warmup_epochs:
            logged['arch_loss'] = self._arch_step(batch, optim_wrapper, *part)
        self._log(logged)
        return logged

    def _trained(self) -> Arch | Mixture:
        if self.weight_mode == 'mixed':
            return self.mixture()
        return self.space.sample(self.rng) if self.sampling == 'uniform' else self.distribution.sample(self.rng)

    def _pair(self) -> list[Arch]:
        """Two different networks, unless other ones are hardly ever sampled."""
        canonical = self.searchable.canonical
        first = second = self._trained()
        for _ in range(MAX_DRAWS):
            if canonical(second) != canonical(first):
                break
            second = self._trained()
        return [first, second]

    def mixture(self, alpha: Tensor | None = None) -> Mixture:
        """softmax(α) over the values that take part now, exactly 0 for the others."""
        alpha = self.distribution.alpha.detach() if alpha is None else alpha
        return super().mixture(alpha.masked_fill(~self.live, -torch.inf))

    def arch_gradient(
        self, batch: dict[str, Any], held_out: dict[str, Any], optim_wrapper: OptimWrapper
    ) -> tuple[Tensor, Tensor]:
        """As that of DARTS, through the mixture of what has been drawn, or from sampled networks."""
        self._touched = self._touched | self._told(held_out)
        if self.arch_mode == 'mixed':
            return super().arch_gradient(batch, held_out, optim_wrapper)
        archs = [self.distribution.sample(self.rng) for _ in range(self.arch_samples)]
        losses = []
        with torch.no_grad(), batch_statistics(self.bare), optim_wrapper.optim_context(self.bare):
            for arch in archs:
                with self.searchable.use(arch):
                    losses.append(batch_loss(self.bare, held_out)[0])
        term = score_term(self.distribution.log_prob(archs), [float(loss) for loss in losses])
        (grad,) = torch.autograd.grad(term, [self.distribution.alpha])
        return grad, torch.stack(losses).mean()

    def _told(self, held_out: Mapping[str, Any]) -> Tensor:
        """(choices, most values): the values that a step on this batch says something of: those that take part, of
        choices that make a difference on such clips."""
        told = (self.live if self.arch_mode == 'mixed' else self.values.all).clone()
        alike = self.searchable.alike(tuple(held_out['inputs'].shape[-3:]))
        for row, choice in enumerate(self.space):
            kinds = alike.get(choice.name, range(len(choice)))
            if len({kind for kind, here in zip(kinds, told[row].tolist(), strict=False) if here}) < 2:
                told[row] = False
        return told

    def _move_alpha(self) -> None:
        # Decay, the momentum of other steps and noise would move values of which this one says nothing: those that were
        # not drawn, and on images the tubes that only videos come by. Their gradient is not exactly 0: that of sampled
        # networks is an estimate, and Adam makes a step of any rounding error.
        alpha = self.distribution.alpha
        with frozen_entries({alpha: ~self._touched}, self.alpha_optimizer):
            super()._move_alpha()
        self._touched = torch.zeros_like(self._touched)

    # ------------------------------------------------------------------ selection
    def selected_from(self, selection: PerturbationSelection) -> Mixture:
        """Of choices that are drawn from the values with the largest α; of the others all."""
        self.live = self.values.strongest(self.distribution.probs(), selection.current)
        return self.mixture()

    def selection_score(self) -> CandidateScorer:
        """On ``eval_batches`` held-out batches."""
        return self._scorer if self.eval_batches is None else CandidateScorer(self, self.eval_batches)

    # ------------------------------------------------------------------ what it costs
    def step_work(self, ranks: int) -> list[Work]:
        """The sampled network (of a distribution gap two, each twice) or the mixed one, and α's on a held-out batch."""
        passes = 4 if self.distribution_gap else 1
        trained = Work('mixed') if self.weight_mode == 'mixed' else Work('sampled', passes)
        mixed = self.arch_mode == 'mixed'
        network, count = ('mixed', 1) if mixed else ('sampled', self.arch_samples)
        return [trained, Work(network, count, held_out=True, backward=mixed, after=self.warmup_epochs)]

    def removals(self, space: SearchSpace) -> int:
        """As of DARTS; of choices that are drawn from a few values are looked at."""
        groups = DrawnValues(space, self.drawn, 'drawn').groups
        drawn = {row: number for rows, number in groups for row in rows}
        scored = sum(min(len(c), drawn.get(i, len(c))) for i, c in enumerate(space) if not c.single)
        return scored * (self.eval_batches or self.score_batches)


def _check_options(options: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse options that :class:`EntanglementSearchHook` does not take, and values that they do not have."""
    name = EntanglementSearchHook.__name__
    for key in EntanglementSearchHook.refused:
        if key in kwargs:
            raise ConfigError(
                f'{name}.{key}: found {kwargs[key]!r}, expected no such option: Algorithm 1 is of first order '
                'and scores architectures (DARTSSearchHook has it)'
            )
    for key, known in VALUES.items():
        check_one_of(f'{name}.{key}', options[key], known)
    check_number(f'{name}.arch_samples', options['arch_samples'], 2)
    if options['eval_batches'] is not None:
        check_number(f'{name}.eval_batches', options['eval_batches'], 1)
    if options['freeze_unsampled'] and options['weight_mode'] == 'mixed':
        raise ConfigError(
            f"{name}.freeze_unsampled: found True with weight_mode='mixed', expected False: a mixture uses all weights"
        )
    gap = options['distribution_gap'] or 0.0
    check_number(f'{name}.distribution_gap', gap, whole=False)
    if gap and options['weight_mode'] == 'mixed':
        raise ConfigError(
            f"{name}.distribution_gap: found {gap} with weight_mode='mixed', expected 0: the term is about two sampled "
            'networks'
        )
