"""The distribution-gap term: what two architectures lose by sharing their local weights, and how much they share.

Source: VIM-NAS (Casarin et al.), Eq. 3, whose similarity δ and assignment o are not defined; the reading is ours, see
docs/papers.md. After "Distribution Consistent Neural Architecture Search" (Pan et al., CVPR 2022), which it cites:
architectures that share weights well belong together, others apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmnas_video.entangle import LocalWeights
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch

from .generators import generator_states, set_generator_states
from .indicator import batch_loss
from .loss_scale import scaled_loss

if TYPE_CHECKING:
    from .base import SearchHook


class GapTerms(NamedTuple):
    """What a pair of architectures has shown; numbers without a graph.

    Attributes:
        own: mean of their losses, each with its own assignment of local weights ("stand-alone").
        gap: mean of their losses with the mean of the two assignments ("one-shot"), less ``own``.
        similarity: δ(o_i, o_j) = <o_i, o_j>, 1 for one-hot assignments to one group, 0 to different ones.
    """

    own: Tensor
    gap: Tensor
    similarity: Tensor


def gap_backward(
    local: LocalWeights,
    pair: Sequence[Arch],
    losses: Callable[[Arch], Tensor],
    weight: float,
    backward: Callable[[Tensor], None],
) -> GapTerms:
    """Gradient of ``own + weight * similarity * gap``, the ``own`` in the gap detached, with one graph alive at a time.

    δ's gradient needs the gap's value and the gap's gradient that of δ. δ is known before any forward pass and the gap
    after the last; both are numbers, so this is exact.

    Pairs that lose nothing by sharing feel no force; those that lose are driven to different assignments; and the more
    alike their assignments are, the more they are trained to be good with common weights. ``own`` is detached: else
    the term could be lowered by making the networks worse where they are by themselves.

    Args:
        local: the local weights of the supernet.
        pair: the two architectures.
        losses: architecture to its loss, with a graph.
        weight: of the term.
        backward: called with parts of the loss, to be added up.
    """
    with torch.no_grad():
        similarity = _similarity(local, pair)
    own, shared = [], []
    for arch in pair:
        states = generator_states(local)
        for found, sharing, factor in ((own, (arch,), 1.0), (shared, pair, weight * similarity)):
            set_generator_states(states)  # both times the same dropout masks, or these would be in the gap
            with local.shared_by(*sharing):
                loss = losses(arch)
            backward(factor * loss / len(pair))
            found.append(loss.detach())
    alone = torch.stack(own).mean()
    gap = torch.stack(shared).mean() - alone
    backward(weight * gap * _similarity(local, pair))
    return GapTerms(alone, gap, similarity)


def _similarity(local: LocalWeights, pair: Sequence[Arch]) -> Tensor:
    first, second = (local.assignment(arch) for arch in pair)
    return (first * second).sum()


class DistributionGap:
    """The weights' step of a search with the term.

    Args:
        hook: the search.
        weight: of the term.

    Raises:
        ConfigError: the network has no local weights.
    """

    def __init__(self, hook: SearchHook, weight: float) -> None:
        name = type(hook).__name__
        if hook.searchable.local_weights is None:
            raise ConfigError(
                f'{name}.distribution_gap: found {weight} with a network without local weights, expected '
                'model.backbone.local_weights=dict(groups=2): how two architectures share them is what the term moves'
            )
        self.hook, self.weight = hook, weight
        self.local: LocalWeights = hook.searchable.local_weights
        groups = hook.runner.optim_wrapper.optimizer.param_groups
        decays = [g.get('weight_decay') for g in groups if any(p is self.local.table for p in g['params'])]
        if any(decays):
            hook.runner.logger.warning(
                f'{name}: weight decay of {decays[0]} pulls the assignments of local weights towards equal ones; '
                "without it: optim_wrapper.paramwise_cfg.custom_keys={'local_weights': dict(decay_mult=0.0)}"
            )

    def step(self, pair: Sequence[Arch], batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """A training step of two architectures, with four forward and backward passes.

        Returns:
            What to log: the losses of the two by themselves, and of the term ``gap``, ``similarity`` and
            ``assignment``, the mean entropy (nats) of their assignments.
        """
        logged: list[dict[str, Tensor]] = []
        good: list[bool] = []

        def losses(arch: Arch) -> Tensor:
            with self.hook.searchable.use(arch), optim_wrapper.optim_context(self.hook.bare):
                loss, values = batch_loss(self.hook.bare, batch)
            good.append(self.hook.finite.admits(loss, arch))
            logged.append({key: value.detach().float() for key, value in values.items()})
            return loss

        def backward(loss: Tensor) -> None:
            if all(good):  # what follows a loss that is no number would be none either
                scaled_loss(optim_wrapper.scale_loss(loss), optim_wrapper).backward()

        with torch.no_grad():
            assignments = torch.stack([self.local.assignment(arch) for arch in pair])
        terms = gap_backward(self.local, pair, losses, self.weight, backward)
        self.hook.finish_step(optim_wrapper, pair)
        alone = logged[::2]  # by themselves and shared take turns
        return {
            **{key: torch.stack([values[key] for values in alone]).mean() for key in alone[0]},
            'gap': terms.gap,
            'similarity': terms.similarity,
            'assignment': torch.special.entr(assignments).sum(1).mean(),
        }
