"""What a Runner has been told and has built so far, in words.

The only place that reads these private names of MMEngine's Runner: it offers no public ones for ``resume`` and
``load_from``, and its public ``train_loop``, ``val_loop`` and ``test_loop`` build the loop that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader, Dataset

#: The loops of a Runner.
MODES = ('train', 'val', 'test')


def is_resuming(runner: Runner) -> bool:
    """Whether the run goes on where another ended (``resume``)."""
    return runner._resume


def weights_to_load(runner: Runner) -> str | None:
    """The file that weights come from (``load_from``), or with ``resume`` the run's state."""
    return runner._load_from


def loop_of(runner: Runner, mode: str) -> BaseLoop | Mapping[str, Any] | None:
    """A loop as it stands: its config until it is built, and None where the config has none.

    Args:
        mode: one of :data:`MODES`.
    """
    return getattr(runner, f'_{mode}_loop')


def loader_of(runner: Runner, mode: str) -> DataLoader | None:
    """The DataLoader of one of the :data:`MODES`, if its loop has been built; else None."""
    loader = getattr(loop_of(runner, mode), 'dataloader', None)
    return loader if isinstance(loader, DataLoader) else None


def whole_dataset(dataset: Dataset) -> Dataset:
    """The dataset that a config names, where ``num_batch_per_epoch`` has MMEngine wrap it; else itself."""
    return getattr(dataset, '_dataset', dataset)


def is_training(runner: Runner) -> bool:
    """Whether there is a training: before a validation or a test alone its loop is not built."""
    return isinstance(runner._train_loop, BaseLoop)


def counts_iterations(runner: Runner) -> bool:
    """Whether the training counts iterations and not epochs."""
    return isinstance(runner._train_loop, IterBasedTrainLoop)


def has_validation(runner: Runner) -> bool:
    """Whether the config has a validation."""
    return runner._val_loop is not None


def training_batch_size(runner: Runner) -> int:
    """Clips of one rank's training batch, whether the DataLoader is built or not."""
    loader = runner._train_dataloader
    return loader['batch_size'] if isinstance(loader, Mapping) else loader.batch_size


def build_training(runner: Runner) -> None:
    """Build the training loop, as ``runner.train()`` does first."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
