"""Two claims of AutoX3D on the small space and the generated motion videos, as they come out.

    python tools/benchmarks/claims_autox3d.py --seeds 5 --archs 20

1. Fig. 4 and Tab. 4: with only output channels and expansion open, naive (prefix) windows collapse below the
   target cost, fair windows land on it.
2. Whether scores with inherited weights rank architectures as training each alone does: Kendall's tau over random
   architectures of any cost, with the weights of one fair search over the whole space.
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import add_seeds, show
from demo import side_by_side, train_rows
from mmengine.config import Config
from scipy.stats import kendalltau

from mmnas_video.datasets import DemoOptions, derive_seed, make_demo
from mmnas_video.launch import build_runner, load_config
from mmnas_video.search import SearchHook
from mmnas_video.search.candidates import CandidateScorer

CONFIG = 'configs/demo/autox3d.py'
#: MACs of the first claim: about the middle of what is open there.
TARGET = 4e6


def search_config(work_dir: Path, seed: int, epochs: int, **backbone: Any) -> Config:
    """The demo's search, shorter."""
    options = {
        'randomness.seed': seed,
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'param_scheduler.0.T_max': epochs,
        'custom_hooks.0.warmup_epochs': epochs // 2,  # the demo's share
    }
    cfg = load_config(CONFIG, options)
    cfg.work_dir, cfg.log_level = str(work_dir), 'ERROR'
    cfg.model.backbone.update(backbone)
    cfg.custom_hooks = [
        *(h for h in cfg.custom_hooks if h['type'] != 'ReportHook'),
        dict(type='ProgressHook', name=work_dir.name),
    ]
    return cfg


def collapse(root: Path, seeds: int, epochs: int) -> list[tuple[Any, ...]]:
    """Claim 1: MACs of the most probable architecture at the end, per sharing and seed."""
    jobs = [
        (root / f'{sharing}_{seed}', sharing, seed, epochs) for sharing in ('prefix', 'fair') for seed in range(seeds)
    ]
    return side_by_side(collapsed, jobs)


def collapsed(folder: Path, sharing: str, seed: int, epochs: int) -> tuple[Any, ...]:
    """A row of claim 1: one search, or what it has left when it was run before."""
    cfg = search_config(folder, seed, epochs, sharing=sharing, fixed={'*.kernel': 't3_s3', '*.attention': 'none'})
    cfg.custom_hooks[0].budget = dict(macs=TARGET)
    if not (folder / 'done').exists():
        build_runner(cfg).train()
        (folder / 'done').touch()
    lines = [json.loads(line) for line in (folder / 'search' / 'history.jsonl').read_text().splitlines()]
    last = [line for line in lines if line['kind'] == 'epoch'][-1]
    return (
        sharing,
        seed,
        f'{last["macs"] / 1e6:.2f}',
        f'{last["target"] / 1e6:.2f}',
        f'{last["macs"] / last["target"]:.2f}',
        f'{last["smallest_share"]:.2f}',
        f'{last["entropy"]:.1f}',
    )


def ranking(root: Path, count: int, epochs: int) -> tuple[list[tuple[Any, ...]], float, float]:
    """Claim 2: (macs, inherited, alone) per architecture, tau and its p-value."""
    cfg = search_config(root / 'ranking', 0, epochs)
    cfg.custom_hooks[0] = dict(type='UniformSearchHook', candidates=1, score_batches=1, calibration_clips=64)
    runner = build_runner(cfg)
    runner.train()
    hook = next(h for h in runner.hooks if isinstance(h, SearchHook))
    rng = random.Random(derive_seed(0, 'ranking'))
    archs = [hook.space.sample(rng) for _ in range(count)]
    score = CandidateScorer(hook, batches=12)
    inherited = [score(arch) for arch in archs]
    cfg.resume = True  # trainings that are finished are not run again
    networks = [
        (f'alone {i + 1}/{count}', {**cfg.model.backbone, 'arch': dict(arch)}, root / f'alone_{i}')
        for i, arch in enumerate(archs)
    ]
    alone = [row['top1'] for row in train_rows(cfg, networks)]
    rows = [
        (i, f'{hook.cost(arch).macs / 1e6:.2f}', f'{100 * inherited[i]:.1f}', f'{100 * alone[i]:.1f}')
        for i, arch in enumerate(archs)
    ]
    tau, p = kendalltau(inherited, alone)
    return rows, float(tau), float(p)


def main() -> None:
    """Run both and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_seeds(parser, 5, 'claims_autox3d')
    parser.add_argument('--archs', type=int, default=20, help='random architectures to rank (default: 20)')
    parser.add_argument('--epochs', type=int, default=40, help='of each search')
    parser.add_argument('--only', choices=('collapse', 'ranking'), help='one of the claims (default: all)')
    args = parser.parse_args()
    torch.set_num_threads(1)
    make_demo(Path('data/demo'), DemoOptions(), sets=('motion',))
    if args.only != 'ranking':
        show(
            f'Naive against fair windows ({args.epochs} epochs)',
            ('windows', 'seed', 'found MMACs', 'target', 'ratio', 'smallest share', 'entropy (nats)'),
            collapse(args.work_dir, args.seeds, args.epochs),
        )
    if args.only != 'collapse':
        rows, tau, p = ranking(args.work_dir, args.archs, args.epochs)
        show('Inherited against stand-alone top-1 (%)', ('arch', 'MMACs', 'inherited', 'alone'), rows)
        print(f"\nKendall's tau {tau:.2f} (p = {p:.3f}) over {len(rows)} architectures")


if __name__ == '__main__':
    main()
