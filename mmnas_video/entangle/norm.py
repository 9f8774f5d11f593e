"""BatchNorm over a window of shared channels, and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmnas_video.cost import Cost
from mmnas_video.kernels import batch_norm as fused

from .sync_norm import several_ranks, synced_statistics
from .window import MixedWindow, Slice, Window, take, whole


class SuperBatchNorm3d(nn.BatchNorm3d):
    """``BatchNorm3d`` of which a channel window is used: weight, bias and running statistics.

    Every width that shares a channel also shares its running statistics, which therefore fit none of them exactly:
    recalibrate (:func:`recalibrate`) before a network with inherited weights is scored.
    """

    #: Whether a batch's statistics are those of all ranks (``sync_bn`` in a config); see :mod:`.sync_norm`.
    synced = False

    def forward(  # type: ignore[override]
        self, x: Tensor, channels: Window | MixedWindow, activation: str = 'none', residual: Tensor | None = None
    ) -> Tensor:
        """``act(bn(x) + residual)``, ``(B, C, T, H, W)`` with ``C = channels.length``.

        Where our kernels take ``x`` (:meth:`fuses`) in one pass over memory after that for the statistics.

        Mixed, weight and bias are those of the expected mask (a channel that no width uses comes out as 0), and the
        running statistics are those of all channels: normalising is not linear, so for weights that are not one-hot
        this is not the sum of the widths' outputs.
        """
        weight, bias = self._affine(channels)
        if self._shares or self.fuses(x, residual):
            by = self.statistics(x, channels)
            return fused.normalise(x, by, weight, bias, self.eps, activation, residual)
        return fused.finish(self._plain(x, weight, bias, _window(channels)), activation, residual)

    def excited(self, x: Tensor, channels: Window | MixedWindow, weights: Sequence[Tensor]) -> Tensor:
        """``swish(se(bn(x)))``, for an ``x`` that :meth:`fuses`.

        Args:
            weights: of the SE unit, as :func:`~mmnas_video.kernels.batch_norm.excited` takes them.
        """
        by = self.statistics(x, channels, by_sample=True)
        return fused.excited(x, by, *self._affine(channels), weights, self.eps)

    def fuses(self, x: Tensor, residual: Tensor | None = None) -> bool:
        """Whether our kernels take ``x``."""
        return fused.fuses(x, residual)

    def statistics(self, x: Tensor, channels: Window | MixedWindow, by_sample: bool = False) -> fused.Statistics:
        """What ``x`` is normalised by, where it is not by PyTorch; in training the running statistics move.

        Args:
            by_sample: also the mean of each clip.
        """
        window, running = _window(channels), None
        if self._writes:
            self.num_batches_tracked.add_(1)
            # Through .data, because a window of the buffers may be saved for a backward pass that is still to come.
            running = (self.running_mean.data, self.running_var.data)
        if self._of_batch:
            found = synced_statistics if self._shares else fused.statistics
            return found(x, running, window.start, self._momentum(), by_sample)
        samples = fused.statistics(x, by_sample=True, shard=True).samples if by_sample else None
        return fused.Statistics(take(self.running_mean, 0, window), take(self.running_var, 0, window), 0, samples)

    def _plain(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, channels: Window) -> Tensor:
        tracked = self.track_running_stats
        mean = take(self.running_mean, 0, channels) if tracked else None
        var = take(self.running_var, 0, channels) if tracked else None
        if self._writes:
            self.num_batches_tracked.add_(1)
        y = F.batch_norm(x, mean, var, weight, bias, self._of_batch, self._momentum(), self.eps)
        if self._writes and channels.wraps:
            # The joined window is a copy: what batch_norm wrote into it goes back. Through .data, because the buffers
            # are saved for this step's backward and an in-place write would fail it.
            _write_back(self.running_mean.data, mean, channels)
            _write_back(self.running_var.data, var, channels)
        return y

    def _affine(self, channels: Window | MixedWindow) -> tuple[Tensor | None, Tensor | None]:
        if self.weight is None:
            return None, None
        return take(self.weight, 0, channels), take(self.bias, 0, channels)

    @property
    def _shares(self) -> bool:
        """Whether other ranks take part in this batch's statistics."""
        return self.synced and self._of_batch and several_ranks()

    @property
    def _of_batch(self) -> bool:
        return self.training or not self.track_running_stats

    @property
    def _writes(self) -> bool:
        return self.training and self.track_running_stats

    def _momentum(self) -> float:
        if self.momentum is not None:
            return self.momentum
        return 1.0 / float(self.num_batches_tracked) if self._writes else 0.0  # the plain mean of all batches

    def slices(self, prefix: str, channels: Window) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        for name in ('weight', 'bias', 'running_mean', 'running_var'):
            yield Slice(f'{prefix}{name}', (channels,))
        yield Slice(f'{prefix}num_batches_tracked')

    @staticmethod
    def cost(channels: int) -> Cost:
        """No multiply-adds in our unit (norms fold into convolutions), two parameters a channel."""
        return Cost(0, 2 * channels)


def _window(channels: Window | MixedWindow) -> Window:
    """The channels whose statistics are used."""
    return whole(channels.total) if isinstance(channels, MixedWindow) else channels


def _write_back(buffer: Tensor, values: Tensor, window: Window) -> None:
    done = 0
    for start, length in window.spans():
        buffer.narrow(0, start, length).copy_(values.narrow(0, done, length))
        done += length


def norm_layers(model: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm in ``model`` that keeps running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Score with each batch's own statistics: BatchNorm in training mode but writing nothing, all else in eval mode.

    What a search compares architectures by: running statistics are a mixture over all that were sampled.
    """
    norms, was_training = norm_layers(model), model.training
    tracked = [norm.track_running_stats for norm in norms]
    model.eval()
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track
        model.train(was_training)


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Give the running statistics back, bit for bit, when the block ends."""
    norms = norm_layers(model)
    saved = [(n.running_mean.clone(), n.running_var.clone(), n.num_batches_tracked.clone()) for n in norms]
    try:
        yield
    finally:
        for norm, (mean, var, count) in zip(norms, saved, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
            norm.num_batches_tracked.copy_(count)


@torch.no_grad()
def recalibrate(model: nn.Module, forwards: Iterable[Callable[[], object]]) -> int:
    """Replace the running statistics by their plain mean over some training batches.

    Args:
        model: the network, with the architecture to be scored active.
        forwards: for each batch a call that runs the network on it once.

    Returns:
        Number of batches used. With none, nothing is changed.
    """
    norms, was_training = norm_layers(model), model.training
    momenta = [norm.momentum for norm in norms]
    model.eval()
    count = 0
    try:
        for norm in norms:
            norm.train()
        for forward in forwards:
            count += 1
            for norm in norms:
                # The running mean of n values: each new one weighs 1/n, so the first replaces what stood there.
                norm.momentum = 1.0 / count
            forward()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
    return count
