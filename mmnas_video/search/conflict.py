"""Uniform sampling with the sandwich rule, where the supernet's gradient gives way to that of its subnetworks.

Source: NASViT (Gong et al., "Neural Architecture Search for Efficient Vision Transformers with Gradient Conflict aware
Supernet Training", ICLR 2022); a baseline of VIM-NAS, Tab. 9a.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.errors import ConfigError, check_one_of
from mmnas_video.registry import HOOKS

from .distill import SoftLabels
from .indicator import batch_loss
from .projected import PER, ProjectedGradient
from .sandwich import Sandwich
from .uniform import UniformSearchHook
from .work import Work


@HOOKS.register_module()
class ConflictAwareSearchHook(UniformSearchHook):
    """Train the largest network together with smaller ones, and let it not work against them.

    A step trains the largest network, the smallest and ``num_archs`` random ones
    (:class:`~mmnas_video.search.sandwich.Sandwich`) on one batch, each with the same weight. Where the gradient of the
    largest and the sum of the others' point against each other (<g_largest, g> < 0), the largest network's is projected
    onto the normal plane of the others' before the two are added. With gradient accumulation both are gathered apart
    until the optimiser's step.

    Args:
        num_archs: random architectures per training step, beside the largest and the smallest.
        per: what is compared and projected, each ``'parameter'`` by itself or the whole ``'network'``; only where both
            have a gradient.
        distill: whether the smaller networks learn from the largest one's scores in place of the labels; see
            :class:`~mmnas_video.search.distill.SoftLabels`.
        **kwargs: see :class:`~mmnas_video.search.uniform.UniformSearchHook`: the search ends as that one.

    Raises:
        ConfigError: an option that is unknown or has no such value; in ``before_run`` a head that cannot distill.
    """

    def __init__(self, num_archs: int = 2, per: str = 'parameter', distill: bool = False, **kwargs: Any) -> None:
        super().__init__(num_archs=num_archs, **kwargs)
        check_one_of(f'{type(self).__name__}.per', per, PER)
        if not isinstance(distill, bool):
            raise ConfigError(f'{type(self).__name__}.distill: found {distill!r}, expected True or False')
        self.per, self.distill = per, distill

    def setup(self, runner: Runner) -> None:
        """Look which choices have a size and whether the heads can distill, and prepare to gather gradients."""
        self.sandwich = Sandwich(self.searchable)
        self.gradient = ProjectedGradient(self.bare.parameters(), self.per)
        self.soft_labels = SoftLabels(self.bare) if self.distill else None
        self._conflict = torch.zeros(())

    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """A step of the sandwich; logs the largest network's losses, the others' mean loss, and the share of tensors
        (with ``per='network'`` 0 or 1) that were in conflict at the last update."""
        largest, *smaller = archs = self.sandwich.draw(self.rng, self.num_archs)
        labels, args = self.soft_labels, (batch, optim_wrapper, len(archs))
        with self.gradient.supernet():
            logged, _ = self._backward(largest, *args, loss_of=labels.teach if labels else batch_loss)
        learn = labels.learn if labels else batch_loss
        losses = [self._backward(arch, *args, loss_of=learn)[0]['loss'] for arch in smaller]
        self.finish_step(optim_wrapper, archs)
        return {**logged, 'subnet_loss': torch.stack(losses).mean(), 'conflict': self._conflict}

    def step_work(self, ranks: int) -> list[Work]:
        """The sandwich."""
        return [*super().step_work(ranks), Work('largest'), Work('smallest')]

    def complete_gradients(self) -> None:
        """Average over the ranks, project and add."""
        self._conflict = self.gradient.finish()
