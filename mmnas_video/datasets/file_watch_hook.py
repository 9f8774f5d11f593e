"""Name the file on which a loader's worker process died or hangs."""

import atexit
import logging
import threading

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS

from .files_in_work import InWork, files_in_work


@HOOKS.register_module()
class FileWatchHook(Hook):
    """Look every second what the workers of all ``SeededDataset`` are on, and log who died or has been too long on it.

    It only says so. A worker's death ends the run by the DataLoader's own error; a hang does so only if the
    DataLoader has a ``timeout`` (seconds, in ``train_dataloader``), which ought to be longer than ``slow_seconds``.

    Args:
        slow_seconds: on one file, before it is named. Each case is named once.
        interval: seconds between two looks.

    Raises:
        ConfigError: a time that is not positive.
    """

    def __init__(self, slow_seconds: float = 300.0, interval: float = 1.0) -> None:
        for key, value in (('slow_seconds', slow_seconds), ('interval', interval)):
            if not value > 0:
                raise ConfigError(f'FileWatchHook.{key}: found {value}, expected a positive number of seconds.')
        self.slow_seconds, self.interval = slow_seconds, interval
        self._named: set[InWork] = set()
        self._stop = threading.Event()
        self._logger: logging.Logger = MMLogger.get_current_instance()

    def before_run(self, runner: Runner) -> None:
        """Start to look, until the run or the process ends."""
        self._logger = runner.logger
        self._stop.clear()
        threading.Thread(target=self._watch, name='FileWatchHook', daemon=True).start()
        atexit.register(self.look)  # a worker's death may end this process before the next look

    def after_run(self, runner: Runner) -> None:
        """Stop."""
        self.look()
        self.stop()

    def stop(self) -> None:
        """Say nothing more: a run that was told to end ends its workers on whatever file they are."""
        self._stop.set()
        atexit.unregister(self.look)

    def look(self) -> None:
        """Log what has not been logged."""
        if self._stop.is_set():
            return
        for entry in files_in_work():
            if entry in self._named:
                continue
            if entry.dead:
                said = f"{entry.key}: worker process {entry.pid} died on '{entry.path}'"
            elif entry.seconds > self.slow_seconds:
                said = f"{entry.key}: worker process {entry.pid} has been on '{entry.path}' for {entry.seconds:.0f} s"
            else:
                continue
            self._named.add(entry)
            self._logger.error(f'{said}. Take the file out of the annotation list, or mend it.')

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            self.look()
