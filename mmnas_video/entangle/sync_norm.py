"""BatchNorm statistics of all ranks together, on any backend, for plain layers and for windows of shared channels.

torch's ``SyncBatchNorm`` runs on a GPU only, and converting a model to it throws away layers that take a window. Ours
is made of the pieces in :mod:`mmnas_video.kernels.batch_norm`: statistics of this rank's clips, merged with those of
the others, and in the backward pass sums over this rank's clips, added to theirs. Ranks that compute by kernels and
ranks that do not (one without clips, say) exchange the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmnas_video import compat
from mmnas_video.errors import ConfigError
from mmnas_video.kernels.batch_norm import Statistics, normalise, statistics
from mmnas_video.kernels.batch_norm_plain import move

from .searchable import Searchable

_alone = False


@contextmanager
def rank_statistics() -> Iterator[None]:
    """Synced layers use this rank's statistics alone: for blocks in which each rank runs networks of its own."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def several_ranks() -> bool:
    """Whether there are other ranks to share statistics with, and this block does."""
    return not _alone and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def merge_moments(counts: Tensor, means: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and sum of squared deviations of several shards together, none of which subtracts large numbers.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Args:
        counts: values a channel, (R,); a shard may be empty.
        means: (R, C).
        squares: Σ (x - the shard's mean)², (R, C).

    Returns:
        The same of all R: a scalar, (C,) and (C,).
    """
    total = counts.sum()
    shares = (counts / total)[:, None]
    mean = (shares * means).sum(0)
    return total, mean, squares.sum(0) + (counts[:, None] * (means - mean).square()).sum(0)


def synced_statistics(
    x: Tensor,
    running: tuple[Tensor, Tensor] | None = None,
    start: int = 0,
    momentum: float = 0.0,
    by_sample: bool = False,
) -> Statistics:
    """As :func:`~mmnas_video.kernels.batch_norm.statistics`, of all ranks: each finds its own, by our kernels where
    they run, and what they have found is merged.

    Args:
        x: (B, C, ...). Ranks may have different B, one of them none.

    Raises:
        ValueError: all ranks together have one value a channel.
    """
    by = statistics(x, by_sample=by_sample, shard=True)
    own = torch.cat([by.mean.new_full((1,), by.count), by.mean, by.var * by.count])
    table = gather_over_ranks(own)
    means, squares = table[:, 1:].chunk(2, dim=1)
    total, mean, squares = merge_moments(table[:, 0], means, squares)
    if by.count < 2 and total < 2:  # asked only then: the answer has to come from the GPU
        raise ValueError(f'Expected more than 1 value per channel over all ranks when training, got {tuple(x.shape)}')
    if running is not None:
        for values, found in zip(running, (mean, squares / (total - 1)), strict=True):
            move(values, found, start, momentum)
    return by._replace(mean=mean, var=squares / total, total=total)


@torch.library.custom_op('mmnas_video::gather_over_ranks', mutates_args=())
def gather_over_ranks(own: Tensor) -> Tensor:
    """``own`` (N,) of all ranks, in their order: (R, N)."""
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return torch.stack(parts)


@gather_over_ranks.register_fake
def _(own):
    return own.new_empty((dist.get_world_size(), *own.shape))


class SyncedBatchNorm(_BatchNorm):
    """``BatchNorm1d``, ``2d`` or ``3d`` with the statistics of all ranks."""

    @classmethod
    def of(cls, norm: _BatchNorm) -> SyncedBatchNorm:
        """The same layer, synced: it shares parameters and buffers with ``norm``."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made._parameters.update(norm._parameters)
        made._buffers.update(norm._buffers)
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'expected at least 2 dimensions (B, C, ...), got {input.dim()}')

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, ...)."""
        self._check_input_dim(x)
        writes = self.training and self.track_running_stats
        if writes:
            self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # the plain mean of all batches
            momentum = 1.0 / float(self.num_batches_tracked) if writes else 0.0
        of_batch = self.training or self.running_mean is None
        kept = self.running_mean is not None and (not self.training or self.track_running_stats)
        running = (self.running_mean, self.running_var) if kept else (None, None)
        if not (of_batch and several_ranks()):
            return F.batch_norm(x, *running, self.weight, self.bias, of_batch, momentum, self.eps)
        # Through .data: a window of the buffers may be saved for an earlier backward.
        by = synced_statistics(x, tuple(value.data for value in running) if kept else None, 0, momentum)
        return normalise(x, by, self.weight, self.bias, self.eps)


def sync_norms(model: nn.Module) -> nn.Module:
    """Give every BatchNorm in ``model`` the statistics of all ranks; returns the model (itself a plain BatchNorm:
    the layer that takes its place). Parameters and buffers stay the same tensors."""
    if hasattr(model, 'synced'):
        model.synced = True
    elif isinstance(model, _BatchNorm) and not isinstance(model, (SyncedBatchNorm, nn.SyncBatchNorm)):
        return SyncedBatchNorm.of(model)
    for name, child in list(model.named_children()):
        made = sync_norms(child)
        if made is not child:
            setattr(model, name, made)
    return model


def convert_norms(model: nn.Module, implementation: str, stock: Callable[[nn.Module, str], nn.Module]) -> nn.Module:
    """What ``sync_bn`` in a config does: our layers where torch's would fail, elsewhere MMEngine's own conversion.

    torch's wait for all ranks wherever they are in training mode, also in :func:`rank_statistics`: ranks that score
    different architectures of a supernet would wait for each other for ever.

    Args:
        model: on its device.
        implementation: the value of ``sync_bn``.
        stock: MMEngine's conversion, ``convert_sync_batchnorm``.

    Raises:
        ConfigError: ``'mmcv'`` for layers that take a window.
    """
    windowed = any(hasattr(module, 'synced') for module in model.modules())
    ours = windowed or any(isinstance(module, Searchable) for module in model.modules())
    if implementation == 'torch' and (ours or not all(p.is_cuda for p in model.parameters())):
        return sync_norms(model)
    if implementation == 'mmcv' and windowed:
        raise ConfigError("sync_bn: found 'mmcv', whose layers take no window of channels, expected 'torch'")
    return stock(model, implementation)


compat.processes.convert_norms = convert_norms


def has_synced_norms(model: nn.Module) -> bool:
    """Whether a BatchNorm of ``model`` uses the statistics of all ranks."""
    kinds = (SyncedBatchNorm, nn.SyncBatchNorm)
    return any(isinstance(module, kinds) or getattr(module, 'synced', False) for module in model.modules())
