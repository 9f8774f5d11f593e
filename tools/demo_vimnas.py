"""The demo of images and videos together: one transformer and its tubes searched jointly, judged on all three sets.

    python tools/demo_vimnas.py            about 4 minutes on 2 CPU cores
    python tools/demo_vimnas.py --smoke    the same path in under a minute, with nothing learned

Makes the demo images and videos, trains and searches one supernet on them together, and then lets evolution find a
network of at most half the found one's cost in it. Nothing is trained again: the table has the top-1 of each network
with the weights that it inherits, beside random networks that cost as much as the searched one. The searched one is
what the search leaves (extracted.pth: its weights have been tuned a little while choices were fixed); the others are
of the supernet's last checkpoint.
"""

import copy
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo import Phases, arguments, leave_report, quiet, same_cost_archs, say, shipped
from mmengine.config import Config
from mmengine.runner import Runner

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.cost import total_cost
from mmnas_video.datasets import DemoOptions, make_demo
from mmnas_video.entangle import find_searchable
from mmnas_video.launch import build_runner, load_config
from mmnas_video.pipeline import run_search
from mmnas_video.registry import MODELS
from mmnas_video.space import Arch, read_arch_file

CONFIG, EVOLUTION = shipped('configs/demo/vimnas_joint.py'), shipped('configs/demo/vimnas_evolution.py')
SETS = ('image', 'scene', 'motion')
SMOKE_CLIPS = dict(image_clips=(6, 2, 3), scene_clips=(6, 2, 3), motion_clips=(6, 2, 3))
SMOKE = {
    'search': {
        'epochs': 1,
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 8,
        'train_dataloader.batch_sampler.first': None,
        'custom_hooks.0.warmup_epochs': 0,
        'custom_hooks.0.arch_dataloader.batch_size': 4,
        'custom_hooks.0.score_batches': 1,
        'custom_hooks.0.eval_batches': 1,
        'custom_hooks.0.tune_iters': 1,
    },
    'evolution': {
        'generations': 1,
        'train_cfg.max_epochs': 1,
        'custom_hooks.0.population': 4,
        'custom_hooks.0.top_k': 2,
        'custom_hooks.0.eval_batches': 1,
    },
}


def config(path: str, work_dir: Path, data: Path, seed: int, options: Mapping[str, Any]) -> Config:
    """A config of the demo for these folders."""
    roots = {
        f'{loader}_dataloader.dataset.datasets.{name}.data_root': f'{data}/{name}/'
        for loader in ('train', 'val', 'test')
        for name in SETS
    }
    cfg = load_config(path, {**roots, 'randomness.seed': seed, **options})
    cfg.work_dir = str(work_dir)
    return quiet(cfg, work_dir.name)


def inherited(cfg: Config, checkpoint: Path, work_dir: Path) -> Runner:
    """A Runner on the network of ``cfg`` with the weights of a checkpoint, to test it (of a supernet: its networks)."""
    cfg = copy.deepcopy(cfg)
    cfg.custom_hooks, cfg.load_from, cfg.work_dir = [], str(checkpoint), str(work_dir)
    runner = build_runner(cfg)
    runner.load_or_resume()
    return runner


def tested(runner: Runner, arch: Arch, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """A row of the table: cost, and top-1 on each test set, of one network of the supernet."""
    _, searchable = find_searchable(runner.model)
    with searchable.use(arch):
        metrics = runner.test()
    top1 = {task: metrics[f'{task}/top1'] for task in (*SETS, 'mean')}
    cost = total_cost(runner.model, searchable, arch, shape)
    figures = {**cost._asdict(), 'top1': top1['mean'], 'sets': top1}
    return {'name': name, 'weights': 'inherited', **figures, 'arch': dict(arch)}


def table(rows: list[dict[str, Any]]) -> str:
    """The comparison as text: the random networks as the median of each column."""
    shown = [row for row in rows if not row['name'].startswith('random')]
    others = [row for row in rows if row['name'].startswith('random')]
    if others:
        middle = {key: statistics.median(row['sets'][key] for row in others) for key in (*SETS, 'mean')}
        cost = {key: statistics.median(row[key] for row in others) for key in ('macs', 'params')}
        shown.append({'name': f'median of {len(others)} random', **cost, 'sets': middle})
    lines = [
        f'{"top-1 %, inherited weights":<28}{"params":>10}{"MMACs":>9}' + ''.join(f'{k:>9}' for k in (*SETS, 'mean'))
    ]
    lines += [
        f'{row["name"]:<28}{row["params"]:>10,.0f}{row["macs"] / 1e6:>9.2f}'
        + ''.join(f'{100 * row["sets"][key]:>9.1f}' for key in (*SETS, 'mean'))
        for row in shown
    ]
    return '\n'.join(lines)


def run(
    work_dir: Path, data: Path, seed: int, smoke: bool, count: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Everything; returns the rows of the table and the seconds of each phase."""
    phases = Phases()
    phases.begin('data')
    make_demo(data, DemoOptions(**(SMOKE_CLIPS if smoke else {})), sets=SETS)
    phases.begin('search')
    cfg = config(CONFIG, work_dir, data, seed, SMOKE['search'] if smoke else {})
    found = run_search(cfg, retrain=False)
    arch, shape = read_arch_file(found['arch'])['arch'], tuple(cfg.cost_shape)
    model = MODELS.build(cfg.model)
    macs = total_cost(model, find_searchable(model)[1], arch, shape).macs
    checkpoint = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    phases.begin('evolution')
    options = {'custom_hooks.0.checkpoint': str(checkpoint), 'custom_hooks.0.budget.macs': macs / 2}
    evolution = config(
        EVOLUTION, work_dir / 'evolution', data, seed, {**options, **(SMOKE['evolution'] if smoke else {})}
    )
    evolved = read_arch_file(run_search(evolution, retrain=False)['arch'])['arch']
    phases.begin('test')
    runner = inherited(cfg, checkpoint, work_dir / 'test')
    extracted = quiet(load_config(str(found['config'])), 'extracted')
    left = inherited(extracted, found['weights'], work_dir / 'test_searched')
    rows = [tested(left, arch, 'searched', shape), tested(runner, evolved, 'evolved, half the MACs', shape)]
    for i, other in enumerate(same_cost_archs(model, shape, macs, count, seed), start=1):
        rows.append(tested(runner, other, f'random {i}', shape))
    phases.begin('report')
    leave_report(work_dir, rows)
    phases.begin('')
    return rows, phases.seconds


def main() -> None:
    """Run the demo and print its table."""
    args = arguments(__doc__, 'demo_vimnas', 'random networks')
    rows, seconds = run(args.work_dir, args.data, args.seed, args.smoke, args.random)
    say(table(rows), args.work_dir, seconds)


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
