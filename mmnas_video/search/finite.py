"""Losses and gradients that are no numbers: left out of the update, counted, named, and the end of a search at last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_rank
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmnas_video.entangle import Mixture, norm_layers
from mmnas_video.errors import RunError, check_number
from mmnas_video.space import Arch

from .over_ranks import sum_over_ranks

if TYPE_CHECKING:
    from .base import SearchHook


class FiniteUpdates:
    """Keeps what is not finite out of a search's weights.

    An architecture whose loss is NaN or infinite takes no part in the update, and an update whose gradient is not
    finite is left out: weights and optimiser stay as they are. Each is counted (``dropped``) and stands in the history
    as ``{"kind": "dropped", "what": "loss" | "gradient" | "overflow" | "score" | "alpha", "archs": [...]}``; of a mixed
    network there is no architecture to name. ``"overflow"`` is a gradient that a GradScaler finds too large: it skips
    the update itself, and lowers its factor. What such a forward pass has left in BatchNorm statistics is cleared.

    Args:
        hook: the search.
        limit: updates of the weights that may be lost one after another; at the next one the search ends.

    Raises:
        ConfigError: the limit is no positive number.
    """

    def __init__(self, hook: SearchHook, limit: int) -> None:
        check_number(f'{type(hook).__name__}.max_lost_updates', limit, 1)
        self.hook, self.limit = hook, limit
        self.dropped = self.in_a_row = 0

    # ------------------------------------------------------------------ one step
    def admits(self, loss: Tensor, arch: Arch | Mixture, drawn: Sequence[Arch | Mixture] | None = None) -> bool:
        """Whether a loss may be differentiated.

        Args:
            loss: scalar of this rank.
            arch: whose it is.
            drawn: architectures of all ranks, if each runs one of its own. Without, all run ``arch``, and it is left
                out on all if it fails on one. What is left out on any rank is noted on every one.
        """
        archs, own = ([arch], 0) if drawn is None else (drawn, get_rank())
        bad = [0.0] * len(archs)
        bad[own] = float(not loss.detach().isfinite())
        bad = sum_over_ranks(bad, loss.device)
        self.note('loss', [arch for arch, one in zip(archs, bad, strict=True) if one])
        return not bad[own]

    def note(self, what: str, archs: Sequence[Arch | Mixture]) -> None:
        """Count and name what is left out."""
        if not archs:
            return
        hook = self.hook
        self.dropped += len(archs)
        if what != 'score':
            clear_statistics(hook.bare)
        if hook.record:
            named = [list(hook.space.encode(arch)) for arch in archs if not isinstance(arch, Mixture)]
            place = {'step': hook.runner.iter + 1, 'epoch': hook.runner.epoch + 1}
            hook.record.append({'kind': 'dropped', **place, 'what': what, 'archs': named})

    def gradient(self, optim_wrapper: OptimWrapper, archs: Sequence[Arch | Mixture]) -> bool:
        """Whether there is a gradient to make an update of, once it is that of all ranks.

        Without a GradScaler one that is not finite is removed.

        Raises:
            RunError: too many updates one after another were lost.
        """
        grads = [p.grad for p in self.hook.bare.parameters() if p.grad is not None]
        finite, scaled = all_finite(grads), getattr(optim_wrapper, 'loss_scaler', None) is not None
        if grads and not finite:
            self.note('overflow' if scaled else 'gradient', archs)
        self.in_a_row = 0 if grads and finite else self.in_a_row + 1
        if self.in_a_row > self.limit:
            raise RunError(
                f'{type(self.hook).__name__}: found no finite loss and gradient in {self.in_a_row} updates one after '
                f'another (iteration {self.hook.runner.iter + 1}), expected at most {self.limit} '
                '(max_lost_updates). The weights are those of the last good update, and the last checkpoint is intact: '
                'lower optim_wrapper.optimizer.lr or set optim_wrapper.clip_grad, and go on from it with --resume'
            )
        return bool(grads) and (finite or scaled)

    def check_state(self) -> None:
        """Demand finite weights, before they are written in the place of good ones.

        Raises:
            RunError: names the first parameter that is not.
        """
        parameters = dict(self.hook.bare.named_parameters())
        if all_finite(parameters.values()):  # of all at once: each answer of a GPU is waited for
            return
        name = next(name for name, parameter in parameters.items() if not all_finite([parameter]))
        raise RunError(
            f'{type(self.hook).__name__}: found weights that are no numbers ({name}), expected finite ones; no '
            'checkpoint is written of them, the last one is intact'
        )

    # ------------------------------------------------------------------ checkpoints
    def state_dict(self) -> dict[str, Any]:
        """What is counted."""
        return {'dropped': self.dropped, 'in_a_row': self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.dropped, self.in_a_row = state['dropped'], state['in_a_row']


@torch.no_grad()
def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite: the largest of each tensor tells."""
    found = [tensor.detach() for tensor in tensors if tensor.numel() and tensor.is_floating_point()]
    if not found:
        return True
    return bool(torch.stack([norm.isfinite() for norm in torch._foreach_norm(found, torch.inf)]).all())


@torch.no_grad()
def clear_statistics(model: nn.Module) -> None:
    """Running means and variances that are no numbers begin anew; the others stay bit for bit."""
    for norm in norm_layers(model):
        for buffer, fresh in ((norm.running_mean, 0.0), (norm.running_var, 1.0)):
            if buffer is not None:
                buffer.masked_fill_(~buffer.isfinite(), fresh)
