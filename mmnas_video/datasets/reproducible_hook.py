"""Make a run a function of its seed, so that one that is resumed equals one that was not killed."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmnas_video.registry import HOOKS

from .seed import derive_seed, reseed_process
from .workers import close_runner_workers

MODES = ('train', 'val', 'test')


def own_generator(loader: DataLoader, *parts: int | str) -> None:
    """Give ``loader`` a generator of its own, seeded from ``parts``.

    A DataLoader without one draws its workers' seeds from torch's global generator each time it is iterated,
    so that a validation would move the dropout masks of the epoch that follows.
    """
    loader.generator = torch.Generator().manual_seed(derive_seed(*parts))


@HOOKS.register_module()
class ReproducibleHook(Hook):
    """Re-seed the main process from (seed, epoch, rank), and keep the DataLoaders off its generators.

    The main process draws dropout and drop-path masks from the global generators. They are seeded anew at the
    start of each epoch (in an ``IterBasedTrainLoop``, and with data that can go on within an epoch, before each
    iteration), so their state need not be in the checkpoint.

    For a resume that is exact also needed: ``randomness = dict(seed=…)`` in the config (the Runner makes its
    samplers before a resume gives it the old run's seed), ``SeededSampler`` and ``SeededDataset``. What is
    missing is warned of. Takes no option.
    """

    priority = 'VERY_HIGH'  # before any hook that draws

    def before_run(self, runner: Runner) -> None:
        """Give every DataLoader its generator."""
        for mode, loader in _loaders(runner):
            own_generator(loader, runner.seed, 'loader', mode, get_rank())

    def before_train(self, runner: Runner) -> None:
        """Warn of what makes a resume inexact."""
        for reason in _gaps(runner):
            runner.logger.warning(f'Resuming this run will not be bit for bit: {reason}')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the process for this epoch."""
        reseed_process(derive_seed(runner.seed, 'epoch', runner.epoch, get_rank()))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the process for this iteration, where a run may go on at any of them."""
        loop = runner.train_loop
        within = getattr(loop.dataloader.batch_sampler, 'resumes_within_epoch', False)
        if within or isinstance(loop, IterBasedTrainLoop):
            reseed_process(derive_seed(runner.seed, 'iteration', runner.iter, get_rank()))

    def after_run(self, runner: Runner) -> None:
        """End the workers, which hold state of this run; :func:`close_workers` says why not later."""
        close_runner_workers(runner)


def _loaders(runner: Runner) -> Iterator[tuple[str, DataLoader]]:
    """The DataLoaders of the loops that have been built (asking ``runner.val_loop`` would build one)."""
    for mode in MODES:
        loader = getattr(getattr(runner, f'_{mode}_loop'), 'dataloader', None)
        if isinstance(loader, DataLoader):
            yield mode, loader


def _gaps(runner: Runner) -> Iterator[str]:
    if (runner.cfg.get('randomness') or {}).get('seed') is None:
        yield 'randomness.seed is not set, expected a number in the config (or from the command line).'
    loader = runner.train_dataloader
    if not (getattr(loader.sampler, 'reproducible', False) or getattr(loader.batch_sampler, 'reproducible', False)):
        found = type(loader.sampler).__name__
        yield f'train_dataloader.sampler is {found}, expected SeededSampler or EndlessSampler.'
    if not getattr(loader.dataset, 'reproducible', False):
        found = type(loader.dataset).__name__
        yield f'train_dataloader.dataset is {found}, expected SeededDataset around it.'
