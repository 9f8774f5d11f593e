"""LogWindowHook: a long run does not carry every number it has ever logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.errors import check_number
from mmnas_video.registry import HOOKS

#: Steps between two looks at what is logged.
EVERY = 100


@HOOKS.register_module()
class LogWindowHook(Hook):
    """Keeps the last so many values of everything that is logged, at least those of an epoch.

    MMEngine keeps a million of each in memory and in every checkpoint, and copies them at every step: eight of them,
    after 500,000 steps, take about 10 ms of each one and 64 MB of a checkpoint, where the log needs some dozens
    (``window_size`` of the ``log_processor``). A window over all (``'global'`` in its ``custom_cfg``) is left what it
    needs.

    Args:
        keep: values of each.

    Raises:
        ConfigError: ``keep`` is no positive whole number.
    """

    priority = 'VERY_LOW'

    def __init__(self, keep: int = 10000) -> None:
        check_number('LogWindowHook.keep', keep, 1)
        self.keep = keep

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """Tell the buffers, also those that are new, how long they may be."""
        if runner.iter % EVERY:
            return
        custom = runner.log_processor.custom_cfg
        whole = {one['data_src'] for one in custom if one.get('window_size') == 'global'}
        for name, buffer in runner.message_hub.log_scalars.items():
            if name.removeprefix('train/') not in whole:
                buffer.max_length = max(self.keep, len(runner.train_dataloader))
