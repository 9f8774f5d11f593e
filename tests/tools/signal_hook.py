"""A hook that sends its own process a signal, for tests of what a tool does then."""

import os
import signal

from mmengine.hooks import Hook

from mmnas_video.registry import HOOKS
from mmnas_video.testing import toy  # noqa: F401 - registers the parts of the search on vectors


@HOOKS.register_module()
class SignalHook(Hook):
    """Sends ``name`` after step ``at``.

    Args:
        name: such as ``'SIGTERM'``.
        at: number of the step, from 1.
    """

    def __init__(self, name: str, at: int) -> None:
        self.name, self.at = name, at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Send it."""
        if runner.iter + 1 == self.at:
            os.kill(os.getpid(), getattr(signal, self.name))
