"""BatchNorm statistics of all ranks together, on any backend, for plain layers and for windows of shared channels.

torch's ``SyncBatchNorm`` runs on a GPU only, and converting a model to it throws away layers that take a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from mmnas_video import compat
from mmnas_video.errors import ConfigError

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


def batch_norm(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    batch_statistics: bool,
    momentum: float,
    eps: float,
    synced: bool,
) -> Tensor:
    """``F.batch_norm``, with the statistics of all ranks where ``synced`` says so and there are several.

    Args:
        x: (B, C, ...). Ranks may have different B, one of them none.
        mean, var: running statistics (C,), updated in place where ``batch_statistics`` are used; None for none.
        weight, bias: (C,), or None.
        batch_statistics: normalise by the batch's own.
        momentum, eps: as of ``F.batch_norm``.
        synced: whether the layer's statistics are those of all ranks.

    Raises:
        ValueError: all ranks together have one value a channel.
    """
    if not (synced and batch_statistics and several_ranks()):
        return F.batch_norm(x, mean, var, weight, bias, batch_statistics, momentum, eps)
    y, total, batch_mean, squares = _SyncedNorm.apply(x, weight, bias, eps)
    if mean is not None and var is not None:
        with torch.no_grad():  # through .data: a window of the buffers may be saved for an earlier backward
            mean.data.lerp_(batch_mean.to(mean), momentum)
            var.data.lerp_((squares / (total - 1)).to(var), momentum)
    return y


class _SyncedNorm(torch.autograd.Function):
    """y, and count, mean and squared deviations of all ranks. Statistics and sums are float32 (float64 for that)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        dims = [0, *range(2, x.dim())]
        count = x.numel() // max(x.shape[1], 1)
        mean = wide.mean(dims) if count else wide.new_zeros(x.shape[1])
        squares = (wide - _channels(mean, x)).square().sum(dims)
        total, mean, squares = merge_moments(*_gathered(count, mean, squares))
        if total < 2:
            raise ValueError(
                f'Expected more than 1 value per channel over all ranks when training, got {tuple(x.shape)}'
            )
        scale = (squares / total + eps).rsqrt()
        y = (wide - _channels(mean, x)) * _channels(scale, x)
        if weight is not None:
            y = y * _channels(weight.to(y), x)
        if bias is not None:
            y = y + _channels(bias.to(y), x)
        ctx.save_for_backward(x, weight, mean, scale, total)
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(total, mean, squares)
        return y.to(x.dtype), total, mean, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Weight and bias get this rank's part, as of any layer: gradients of parameters are averaged later. What goes
        on to x is that of the losses of all ranks, because all depend on the statistics."""
        x, weight, mean, scale, total = ctx.saved_tensors
        dims, wide = [0, *range(2, x.dim())], grad.to(mean.dtype)
        normal = (x.to(mean.dtype) - _channels(mean, x)) * _channels(scale, x)
        by_bias, by_weight = wide.sum(dims), (wide * normal).sum(dims)
        sums = torch.stack([by_bias, by_weight])
        dist.all_reduce(sums)
        sums = sums / total
        inner = wide - _channels(sums[0], x) - normal * _channels(sums[1], x)
        scale = scale if weight is None else scale * weight.to(scale)
        return (
            (inner * _channels(scale, x)).to(x.dtype),
            None if weight is None else by_weight.to(weight.dtype),
            by_bias.to(grad.dtype if weight is None else weight.dtype) if ctx.has_bias else None,
            None,
        )


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """(C,) so that it broadcasts over (B, C, ...)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _gathered(count: int, mean: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts (R,), means and squared deviations (R, C) of all ranks, in their order."""
    own = torch.cat([mean.new_tensor([count]), mean, squares])
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    table = torch.stack(parts)
    means, deviations = table[:, 1:].chunk(2, dim=1)
    return table[:, 0], means, deviations


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
        statistics = self.training or self.running_mean is None
        kept = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if kept else (None, None)
        return batch_norm(x, mean, var, self.weight, self.bias, statistics, momentum, self.eps, synced=True)


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

    Args:
        model: on its device.
        implementation: the value of ``sync_bn``.
        stock: MMEngine's conversion, ``convert_sync_batchnorm``.

    Raises:
        ConfigError: ``'mmcv'`` for layers that take a window.
    """
    windowed = any(hasattr(module, 'synced') for module in model.modules())
    if implementation == 'torch' and (windowed or not all(p.is_cuda for p in model.parameters())):
        return sync_norms(model)
    if implementation == 'mmcv' and windowed:
        raise ConfigError("sync_bn: found 'mmcv', whose layers take no window of channels, expected 'torch'")
    return stock(model, implementation)


compat.processes.convert_norms = convert_norms


def has_synced_norms(model: nn.Module) -> bool:
    """Whether a BatchNorm of ``model`` uses the statistics of all ranks."""
    kinds = (SyncedBatchNorm, nn.SyncBatchNorm)
    return any(isinstance(module, kinds) or getattr(module, 'synced', False) for module in model.modules())
