"""ProgressHook: one line that says how far a run is and how long it still takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints ``NAME  epoch 3/9  120/450 steps  loss 0.71  0:42 left``.

    On a terminal the line is rewritten in place, at most twice a second; in a file there is one line an epoch.

    Args:
        name: what runs.
    """

    priority = 'VERY_LOW'

    def __init__(self, name: str = 'train') -> None:
        self.name = name
        self._start, self._first, self._shown = 0.0, 0, 0.0

    def before_train(self, runner: Runner) -> None:
        """Start the clock; a resumed run counts from where it is."""
        self._start, self._first = time.monotonic(), runner.iter

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """Rewrite the line."""
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown > 0.5:
            self._shown = now
            self._print(runner, runner.iter + 1, outputs, end='\r')

    def after_train_epoch(self, runner: Runner) -> None:
        """A line that stays."""
        loss = runner.message_hub.log_scalars.get('train/loss')
        mean = loss and loss.mean(len(runner.train_dataloader))  # of this epoch
        self._print(runner, runner.iter, {'loss': mean} if loss else None, end='\n')

    def _print(self, runner: Runner, done: int, outputs: Mapping[str, Any] | None, end: str) -> None:
        if not is_main_process():
            return
        spent = time.monotonic() - self._start
        left = spent / max(done - self._first, 1) * (runner.max_iters - done)
        loss = f'  loss {float(outputs["loss"]):.3f}' if outputs and 'loss' in outputs else ''
        text = (
            f'{self.name}  epoch {runner.epoch + 1}/{runner.max_epochs}  {done}/{runner.max_iters} steps{loss}  '
            f'{int(left) // 60}:{int(left) % 60:02d} left'
        )
        print(f'{text:<78}', end=end, file=sys.stderr, flush=True)
