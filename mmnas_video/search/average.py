"""Averaged weights (MMEngine's EMAHook) at the end of a search: what is selected from and extracted is the average."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.hooks import EMAHook
from mmengine.runner import Runner


@contextmanager
def averaged(runner: Runner) -> Iterator[None]:
    """The average of the weights in their place, for the block and from then on.

    Validations look at the average and checkpoints name it the weights, so the end of a search has to go on with it:
    the selection (whose tuning trains it), the extracted network, and the stage after. Afterwards the two are equal, so
    that it is of no account which one MMEngine takes for the last validation. Without an EMAHook nothing happens.
    """
    _exchange(runner)
    yield
    for hook in _hooks(runner):
        hook.ema_model.module.load_state_dict(hook.src_model.state_dict())


@contextmanager
def exchanged(runner: Runner) -> Iterator[None]:
    """Within :func:`averaged`, for the block, each of the two where a training has it."""
    _exchange(runner)
    yield
    _exchange(runner)


def _hooks(runner: Runner) -> list[EMAHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EMAHook)]


def _exchange(runner: Runner) -> None:
    for hook in _hooks(runner):
        hook.before_val_epoch(runner)
