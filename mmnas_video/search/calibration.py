"""Calibration: BatchNorm statistics for an architecture that inherits its weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

import torch
from torch import nn

from mmnas_video.datasets import bad_share
from mmnas_video.entangle import kept_statistics, norm_layers, rank_statistics, recalibrate

from .stream import BatchStream
from .task_streams import TaskStreams, is_joint


class Calibration:
    """Recomputes running statistics from a fixed set of training clips.

    The clips are decoded once, at their first use, and kept as the loader gives them (uint8): 64 clips of 13x160x160
    are 64 MB. They are the same for every architecture and on every rank, so scores are compared on equal terms, and
    no rank waits for another (with ``sync_bn`` neither). Of several named datasets the batches are in turn.

    Args:
        model: the bare recognizer.
        cfg: has the training DataLoader, and how many of its clips may be unreadable.
        clips: how many; 0 turns calibration off.
        seed: the run's.
        logger: told how many clips were used.
    """

    def __init__(self, model: nn.Module, cfg: Mapping[str, Any], clips: int, seed: int, logger: logging.Logger) -> None:
        self.model, self.clips, self.seed, self.logger = model, clips, seed, logger
        self.max_bad_share = bad_share(cfg)
        self._cfg = {
            **{k: v for k, v in cfg['train_dataloader'].items() if k in ('batch_size', 'dataset', 'collate_fn')},
            'num_workers': 0,
        }
        self._batches: list[dict[str, Any]] | None = None

    def batches(self) -> list[dict[str, Any]]:
        """The clips, in batches of the training loader's size."""
        if self._batches is None:
            args = (self._cfg, self.seed, 'calibration', 'train_dataloader')
            whole = {'shared': False, 'max_bad_share': self.max_bad_share}
            joint = is_joint(self._cfg)
            streams = list(TaskStreams(*args, **whole).streams.values()) if joint else [BatchStream(*args, **whole)]
            number = -(-self.clips // streams[0].loader.batch_size)
            self._batches = [next(stream) for stream in islice(cycle(streams), number)]
        return self._batches

    def run(self) -> int:
        """Recalibrate the active architecture; returns the number of clips used (0 if turned off, or without BN)."""
        used = self._recalibrate()
        if used:
            self.logger.info(f'BatchNorm statistics recalibrated on {used} training clips')
        return used

    def _recalibrate(self) -> int:
        if not self.clips or not norm_layers(self.model):
            return 0
        with rank_statistics():
            recalibrate(self.model, [partial(self._forward, batch) for batch in self.batches()])
        return sum(len(batch['inputs']) for batch in self.batches())

    def _forward(self, batch: dict[str, Any]) -> torch.Tensor:
        return self.model(**self.model.data_preprocessor(dict(batch), False), mode='tensor')

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Recalibrated statistics for a block, the old ones bit for bit afterwards."""
        with kept_statistics(self.model):
            self._recalibrate()  # not in the log: hundreds of candidates come by here
            yield
