"""Make a run a function of its seed, so that one that is resumed equals one that was not killed."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS
from mmnas_video.runner_state import MODES, counts_iterations, loader_of, whole_dataset

from .joint_dataset import JointDataset
from .seed import derive_seed, reseed_process
from .seeded_dataset import SeededDataset
from .workers import close_runner_workers

#: Datasets whose samples each epoch draws anew, where a sampler says which it is.
DRAWN = (SeededDataset, JointDataset)


def own_generator(loader: DataLoader, *parts: int | str) -> None:
    """Give ``loader`` a generator of its own, seeded from ``parts``.

    A DataLoader without one draws its workers' seeds from torch's global generator each time it is iterated,
    so that a validation would move the dropout masks of the epoch that follows.
    """
    loader.generator = torch.Generator().manual_seed(derive_seed(*parts))


def check_drawn_anew(loader: DataLoader) -> None:
    """Demand that a training loader tells a ``SeededDataset`` or ``JointDataset`` the epoch and the run's seed.

    A plain index is that of epoch 0: every epoch would give each clip the same frames, crop and flip, with any seed.

    Raises:
        ConfigError: another sampler, or a dataset around it that passes on plain indices.
    """
    dataset = whole_dataset(loader.dataset)
    if not any(isinstance(part, DRAWN) for part in _within(dataset)):
        return
    same = 'every epoch would give each clip the same frames, crop and flip.'
    if not isinstance(dataset, DRAWN):
        raise ConfigError(
            f'train_dataloader.dataset: found a {type(dataset).__name__} around a SeededDataset, expected the '
            f'SeededDataset itself, or a JointDataset of several: through another {same} Lists of the same classes '
            'are joined in one ann_file.'
        )
    if not _tells_epoch(loader):
        raise ConfigError(
            f'train_dataloader.sampler: found {type(loader.sampler).__name__} with a {type(dataset).__name__}, '
            f"expected sampler=dict(_delete_=True, type='SeededSampler', shuffle=True): with another {same}"
        )


@HOOKS.register_module()
class ReproducibleHook(Hook):
    """Re-seed the main process from (seed, epoch, rank), and keep the DataLoaders off its generators.

    The main process draws dropout and drop-path masks from the global generators. They are seeded anew at the
    start of each epoch (in an ``IterBasedTrainLoop``, and with data that can go on within an epoch, before each
    iteration), so their state need not be in the checkpoint.

    For a resume that is exact also needed: ``randomness = dict(seed=…)`` in the config (the Runner makes its
    samplers before a resume gives it the old run's seed), ``SeededSampler`` and ``SeededDataset``. What is
    missing is warned of; a ``SeededDataset`` with another sampler is refused. Takes no option.
    """

    priority = 'VERY_HIGH'  # before any hook that draws

    def before_run(self, runner: Runner) -> None:
        """Give every DataLoader its generator."""
        for mode, loader in _loaders(runner):
            own_generator(loader, runner.seed, 'loader', mode, get_rank())

    def before_train(self, runner: Runner) -> None:
        """Warn of what makes a resume inexact.

        Raises:
            ConfigError: what :func:`check_drawn_anew` refuses.
        """
        check_drawn_anew(runner.train_dataloader)
        for reason in _gaps(runner):
            runner.logger.warning(f'Resuming this run will not be bit for bit: {reason}')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the process for this epoch."""
        reseed_process(derive_seed(runner.seed, 'epoch', runner.epoch, get_rank()))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the process for this iteration, where a run may go on at any of them."""
        within = getattr(runner.train_loop.dataloader.batch_sampler, 'resumes_within_epoch', False)
        if within or counts_iterations(runner):
            reseed_process(derive_seed(runner.seed, 'iteration', runner.iter, get_rank()))

    def after_run(self, runner: Runner) -> None:
        """End the workers, which hold state of this run; :func:`close_workers` says why not later."""
        close_runner_workers(runner)


def _loaders(runner: Runner) -> Iterator[tuple[str, DataLoader]]:
    """The DataLoaders of the loops that have been built."""
    for mode in MODES:
        loader = loader_of(runner, mode)
        if loader is not None:
            yield mode, loader


def _within(dataset: Any) -> Iterator[Any]:
    """A dataset and those that it repeats or joins."""
    yield dataset
    if not isinstance(dataset, DRAWN):
        for part in getattr(dataset, 'datasets', None) or filter(None, [getattr(dataset, 'dataset', None)]):
            yield from _within(part)


def _is_reproducible(part: object) -> bool:
    return getattr(part, 'reproducible', False)


def _tells_epoch(loader: DataLoader) -> bool:
    return _is_reproducible(loader.sampler) or _is_reproducible(loader.batch_sampler)


def _gaps(runner: Runner) -> Iterator[str]:
    if (runner.cfg.get('randomness') or {}).get('seed') is None:
        yield 'randomness.seed is not set, expected a number in the config (or from the command line).'
    loader = runner.train_dataloader
    if not _tells_epoch(loader):
        found = type(loader.sampler).__name__
        yield f'train_dataloader.sampler is {found}, expected SeededSampler or EndlessSampler.'
    if not _is_reproducible(loader.dataset):
        found = type(loader.dataset).__name__
        yield f'train_dataloader.dataset is {found}, expected SeededDataset around it.'
