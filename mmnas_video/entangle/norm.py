"""BatchNorm over a window of shared channels, and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmnas_video.cost import Cost

from .window import MixedWindow, Slice, Window, take, whole


class SuperBatchNorm3d(nn.BatchNorm3d):
    """``BatchNorm3d`` of which a channel window is used: weight, bias and running statistics.

    Every width that shares a channel also shares its running statistics, which therefore fit none of them exactly:
    recalibrate (:func:`recalibrate`) before a network with inherited weights is scored.
    """

    def forward(self, x: Tensor, channels: Window | MixedWindow) -> Tensor:  # type: ignore[override]
        """``(B, C, T, H, W)`` with ``C = channels.length``.

        Mixed, weight and bias are those of the expected mask (a channel that no width uses comes out as 0), and the
        running statistics are those of all channels: normalising is not linear, so for weights that are not one-hot
        this is not the sum of the widths' outputs.
        """
        weight, bias = take(self.weight, 0, channels), take(self.bias, 0, channels)
        if isinstance(channels, MixedWindow):
            channels = whole(channels.total)
        batch_statistics = self.training or not self.track_running_stats
        tracked = self.track_running_stats
        mean = take(self.running_mean, 0, channels) if tracked else None
        var = take(self.running_var, 0, channels) if tracked else None
        if self.training and tracked:
            self.num_batches_tracked.add_(1)
        y = F.batch_norm(
            x,
            mean,
            var,
            weight,
            bias,
            batch_statistics,
            self.momentum,
            self.eps,
        )
        if self.training and tracked and channels.wraps:
            # The joined window is a copy: what batch_norm wrote into it goes back. Through .data, because the buffers
            # are saved for this step's backward and an in-place write would fail it.
            _write_back(self.running_mean.data, mean, channels)
            _write_back(self.running_var.data, var, channels)
        return y

    def slices(self, prefix: str, channels: Window) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        for name in ('weight', 'bias', 'running_mean', 'running_var'):
            yield Slice(f'{prefix}{name}', (channels,))
        yield Slice(f'{prefix}num_batches_tracked')

    @staticmethod
    def cost(channels: int) -> Cost:
        """No multiply-adds in our unit (norms fold into convolutions), two parameters a channel."""
        return Cost(0, 2 * channels)


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
