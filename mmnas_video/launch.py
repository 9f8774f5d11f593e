"""From a config file to a Runner and its run; what ``tools/`` and a notebook both call."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, init_dist, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from mmnas_video import compat
from mmnas_video.building import FULL, building
from mmnas_video.config_keys import check_keys, check_options, parts
from mmnas_video.console import ConsoleRunner, OpeningHook
from mmnas_video.datasets import LabelHook
from mmnas_video.errors import ConfigError, RunError, StackError, named, shown
from mmnas_video.only_run import RANKS
from mmnas_video.registry import RUNNERS, hook_class
from mmnas_video.search import (
    build_hook,
    check_warm_up,
    find_checkpoint,
    fit_readers,
    is_search_hook,
)
from mmnas_video.search.config_text import unformatted

LOOPS = {'train': 'train_dataloader', 'val': 'val_dataloader', 'test': 'test_dataloader'}
DRY_STEPS = 2
#: ``resume`` of a config: go on from the last checkpoint in the work dir, or begin if there is none.
AUTO = 'auto'


def load_config(path: str, options: Mapping[str, Any] | None = None) -> Config:
    """A config with ``options`` merged in; MMAction2 is the scope in which its ``type`` names are looked up.

    Raises:
        ConfigError: no such file, one that is no config, or an option that the config has no place for.
    """
    if not Path(path).is_file():
        raise ConfigError(
            f'config: found no file {named(path)}, expected the path of a config such as configs/demo/autox3d.py'
        )
    with _reading(f'config: found in {path!r} what cannot be read', 'a config file (.py)'):
        cfg = unformatted(Config.fromfile(path))
        list(parts(cfg))  # a config of MMEngine's new style imports what it names only when that is looked at
    check_options(options or {}, cfg)
    for key, value in (options or {}).items():
        with _reading(f'--cfg-options: found {key}={shown(value)}, which has no place', 'a key of the config'):
            cfg.merge_from_dict({key: value})
    init_default_scope(cfg.get('default_scope') or 'mmaction')
    return cfg


@contextmanager
def _reading(found: str, expected: str) -> Iterator[None]:
    """Whatever MMEngine raises over a file or an option of the user's is one error; a full disk is none of theirs."""
    try:
        yield
    except (ConfigError, StackError, RunError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        reason = ' '.join(str(error).split())[:300]
        raise ConfigError(f'{found} ({type(error).__name__}: {reason}), expected {expected}') from error


def join_ranks(cfg: Config) -> None:
    """Join the process group of the launcher that the config names, as the Runner would; on a machine without GPU with
    the gloo backend.

    To be called before files are touched that all ranks see: without a group each of them is the main process, and none
    waits for another. Nothing is done without a launcher, and nothing a second time.

    Raises:
        ConfigError: the launcher's environment is not there, ``env_cfg.dist_cfg`` is no such config, or there is no GPU
            and the launcher is not torchrun.
    """
    if cfg.get('launcher', 'none') == 'none' or is_distributed():
        return
    if cfg.launcher != 'pytorch' and not torch.cuda.is_available():
        raise ConfigError(
            f"--launcher: found {cfg.launcher!r} without a GPU, expected 'pytorch' (tools/dist_*.sh; under Slurm "
            'tools/slurm_search.sh)'
        )
    if (rank := RANKS.get(cfg.launcher)) and rank not in os.environ:
        raise ConfigError(
            f'--launcher: found {cfg.launcher!r} in a process without {rank}, expected one that this launcher has '
            'started (tools/dist_search.sh CONFIG PROCESSES); without a launcher leave the option out'
        )
    env = cfg.get('env_cfg') or {}
    group = env.get('dist_cfg') or {}
    with building(cfg):
        if not torch.cuda.is_available():
            compat.init_cpu_process_group(group.get('timeout'))
            return
        # In the Runner's order: init_dist leaves the start method 'spawn' where none is set.
        set_multi_processing(**env.get('mp_cfg', {}), distributed=True)
        if cfg.launcher == 'slurm' and 'SLURM_LOCALID' in os.environ:
            # With --gpus-per-task=1 each process sees one GPU, its own: for it that is number 0.
            os.environ['SLURM_LOCALID'] = str(int(os.environ['SLURM_LOCALID']) % torch.cuda.device_count())
        init_dist(cfg.launcher, **group)


def build_runner(cfg: Config) -> Runner:
    """The Runner of a config, in the process group of its launcher (:func:`join_ranks`).

    ``cfg`` stays as it is. In the copy that the Runner has, and writes beside its results for stock tools,
    ``resume='auto'`` is settled, and the heads of a config that pins an architecture have the pinned network's width.
    """
    join_ranks(cfg)
    cfg = copy.deepcopy(cfg)
    settle_resume(cfg)
    fit_readers(cfg)
    # A step may leave parameters out: heads of other datasets, operators that an architecture has not. Where none are
    # left out, looking for them costs a walk over the graph; where some are, not looking ends in torch's error.
    cfg.setdefault('find_unused_parameters', True)
    if cfg.get('launcher', 'none') != 'none' and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = compat.cpu_model_wrapper_cfg(find_unused_parameters=cfg.find_unused_parameters)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else ConsoleRunner.from_cfg(cfg)
    runner.register_hook(LabelHook())
    runner.register_hook(OpeningHook())
    return runner


def settle_resume(cfg: Config) -> None:
    """Make of ``resume='auto'`` a resume from the last checkpoint of the work dir, or a start as the config says.

    MMEngine has no such start: for it ``load_from`` beside ``resume`` is the checkpoint to go on from. Nor does it look
    for that in a work dir that was moved or copied: ``last_checkpoint`` holds the path of the time of writing. What a
    search that was killed before its first checkpoint left of its history goes, as if it had not been run.

    Args:
        cfg: a copy of the caller's: what is settled for one run would make his next one begin anew.

    Raises:
        ConfigError: ``last_checkpoint`` names a file that is not there.
    """
    if cfg.get('resume') != AUTO:
        return
    work_dir = Path(cfg.work_dir)
    found, last = find_checkpoint(work_dir), work_dir / 'last_checkpoint'
    if found is None and last.is_file():
        raise ConfigError(
            f'--resume: found no checkpoint in {cfg.work_dir!r} of the name that its last_checkpoint says, expected it '
            'there; put it there, name another one (--resume CHECKPOINT), or remove last_checkpoint to begin anew'
        )
    cfg.resume = found is not None
    barrier()  # no rank writes there before all have looked
    if cfg.resume:
        cfg.load_from = str(found)
    elif is_main_process() and not (work_dir / 'search' / 'arch.json').exists():  # every checkpoint has one beside it
        (work_dir / 'search' / 'history.jsonl').unlink(missing_ok=True)


def train(cfg: Config) -> Runner:
    """Build the Runner of a config and train; returns it.

    ``cfg`` stays as it is: with ``resume='auto'`` a second call goes on where the first was interrupted.

    Raises:
        ConfigError: whatever a config makes the software below us raise before a step is done; it names the part.
    """
    check_keys(cfg)
    with building(cfg) as first_step:
        runner = build_runner(cfg)
        runner.register_hook(first_step)
        runner.train()
    return runner


def shortened(cfg: Config, steps: int = DRY_STEPS) -> Config:
    """The same run with at most ``steps`` batches per loop and one epoch (``steps`` iterations of a run that counts
    them), in a folder of its own, and the phases of its hooks as short as their ``dry_options`` say."""
    short = copy.deepcopy(cfg)
    short.work_dir = str(Path(cfg.work_dir) / 'dry_run')
    key, length = ('max_iters', steps) if 'max_iters' in cfg.train_cfg else ('max_epochs', 1)
    short.train_cfg.update({key: length, 'val_interval': length})
    # What a run goes on from has been trained already; with 'auto' load_from is still what it begins with.
    short.resume, short.load_from = False, cfg.get('load_from') if cfg.get('resume') in (None, False, AUTO) else None
    for key in filter(short.get, LOOPS.values()):
        # MMEngine takes num_batch_per_epoch at its word, also where the list is shorter than that.
        whole = len(whole_loader(cfg, key).dataset) // (short[key].batch_size * get_world_size())
        if whole:
            short[key].num_batch_per_epoch = min(steps, whole)
    for hook in short.get('custom_hooks') or []:
        known = hook_class(hook)
        for option, most in getattr(known, 'dry_options', {}).items():
            given = hook.get(option)
            hook[option] = most if given is None else min(given, most)
        for option, most in getattr(known, 'dry_if_given', {}).items():
            if hook.get(option):
                hook[option] = min(hook[option], most)
    return short


def whole_loader(cfg: Config, key: str) -> DataLoader:
    """The DataLoader ``key`` of a config, without workers: for its length and its dataset."""
    return Runner.build_dataloader({**copy.deepcopy(cfg[key]), 'num_workers': 0, 'persistent_workers': False})


def dry_run(cfg: Config, finish: Callable[[Runner, Config], object] | None = None) -> dict[str, Any]:
    """Run a few steps of every phase, and say what the full run costs.

    Args:
        cfg: of the full run.
        finish: what the full run does between training and test; called with the Runner and the shortened config.

    Returns:
        ``steps_per_epoch``, ``epochs``, ``seconds_per_step`` (of this machine) and ``hours``. A run that counts
        iterations (``train_cfg.max_iters``) is one epoch of them.

    Raises:
        ConfigError: an epoch would have no step, or a part of the config cannot be built.
    """
    join_ranks(cfg)
    with building(cfg):
        steps, epochs = _steps_of(cfg), cfg.train_cfg.get('max_epochs', 1)
        for hook in filter(is_search_hook, cfg.get('custom_hooks') or []):
            check_warm_up(build_hook(hook), cfg.train_cfg.get('max_epochs'))  # the short run has none
        short = shortened(cfg)
    timer = _StepTimer()
    with building(short) as first_step:
        runner = build_runner(short)
        runner.register_hook(timer, priority='LOWEST')
        runner.register_hook(first_step)
        runner.train()
    if finish:
        finish(runner, short)
    if cfg.get('test_cfg') is not None and cfg.get('test_dataloader'):
        with building(short):
            runner.test()
    seconds = min(timer.seconds)
    return {
        'steps_per_epoch': steps,
        'epochs': epochs,
        'seconds_per_step': seconds,
        'hours': steps * epochs * seconds / 3600,
    }


def _steps_of(cfg: Config) -> int:
    """Training steps of an epoch on this rank; of a run that counts iterations all of them."""
    full = whole_loader(cfg, 'train_dataloader')
    if not len(full):
        raise ConfigError(
            f'train_dataloader.batch_size: found {full.batch_size} for {len(full.dataset)} clips, expected at '
            'most as many: with drop_last an epoch has no step'
        )
    return cfg.train_cfg.get('max_iters') or len(full)


class _StepTimer(Hook):
    """Wall-clock seconds between the ends of training steps."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._last = time.perf_counter()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._last)
