"""TaskStreams: a search's own batches of joint data, of the dataset that is asked for."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmnas_video.datasets import MAX_SHARE, JointDataset
from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATASETS, class_of

from .stream import BatchStream


class TaskStreams:
    """One endless :class:`BatchStream` for each dataset of a joint dataset.

    For steps on held-out data whose dataset is that of the training batch beside it (VIM-NAS, Algorithm 1)::

        held_out = streams.next(batch['data_samples'][0].task)

    Each dataset has workers of its own, so that a batch is there whichever dataset comes next: ``num_workers`` counts
    for each. (Where a search takes the training loader's number, the datasets share it out.)

    Args:
        loader: DataLoader config with a ``JointDataset`` and without samplers; ``batch_sizes`` (name → clips) may stand
            beside ``batch_size``.
        seed: the run's seed.
        purpose: what the streams are for; streams of different purposes have different orders.
        source: config key for errors.
        max_bad_share: share of a dataset's clips that may be unreadable.
        shared: see :class:`BatchStream`.

    Raises:
        ConfigError: a sampler in the config, a batch size for a name there is not, a dataset that is missing or empty.
    """

    def __init__(
        self,
        loader: Mapping[str, Any],
        seed: int,
        purpose: str,
        source: str,
        max_bad_share: float = MAX_SHARE,
        shared: bool = True,
    ) -> None:
        cfg = copy.deepcopy(dict(loader))
        if not is_joint(cfg):
            raise ConfigError(f'{source}.dataset: found {cfg["dataset"].get("type")!r}, expected a JointDataset')
        if cfg.pop('batch_sampler', None) is not None:
            raise ConfigError(f'{source}.batch_sampler: found one, expected none: the search asks for a dataset itself')
        sizes, dataset = cfg.pop('batch_sizes', None) or {}, cfg.pop('dataset')
        # All of them at once: what one holds out, another may not give.
        # Of what a search holds out of the training list, the key of that one, under which a user can change it.
        joint: JointDataset = DATASETS.build({'config_key': f'{source}.dataset', **dataset})
        unknown = sorted(set(sizes) - set(joint.tasks))
        if unknown:
            raise ConfigError(
                f'{source}.batch_sizes: found the name {unknown[0]!r}, expected one of {", ".join(joint.tasks)}'
            )
        self.streams: dict[str, BatchStream] = {}
        for task in joint.tasks:
            own = {**cfg, 'batch_size': sizes.get(task, cfg['batch_size']), 'dataset': joint.alone(task)}
            self.streams[task] = BatchStream(own, seed, f'{purpose} {task}', source, max_bad_share, shared)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The datasets' names."""
        return tuple(self.streams)

    @property
    def dataset(self) -> TaskStreams:
        """What answers :meth:`file_ids` and :meth:`ids`, for checks."""
        return self

    def __len__(self) -> int:
        """Clips of all datasets."""
        return sum(len(stream.dataset) for stream in self.streams.values())

    def next(self, task: str) -> dict[str, Any]:
        """The next batch of one dataset, as the DataLoader gives it (not preprocessed).

        Raises:
            ConfigError: there is no dataset of this name.
        """
        if task not in self.streams:
            raise ConfigError(
                f'arch_dataloader.dataset.datasets: found none of the name {task!r}, expected one of '
                f'{", ".join(self.tasks)}, as in training'
            )
        return next(self.streams[task])

    def file_ids(self) -> list[str]:
        """Absolute paths of all files."""
        return [path for stream in self.streams.values() for path in stream.dataset.file_ids()]

    def file_hashes(self) -> np.ndarray:
        """Hash of each of them."""
        return np.concatenate([stream.dataset.file_hashes() for stream in self.streams.values()])

    def ids(self) -> np.ndarray:
        """Hash of each clip's video."""
        return np.concatenate([stream.dataset.ids() for stream in self.streams.values()])

    def close(self) -> None:
        """End the workers; the streams can be drawn from again."""
        for stream in self.streams.values():
            stream.close()

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Per dataset how many batches have been consumed."""
        return {task: stream.state_dict() for task, stream in self.streams.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Continue after as many batches of each dataset, without decoding them.

        Raises:
            ConfigError: the state is of other datasets.
        """
        if set(state) != set(self.streams):
            raise ConfigError(
                f'resume: found held-out streams of {", ".join(sorted(state))}, expected {", ".join(self.tasks)}'
            )
        for task, stream in self.streams.items():
            stream.load_state_dict(state[task])


def workers_of_each(workers: int, sets: int) -> int:
    """Of each of ``sets`` datasets, whose workers live beside one another, where one loader would have ``workers``."""
    return math.ceil(workers / sets)


def is_joint(loader: Mapping[str, Any]) -> bool:
    """Whether a DataLoader config is of joint data."""
    return class_of(loader['dataset'], DATASETS) is JointDataset
