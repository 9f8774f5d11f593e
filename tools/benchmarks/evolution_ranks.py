"""The time of an evolution in one and in several processes, and whether they find the same.

    python tools/benchmarks/evolution_ranks.py --ranks 1 2

Needs python tools/data/make_demo.py once. The supernet is as it is initialised: what it would have learned changes no
time. Start-up and the first generation, which decodes the clips, are not counted. One thread a process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import show

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/demo/autox3d_evolution.py'


class Timer(Hook):
    """Seconds of each generation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Start."""
        self.start = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self.start)


def work(folder: Path, generations: int, data: str) -> None:
    """One rank of one evolution; the first writes the seconds of its generations."""
    from mmnas_video.launch import build_runner, load_config
    from mmnas_video.registry import MODELS

    torch.set_num_threads(1)
    cfg = load_config(CONFIG)
    cfg.work_dir, cfg.launcher = str(folder), 'pytorch' if 'RANK' in os.environ else 'none'
    cfg.train_cfg.update(max_epochs=generations, val_interval=generations + 1)
    cfg.log_level = 'WARNING'
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.dataset.data_root = data
    cfg.custom_hooks = cfg.custom_hooks[:1]
    cfg.custom_hooks[0].checkpoint = str(folder / f'supernet{os.environ.get("RANK", 0)}.pth')
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, cfg.custom_hooks[0].checkpoint)
    runner, timer = build_runner(cfg), Timer()
    runner.register_hook(timer)
    runner.train()
    if get_rank() == 0:
        (folder / 'seconds.json').write_text(json.dumps(timer.seconds[1:]))


def main() -> None:
    """Start each number of processes in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ranks', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--generations', type=int, default=6)
    parser.add_argument('--data', default='data/demo/motion/')
    parser.add_argument('--out', help='write the figures as JSON')
    parser.add_argument('--worker', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.generations, args.data)
        return
    rows, histories, base = [], [], None
    for ranks in args.ranks:
        folder = Path(tempfile.mkdtemp(prefix='evolution-'))
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}'] if ranks > 1 else []
        options = ['--worker', str(folder), '--generations', str(args.generations), '--data', args.data]
        env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
        subprocess.run([sys.executable, *launch, __file__, *options], cwd=ROOT, env=env, check=True)
        seconds = statistics.median(json.loads((folder / 'seconds.json').read_text()))
        histories.append((folder / 'search/history.jsonl').read_bytes())
        base = base or seconds * ranks  # of one rank, if that is the first
        rows.append((ranks, f'{seconds:.2f}', f'{base / seconds:.2f}', histories[-1] == histories[0]))
    show(
        'Evolution in several processes',
        ('processes', 's a generation', 'times faster', 'same history'),
        rows,
        args.out,
    )


if __name__ == '__main__':
    main()
