"""The command line of ``tools/``: its arguments, the config that they make, and a plan in words."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmnas_video.cfg_options import OptionsAction
from mmnas_video.config_keys import check_keys, check_sections
from mmnas_video.errors import ConfigError
from mmnas_video.launch import AUTO, load_config
from mmnas_video.search import read_checkpoint


def add_cfg_options(parser: argparse.ArgumentParser, example: str = 'train_cfg.max_epochs=2') -> None:
    """``--cfg-options``, as every tool that takes a config has it."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help=f'override parts of the config, e.g. {example}; a,b and [a,b] are lists, and a string with a comma has '
        'quotes: KEY="\'a,b\'"',
    )


def add_arguments(parser: argparse.ArgumentParser, runs: bool = True, trains: bool = True) -> None:
    """The arguments that every tool which takes a config has, named as MMAction2's.

    Args:
        parser: of the tool.
        runs: whether the tool starts a Runner, which has a work dir, ranks and a log.
        trains: whether that trains.
    """
    trains = trains and runs
    parser.set_defaults(
        runs=runs, trains=trains, work_dir=None, resume=None, amp=False, auto_scale_lr=False, launcher='none'
    )
    parser.add_argument('config', help='config file (.py)')
    if runs:
        parser.add_argument(
            '--work-dir', help='folder for logs, checkpoints and results (default: work_dirs/CONFIG_NAME)'
        )
    if trains:
        parser.add_argument(
            '--resume',
            nargs='?',
            const=AUTO,
            metavar='CHECKPOINT',
            help='continue: from a checkpoint file, or without a value from the last one in the work dir (begin, if it '
            'has none)',
        )
    parser.add_argument('--seed', type=int, help="random seed (default: the config's)")
    if runs:
        parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    if trains:
        parser.add_argument(
            '--auto-scale-lr',
            action='store_true',
            help='scale learning rates, also that of alpha, with the real batch size (auto_scale_lr in the config)',
        )
    add_cfg_options(parser)
    parser.add_argument(
        '--depth-scale',
        type=float,
        metavar='F',
        help='multiply the number of blocks of every group (AutoX3D-L: 2); the arch file stays the same',
    )
    if runs:
        parser.add_argument(
            '--launcher',
            choices=('none', 'pytorch', 'slurm', 'mpi'),
            default='none',
            help='how several processes were started (tools/dist_*.sh set it)',
        )
        parser.add_argument(
            '--verbose',
            action='store_true',
            help="show MMEngine's whole log: environment, config, hooks (it always stands in WORK_DIR/TIME/TIME.log)",
        )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def read_config(path: str, args: argparse.Namespace) -> Config:
    """The config with the command line merged in, and, for what runs, a work dir that can be written.

    Raises:
        ConfigError: no such file, a key that nothing reads, or a work dir that cannot be written.
    """
    cfg = load_config(path, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}'
    _merge_arguments(cfg, args)
    check_sections(cfg)
    check_keys(cfg)
    if args.runs:
        check_work_dir(cfg.work_dir)
    return cfg


def _merge_arguments(cfg: Config, args: argparse.Namespace) -> None:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if hasattr(args, 'verbose'):
        cfg.console = 'all' if args.verbose else 'brief'
    if args.seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': args.seed}
    if args.depth_scale is not None:
        _need(cfg, '--depth-scale', 'model', 'backbone')
        cfg.model.backbone.depth_scale = args.depth_scale
    if args.resume == AUTO:
        cfg.resume = AUTO
    elif args.resume:
        read_checkpoint(args.resume)  # a file that cannot be resumed from is refused now, with its one error
        cfg.resume, cfg.load_from = True, args.resume
    if args.amp and not args.trains:
        _need(cfg, '--amp', 'test_cfg')
        if not torch.cuda.is_available():
            raise ConfigError(
                '--amp: found no GPU, expected one for a test: on a CPU autocast computes in bfloat16, and numpy, in '
                'which MMAction2 counts right answers, has none'
            )
        cfg.test_cfg.fp16 = True
    elif args.amp:
        _need(cfg, '--amp', 'optim_wrapper')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise ConfigError(
                '--auto-scale-lr: found no auto_scale_lr in the config, expected '
                'auto_scale_lr=dict(base_batch_size=...)'
            )
        cfg.auto_scale_lr.enable = True


def _need(cfg: Config, option: str, *keys: str) -> None:
    """Refuse an option that changes a part which the config has not."""
    part: Any = cfg
    for key in keys:
        part = part.get(key)
        if not isinstance(part, Mapping):
            raise ConfigError(f'{option}: found no {".".join(keys)} in the config, expected a config that has it')


def check_work_dir(work_dir: str | os.PathLike[str], key: str = 'work_dir') -> None:
    """Refuse a folder that cannot be written, before anything else is done.

    Args:
        work_dir: the folder; it is made.
        key: what named it.

    Raises:
        ConfigError: names the folder and the reason.
    """
    try:
        os.makedirs(work_dir, exist_ok=True)
        probe = Path(work_dir) / f'.writable-{os.getpid()}'
        probe.touch()
        probe.unlink(missing_ok=True)  # a rank on another machine may have the same number
    except OSError as error:
        raise ConfigError(
            f'{key}: cannot write to {str(work_dir)!r} ({error.strerror}), expected a folder that can be written'
            + ('; set --work-dir' if key == 'work_dir' else '')
        ) from None


def describe_plan(plan: Mapping[str, Any]) -> str:
    """What :func:`dry_run` returns, in words."""
    takes = '{hours:.3g} hours' if plan['hours'] >= 1 else '{minutes:.3g} minutes'
    words = '{epochs:,} epochs of {steps_per_epoch:,} steps, {seconds_per_step:.3g} s a step on this machine: '
    return (words + takes).format(**plan, minutes=60 * plan['hours'])
