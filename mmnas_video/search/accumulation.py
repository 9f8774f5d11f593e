"""Gradient accumulation in a search: no checkpoint may fall between two updates."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmnas_video.errors import ConfigError
from mmnas_video.runner_state import counts_iterations, has_validation


def check_accumulation(runner: Runner) -> None:
    """Demand that every checkpoint within a training falls on an update of the weights.

    With ``accumulative_counts=n`` MMEngine updates after every n-th step, counted over epochs, and after the last of
    all. What has been gathered since is in no checkpoint: a resume from one that is written between two updates would
    not be the undisturbed run.

    Raises:
        ConfigError: names n, and how often checkpoints are written.
    """
    count = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    for place, begin, every in _checkpoints(runner):
        steps = range(begin, runner.train_loop.max_iters, every)[:count]  # from there on it repeats itself
        between = [step for step in steps if step % count]
        if between:
            raise ConfigError(
                f'optim_wrapper.accumulative_counts: found {count} with {place}, expected a number that divides these: '
                f'a checkpoint after step {between[0]} would lack the gradients gathered since the last update, and a '
                'search that goes on from it would not end as one that was never stopped'
            )


def _checkpoints(runner: Runner) -> Iterator[tuple[str, int, int]]:
    """What decides when checkpoints are written, in words; the step of the first, and the steps between two."""
    loop, by_steps = runner.train_loop, counts_iterations(runner)
    if not by_steps:  # at the end of any epoch: also where the run is told to end, or ends itself
        length = len(loop.dataloader)
        yield f'epochs of {length} steps', length, length
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        if not hook.by_epoch and hook.interval > 0:
            begin = f' from save_begin={hook.save_begin} on' * bool(hook.save_begin)
            yield f'a checkpoint every {hook.interval} steps{begin}', hook.save_begin or hook.interval, hook.interval
        if by_steps and hook.save_best and has_validation(runner):
            yield f'save_best every {loop.val_interval} steps', loop.val_interval, loop.val_interval
