"""What a run shows on the screen: what will be run, then how far it is. MMEngine's whole log goes to the log file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmnas_video.cost import total_cost
from mmnas_video.entangle import bare_model, find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.runner_state import weights_to_load
from mmnas_video.search import SearchHook

PACKAGE = Path(__file__).parent
#: Lines of MMEngine's that stay on the screen: progress with the time that is left, and checkpoints.
SHOWN = ('Epoch(', 'Saving checkpoint', 'Load checkpoint', 'resumed epoch')
#: Warnings of the software below us about itself: nobody who runs a config can do anything about them.
NOISE = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')
#: ``console`` in a config: MMEngine's whole log, our few lines, or errors only (beside a progress line of one's own).
MODES = ('all', 'brief', 'errors')


class BriefFilter(logging.Filter):
    """Lets through what our own code says, MMEngine's progress, and warnings that concern the run."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            return not text.startswith(NOISE)
        return Path(record.pathname).is_relative_to(PACKAGE) or text.startswith(SHOWN)


class ConsoleRunner(Runner):
    """MMEngine's Runner whose logger shows what ``console`` in the config says; without the key, all of it."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger; its file handler takes everything whatever the screen shows.

        Raises:
            ConfigError: ``console`` is none of :data:`MODES`.
        """
        mode = self.cfg.get('console', 'all')
        if mode not in MODES:
            raise ConfigError(f'console: found {mode!r}, expected one of {", ".join(MODES)}')
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                continue
            if mode == 'errors':
                handler.setLevel(logging.ERROR)
            elif mode == 'brief':
                handler.addFilter(BriefFilter())
        return logger


class OpeningHook(Hook):
    """Says once, when everything is built and before the first step, what will be run, for how long and where."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._said = False

    def before_train(self, runner: Runner) -> None:
        """Of a training or a search."""
        self._say(runner, opening(runner, training_lines(runner)))

    def before_test(self, runner: Runner) -> None:
        """Of a test that is not the end of a training."""
        clips = len(runner.test_dataloader.dataset)
        rows = [('test', f'{clips:,} videos in {len(runner.test_dataloader):,} batches')]
        if weights_to_load(runner):
            rows.append(('weights', str(weights_to_load(runner))))
        self._say(runner, opening(runner, rows))

    def _say(self, runner: Runner, lines: Sequence[str]) -> None:
        if not self._said:
            runner.logger.info('\n'.join(lines))
        self._said = True


def opening(runner: Runner, rows: Sequence[tuple[str, str]]) -> list[str]:
    """The lines of :class:`OpeningHook`: config and cost, ``rows``, where it runs, where the results go."""
    cfg, logger = runner.cfg, runner.logger
    gpu = torch.cuda.is_available()
    one = torch.cuda.get_device_name() if gpu else f'CPU, threads of torch: {torch.get_num_threads()}'
    several = f'{runner.world_size} processes, each ' if runner.world_size > 1 else ''
    rows = [
        ('config', cfg.filename or 'made in the program'),
        ('network', network(runner)),
        *rows,
        ('device', f'{several}{one}; seed {runner.seed}'),
        ('results', str(runner.work_dir)),
        ('log', f"{logger.log_file} (MMEngine's whole log; on the screen with --verbose)"),
    ]
    return [f'{runner.experiment_name} begins', *(f'  {name:<8}{text}' for name, text in rows)]


def training_lines(runner: Runner) -> list[tuple[str, str]]:
    """What a training will do."""
    loader, epochs, left = runner.train_dataloader, runner.max_epochs, runner.max_iters - runner.iter
    counts = (runner.cfg.get('train_cfg') or {}).get('max_iters')  # the loop of such a run says one epoch
    length = f'{runner.max_iters:,} steps' if counts else f'{epochs:,} epochs of {len(loader):,} steps'
    rows = [
        ('data', f'{len(loader.dataset):,} training clips'),
        ('steps', f'{length}, {left:,} to go; eta in the lines below (--dry-run tells it before)'),
    ]
    then = [f'train what is found by {runner.cfg.retrain.config} and test it'] if runner.cfg.get('retrain') else []
    if any(isinstance(hook, SearchHook) for hook in runner.hooks):
        rows.append(('then', '; '.join(['search/ gets arch, weights and report', *then])))
    return rows


def network(runner: Runner) -> str:
    """Backbone, and parameters and multiply-adds of a network that has nothing to choose any more."""
    model = bare_model(runner.model)
    backbone = type(getattr(model, 'backbone', model)).__name__
    shape = runner.cfg.get('cost_shape')
    try:
        searchable = find_searchable(model)[1]
        if searchable.space.open or not shape:
            return f'{backbone}, {searchable.space.size:.3g} architectures' if searchable.space.open else backbone
        cost = total_cost(model, searchable, searchable.space.smallest, tuple(shape))
    except ConfigError:
        return backbone  # one of the host's, which counts nothing
    return f'{backbone}, {cost.params:,} params, {cost.macs:,} MACs at {"x".join(map(str, shape))}'
