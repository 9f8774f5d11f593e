"""The demo: a search on generated videos, and what it found beside the alternatives at the same cost.

    make demo            about 10 minutes on 2 CPU cores
    make demo SMOKE=1    the same path in under a minute, with nothing learned

Makes the demo videos, runs the search (search, extract, retrain, test), then trains a hand-made uniform network and
five random architectures with the same multiply-adds in the same way, prints the table and writes the report.
"""

import argparse
import bisect
import json
import multiprocessing
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import check_work_dir
from mmnas_video.cost import Budget, Cost, total_cost
from mmnas_video.datasets import DemoOptions, derive_seed, make_demo
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import check_number
from mmnas_video.launch import load_config
from mmnas_video.pipeline import retrain_arch, run_search
from mmnas_video.registry import MODELS
from mmnas_video.space import Arch, read_arch_file, write_text_atomic
from mmnas_video.visualization import write_report


def shipped(config: str) -> str:
    """Where the config lies that goes with these tools: in this checkout, or in the installed package's ``.mim``."""
    return os.path.relpath(Path(__file__).resolve().parents[1] / config)


CONFIG = shipped('configs/demo/autox3d.py')
RANDOM_ARCHS = 5
#: How far the alternatives' MACs may be from the searched network's.
TOLERANCE = 0.03
#: Random architectures looked at before there are taken to be no more of that cost.
MAX_DRAWS = 1_000_000
SMOKE = {
    'search': {
        'epochs': 1,
        'train_cfg.max_epochs': 1,
        'custom_hooks.0.num_archs': 2,
        'custom_hooks.0.warmup_epochs': 0,
        'custom_hooks.0.mode': 'joint',
        'custom_hooks.0.calibration_clips': 8,
    },
    'retrain': {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
}


class Phases:
    """Says what begins, and keeps how long it took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._start = '', 0.0

    def begin(self, name: str) -> None:
        """End the phase before and begin ``name``."""
        now = time.monotonic()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._start
        self._name, self._start = name, now
        if name:
            print(f'== {name}', flush=True)


def quiet(cfg: Config, name: str) -> Config:
    """Our progress line in the place of MMEngine's log on the screen (the log file has all of it)."""
    cfg.console = 'errors'
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ProgressHook', name=name)]
    return cfg


def same_cost_archs(model: Any, shape: tuple[int, ...], macs: int, count: int, seed: int) -> list[Arch]:
    """Random architectures of the space whose MACs are those of the searched network (within 3 %)."""
    _, searchable = find_searchable(model)
    rest = (
        total_cost(model, searchable, searchable.space.smallest, shape).macs
        - searchable.cost(searchable.space.smallest, shape).macs
    )
    budget = Budget(macs=(macs * (1 - TOLERANCE), macs * (1 + TOLERANCE)))
    rng, found = random.Random(derive_seed(seed, 'demo')), dict[Arch, None]()
    for _ in range(MAX_DRAWS):
        if len(found) == count:
            break
        arch = searchable.space.sample(rng)
        if budget.admits(macs=searchable.cost(arch, shape).macs + rest):
            found[arch] = None
    return list(found)  # fewer than count where hardly any architecture costs so little, or so much


def uniform_backbone(cfg: Config, macs: int) -> dict[str, Any]:
    """An X3D-like network as hand-made: one kernel, expansion 2.25, widths doubling by stage, scaled to the cost.

    Its widths need not be offered by the space: it is no point of it, but what one would build without a search.
    """

    def backbone(width: float) -> dict[str, Any]:
        stages = tuple(
            ('values', (round(width * 2**s),), stage[-1]) for s, stage in enumerate(cfg.model.backbone.stages)
        )
        return {
            **cfg.model.backbone,
            'stages': stages,
            'kernels': ('t3_s3',),
            'expansions': (2.25,),
            'attentions': ('none',),
            'space_name': 'uniform',
            'arch': None,
        }

    def cost(width: float) -> int:
        return network_cost({**cfg.model, 'backbone': backbone(width)}, cfg.cost_shape).macs

    return backbone(nearest_width(cost, macs))


def nearest_width(cost: Callable[[float], int], target: float) -> float:
    """The width that costs nearest to ``target``, in steps of an eighth of a channel: in whole ones the cost would miss
    the target by up to 9 %."""
    widths = [eighths / 8 for eighths in range(8, 8 * 48)]
    above = min(bisect.bisect_left(widths, target, key=cost), len(widths) - 1)
    return min(widths[max(above - 1, 0) : above + 1], key=lambda width: abs(cost(width) - target))


def network_cost(model_cfg: Mapping[str, Any], shape: tuple[int, ...]) -> Cost:
    """MACs and parameters of a pinned network."""
    model = MODELS.build(dict(model_cfg))
    _, searchable = find_searchable(model)
    return total_cost(model, searchable, searchable.space.smallest, shape)


def train_row(name: str, cfg: Config, backbone: Mapping[str, Any], work_dir: Path) -> dict[str, Any]:
    """Train one network like all the others and give its row of the table."""
    cost = network_cost({**cfg.model, 'backbone': dict(backbone)}, cfg.cost_shape)
    done = retrain_arch(cfg.retrain, backbone.get('arch'), work_dir, cfg, backbone=backbone, name=name)
    return {'name': name, **cost._asdict(), 'top1': done['metrics']['acc/top1'], 'arch': backbone.get('arch') or {}}


def _start_training() -> None:
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    # MMEngine's word about the start method of the loader's workers, which the config names.
    warnings.filterwarnings('ignore', 'Multi-processing start method', UserWarning)


def side_by_side(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What ``work(*job)`` gives for each job, one on each core at a time.

    Networks this small leave a second thread idle most of the time; two trainings side by side do not.
    """
    # Fresh processes: a fork would copy the state of torch's thread pool.
    context, workers = multiprocessing.get_context('spawn'), min(len(jobs), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, context, initializer=_start_training) as pool:
        return [future.result() for future in [pool.submit(work, *job) for job in jobs]]


def train_rows(cfg: Config, networks: Sequence[tuple[str, Mapping[str, Any], Path]]) -> list[dict[str, Any]]:
    """The rows of several networks (name, backbone, folder)."""
    return side_by_side(train_row, [(name, cfg, backbone, folder) for name, backbone, folder in networks])


def table(rows: list[dict[str, Any]]) -> str:
    """The comparison as text: the random architectures as their median and their best."""
    found = [row for row in rows if not row['name'].startswith('random')]
    others = sorted((row for row in rows if row['name'].startswith('random')), key=lambda row: row['top1'])
    if others:
        # Both are networks, as in the report: of an even number the lower of the two in the middle.
        found.append({**others[(len(others) - 1) // 2], 'name': f'median of {len(others)} random'})
        found.append({**others[-1], 'name': f'best of {len(others)} random'})
    lines = [f'{"network":<24}{"params":>10}{"MMACs":>9}{"top-1 %":>10}']
    lines += [f'{r["name"]:<24}{r["params"]:>10,}{r["macs"] / 1e6:>9.2f}{100 * r["top1"]:>10.1f}' for r in found]
    return '\n'.join(lines)


def run(
    work_dir: Path, data: Path, seed: int, smoke: bool, count: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Everything; returns the rows of the table and the seconds of each phase."""
    phases = Phases()
    phases.begin('data')
    motion = (6, 2, 3) if smoke else DemoOptions().motion_clips
    make_demo(data, DemoOptions(motion_clips=motion), sets=('motion',))
    phases.begin('search')
    paths = {f'{k}_dataloader.dataset.dataset.data_root': f'{data}/motion/' for k in ('train', 'val', 'test')}
    cfg = load_config(CONFIG, {**paths, 'randomness.seed': seed, **(SMOKE['search'] if smoke else {})})
    cfg.work_dir = str(work_dir)
    cfg.retrain['cfg_options'] = {**paths, **(SMOKE['retrain'] if smoke else {})}
    found = run_search(quiet(cfg, 'search'), retrain=False)
    arch = read_arch_file(found['arch'])['arch']
    model, base = MODELS.build(cfg.model), {**cfg.model.backbone}
    macs = total_cost(model, find_searchable(model)[1], arch, tuple(cfg.cost_shape)).macs
    phases.begin('training')
    networks = [
        ('searched', {**base, 'arch': dict(arch)}, work_dir / 'retrain'),
        ('uniform (X3D-like)', uniform_backbone(cfg, macs), work_dir / 'uniform'),
    ]
    for i, other in enumerate(same_cost_archs(model, tuple(cfg.cost_shape), macs, count, seed), start=1):
        networks.append((f'random {i}', {**base, 'arch': dict(other)}, work_dir / f'random_{i}'))
    rows = train_rows(cfg, networks)
    phases.begin('report')
    leave_report(work_dir, rows)
    phases.begin('')
    return rows, phases.seconds


def arguments(description: str | None, name: str, alternatives: str = '') -> argparse.Namespace:
    """The options that every demo has, with their defaults filled in, and torch's threads set.

    Args:
        description: for ``--help``.
        name: of the work dir.
        alternatives: what is drawn at random, in the plural; '' for nothing.

    Raises:
        ConfigError: the work dir cannot be written, or fewer than no alternatives.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--smoke', action='store_true', help='the same path in under a minute: tiny data, one epoch')
    parser.add_argument(
        '--work-dir', type=Path, help=f'results (default: work_dirs/{name}, with --smoke work_dirs/{name}_smoke)'
    )
    parser.add_argument('--data', type=Path, help='demo data (default: data/demo, with --smoke data/demo_smoke)')
    drawn = f' and {alternatives}' if alternatives else ''
    parser.add_argument('--seed', type=int, default=0, help=f'of search, training{drawn} (default: 0)')
    if alternatives:
        parser.add_argument(
            '--random', type=int, metavar='N', help=f'{alternatives} (default: {RANDOM_ARCHS}, with --smoke 2)'
        )
    args = parser.parse_args()
    suffix = '_smoke' if args.smoke else ''
    args.work_dir = args.work_dir or Path(f'work_dirs/{name}{suffix}')
    args.data = args.data or Path(f'data/demo{suffix}')
    if alternatives:
        if args.random is None:
            args.random = 2 if args.smoke else RANDOM_ARCHS
        check_number('--random', args.random)
    check_work_dir(str(args.work_dir))
    # One thread for the network and one core for decoding is what 2 cores do best with.
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    return args


def leave_report(work_dir: Path, rows: list[dict[str, Any]]) -> None:
    """Write the comparison beside the search, and the report with it."""
    write_text_atomic(work_dir / 'search' / 'table.json', json.dumps({'rows': rows}, indent=1) + '\n')
    write_report(work_dir)


def say(text: str, work_dir: Path, seconds: Mapping[str, float]) -> None:
    """Print the table, the time of each phase, and where the report is."""
    print(f'\n{text}\n')
    print('  '.join(f'{name} {value:.0f} s' for name, value in seconds.items()))
    print(f'report: {work_dir / "search" / "report.html"}')


def main() -> None:
    """Run the demo and print its table."""
    args = arguments(__doc__, 'demo', 'random architectures')
    rows, seconds = run(args.work_dir, args.data, args.seed, args.smoke, args.random)
    say(table(rows), args.work_dir, seconds)


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
