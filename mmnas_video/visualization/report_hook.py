"""ReportHook: the report of a search, redrawn while the search runs."""

from __future__ import annotations

import traceback
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS

#: Networks that a report of a search under way draws for their points.
EARLY_DRAWINGS = 16


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``WORK_DIR/search/report.html`` (and ``figures/``) during a search and at its end.

    It reads the files that the search hook has written, nothing of the model. Its priority is the lowest, so that it
    runs after the CheckpointHook and the search hook have written theirs: give it the CheckpointHook's ``interval`` and
    the report always shows what a resume would start from. PNG files are written at the end only.

    Args:
        interval: epochs (iterations if not ``by_epoch``) between reports; -1 for one report at the end alone.
        by_epoch: count epochs, or iterations, as in the CheckpointHook.

    Raises:
        ConfigError: ``interval`` is neither a positive integer nor -1.
    """

    priority = 'LOWEST'

    def __init__(self, interval: int = 1, by_epoch: bool = True) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or (interval < 1 and interval != -1):
            raise ConfigError(
                f'ReportHook.interval: found {interval!r}, expected a positive integer, or -1 for one report at the end'
            )
        self.interval = interval
        self.by_epoch = by_epoch
        self._warned = False

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._write(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._write(runner)

    def after_run(self, runner: Runner) -> None:
        self._write(runner, png=True)

    @master_only
    def _write(self, runner: Runner, png: bool = False) -> None:
        if not (Path(runner.work_dir) / 'search').is_dir():
            self._warn(
                runner,
                "ReportHook: the work directory has no folder 'search', so there is nothing to report; "
                'is a search hook in custom_hooks?',
            )
            return
        try:
            from .report import write_report

            # While the search runs a report is to be cheap: PNGs are half of it, drawings for points most of the rest.
            write_report(runner.work_dir, png=png, drawings=None if png else EARLY_DRAWINGS)
        except Exception:
            # A search of days must not die of a picture: a full disk, a font, a bug here or in matplotlib.
            self._warn(
                runner,
                f'ReportHook: the report could not be written; the search goes on.\n{traceback.format_exc()}',
            )

    def _warn(self, runner: Runner, message: str) -> None:
        """Once: the same fault would come back at every checkpoint."""
        if not self._warned:
            self._warned = True
            runner.logger.warning(message)
