"""EarlyStopping: what MMEngine's EarlyStoppingHook has counted, in checkpoints.

The hook keeps it in no checkpoint: resumed, a run counts anew, and goes on beyond where it would have ended, also where
it had ended already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner

from mmnas_video.runner_state import is_resuming, is_training

#: Key in a checkpoint.
KEY = 'early_stopping'


class EarlyStopping:
    """Keeps each hook's counts from before the last validation, and what that came to.

    The two together hold whether the hooks have looked at it before a checkpoint is written or do so after, and with
    more patience a resume goes on.
    """

    def __init__(self) -> None:
        self._state: dict[str, Any] = {}
        self._counts = False  # whether the validation that runs is one of the training's

    def before_validation(self, runner: Runner) -> None:
        """Take the counts; those of a training that has been ended stay, whatever is validated after it."""
        self._counts = is_training(runner) and not runner.train_loop.stop_training
        if self._counts and (hooks := _hooks(runner)):
            counts = [{'wait_count': hook.wait_count, 'best_score': float(hook.best_score)} for hook in hooks]
            self._state = {'counts': counts, 'metrics': {}}

    def after_validation(self, runner: Runner, metrics: Mapping[str, Any]) -> None:
        """Take what the hooks look at."""
        if self._counts and self._state:
            watched = {hook.monitor for hook in _hooks(runner)} & {*metrics}
            self._state['metrics'] = {name: float(metrics[name]) for name in sorted(watched)}

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Put both into a checkpoint."""
        if self._state:
            checkpoint[KEY] = self._state

    def load(self, runner: Runner, checkpoint: Mapping[str, Any]) -> None:
        """Count on from a checkpoint that is resumed; where its training had been ended, it is again."""
        state = checkpoint.get(KEY)
        if not state or not is_resuming(runner) or len(hooks := _hooks(runner)) != len(state['counts']):
            return
        self._state = state
        for hook, counts in zip(hooks, state['counts'], strict=True):
            vars(hook).update(counts)
            if hook.monitor in state['metrics']:
                hook.after_val_epoch(runner, state['metrics'])


def _hooks(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]
