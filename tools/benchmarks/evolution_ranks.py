"""The time of an evolution in one and in several processes, and whether they find the same.

    python tools/benchmarks/evolution_ranks.py --ranks 1 2 --rounds 3

Needs python tools/data/make_demo.py once. The supernet is as it is initialised: what it would have learned changes no
time. Start-up and the first generation, which decodes the clips, are not counted. One thread a process. The numbers of
processes take turns. Seconds are medians by the clock, and of the busiest process on its CPU: what the clock would say
were there nothing else on the machine, and no waiting for one another but for the largest share. The status is 1 if
the histories differ.
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
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import add_json, cpu_times, show

from mmnas_video.command_line import add_cfg_options
from mmnas_video.launch import build_runner, load_config

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/demo/autox3d_evolution.py'


class Timer(Hook):
    """Seconds of each generation, by the clock and on the CPU."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, float]] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Start."""
        self.start = time.perf_counter(), time.process_time()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Stop."""
        self.seconds.append((time.perf_counter() - self.start[0], time.process_time() - self.start[1]))


def work(folder: Path, generations: int, data: str) -> None:
    """One rank of one evolution; it writes the seconds of its generations."""
    from mmnas_video.registry import MODELS

    torch.set_num_threads(1)
    cfg = load_config(CONFIG, json.loads((folder / 'options.json').read_text()))
    cfg.work_dir, cfg.launcher = str(folder), 'pytorch' if 'RANK' in os.environ else 'none'
    cfg.train_cfg.update(max_epochs=generations, val_interval=generations + 1)
    cfg.log_level = 'WARNING'
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.dataset.data_root = data
    cfg.custom_hooks = cfg.custom_hooks[:1]
    cfg.custom_hooks[0].checkpoint = str(folder / f'supernet{os.environ.get("RANK", 0)}.pth')
    torch.manual_seed(0)
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, cfg.custom_hooks[0].checkpoint)
    runner, timer = build_runner(cfg), Timer()
    runner.register_hook(timer)
    runner.train()
    (folder / f'seconds{get_rank()}.json').write_text(json.dumps(timer.seconds[1:]))


def measured(
    ranks: int, generations: int, data: str, overrides: dict[str, Any]
) -> tuple[list[float], list[float], bytes]:
    """Clock and CPU seconds of each generation of one evolution, of its slowest process, and its history."""
    with tempfile.TemporaryDirectory(prefix='evolution-') as name:
        folder = Path(name)
        (folder / 'options.json').write_text(json.dumps(overrides))
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}'] if ranks > 1 else []
        options = ['--worker', name, '--generations', str(generations), '--data', data]
        env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
        subprocess.run([sys.executable, *launch, __file__, *options], cwd=ROOT, env=env, check=True)
        found = [json.loads((folder / f'seconds{rank}.json').read_text()) for rank in range(ranks)]
        clock, cpu = ([max(parts) for parts in zip(*kind, strict=True)] for kind in _by_kind(found))
        return clock, cpu, (folder / 'search/history.jsonl').read_bytes()


def _by_kind(found: list[list[list[float]]]) -> list[list[list[float]]]:
    """(rank, generation, kind) to (kind, rank, generation)."""
    return [[[pair[kind] for pair in rank] for rank in found] for kind in (0, 1)]


def main() -> int:
    """Start each number of processes in turn, and print the ratios; the status is 1 if they do not find the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ranks', type=int, nargs='+', default=[1, 2], help='numbers of processes (default: 1 2)')
    parser.add_argument('--generations', type=int, default=6, help='of each evolution (default: 6)')
    parser.add_argument('--rounds', type=int, default=3, help='evolutions with each number of processes')
    parser.add_argument('--data', default='data/demo/motion/', help='demo set (default: data/demo/motion/)')
    add_cfg_options(parser)
    add_json(parser)
    parser.add_argument('--worker', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.generations, args.data)
        return 0
    seconds = {ranks: ([], []) for ranks in args.ranks}
    histories, begin = [], (*cpu_times(), time.perf_counter())
    for _ in range(args.rounds):
        for ranks, kinds in seconds.items():
            *found, history = measured(ranks, args.generations, args.data, args.cfg_options)
            histories.append(history)
            for kind, more in zip(kinds, found, strict=True):
                kind += more
    busy, own, clock = (
        after - before for after, before in zip((*cpu_times(), time.perf_counter()), begin, strict=True)
    )
    medians = {ranks: [statistics.median(kind) for kind in kinds] for ranks, kinds in seconds.items()}
    first, base = next(iter(medians.items()))
    rows = [
        (ranks, *(cell for s, b in zip(found, base, strict=True) for cell in (f'{s:.2f}', f'{b * first / s:.2f}')))
        for ranks, found in medians.items()
    ]
    show(
        'Evolution in several processes',
        ('processes', 's a generation', 'times faster', 'CPU s a generation', 'times faster'),
        rows,
        args.out,
    )
    print(f'same history: {len(set(histories)) == 1}; other work took {(busy - own) / clock:.2f} of a core meanwhile')
    return int(len(set(histories)) > 1)


if __name__ == '__main__':
    sys.exit(main())
