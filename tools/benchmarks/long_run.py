"""Whether a search costs at its end what it cost at its beginning: memory and CPU time of a step over 5,000 steps.

    python tools/benchmarks/long_run.py                     PARSEC, every step other architectures, one CPU thread
    python tools/benchmarks/long_run.py --method uniform --steps 20000

The supernet is that of the demo on 8 x 32 x 32 clips of noise, run by MMEngine's Runner with checkpoints, history and
log. Prints resident memory, the time of a step and how many entries the network's own tables have, by tenths of the
run; what counts is the last tenth against the second. Bounds: at most 5 % more memory, and 20 % more time by the
median; otherwise the status is 1. They count from 1,000 steps on. The time is the process's own on the CPU: what else
runs on the machine is not in it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from typing import Any, ClassVar

import torch
from common import add_json, resident, show, verdict
from mmaction.structures import ActionDataSample
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from mmnas_video.launch import load_config, train
from mmnas_video.registry import DATASETS
from mmnas_video.registry import HOOKS as HOOK_TYPES
from mmnas_video.testing import table_entries, toy

#: Most that the last tenth may take of the second's memory and time, and steps from which it counts.
MEMORY, TIME, LEAST = 1.05, 1.2, 1000
HOOKS = {
    'parsec': dict(type='PARSECSearchHook', num_archs=2, mode='joint'),
    'uniform': dict(type='UniformSearchHook', candidates=2, score_batches=1),
    'darts': dict(type='DARTSSearchHook', score_batches=1),
    'entanglement': dict(type='EntanglementSearchHook', selection='argmax', score_batches=1),
}


@DATASETS.register_module(force=True)
class LongRunClips(Dataset):
    """Noise with one of eight labels."""

    reproducible = True
    metainfo: ClassVar[dict[str, Any]] = {}

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.clips = torch.randint(0, 256, (64, 1, 3, 8, 32, 32), generator=generator, dtype=torch.uint8)
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, item: Any) -> dict[str, Any]:
        index = item[1] if isinstance(item, tuple) else item
        return {'inputs': self.clips[index % 64], 'data_samples': ActionDataSample().set_gt_label(index % 8)}


@HOOK_TYPES.register_module(force=True)
class LongRunWatch(Hook):
    """CPU time of each step, and at each tenth memory and table sizes."""

    priority = 'LOWEST'

    def __init__(self, every: int) -> None:
        self.every, self.seconds, self.tenths = every, [], []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """The step begins."""
        self.begin = time.process_time()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """It has ended."""
        self.seconds.append(time.process_time() - self.begin)
        if len(self.seconds) % self.every == 0:
            last = self.seconds[-self.every :]
            entries = table_entries(runner.model)
            self.tenths.append((resident(), statistics.mean(last), statistics.median(last), entries))


def search(method: str, steps: int, batch: int, folder: str) -> list[tuple[float, float, float, int]]:
    """Run a search of so many steps; memory, mean and median time and table entries of each tenth."""
    every = max(steps // 10, 1)
    data, demo = dict(type='LongRunClips', seed=0), load_config('configs/demo/autox3d.py')
    held_out = dict(batch_size=batch, num_workers=0, dataset=dict(data, size=64, seed=1))
    train_data = dict(data, size=every * batch)
    cfg = toy.config(
        dict(arch_dataloader=held_out, calibration_clips=8, **HOOKS[method]),
        epochs=10,
        work_dir=folder,
        model=demo.model.to_dict(),
        cost_shape=demo.cost_shape,
        train_dataloader=dict(batch_size=batch, num_workers=0, sampler=dict(type='SeededSampler'), dataset=train_data),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9)),
    )
    cfg.custom_hooks.append(dict(type='LongRunWatch', every=every))
    return next(hook for hook in train(cfg).hooks if isinstance(hook, LongRunWatch)).tenths


def main() -> int:
    """Run the search and print its tenths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=5000, help='of the search, at least 20 (default: 5000)')
    parser.add_argument('--method', choices=HOOKS, default='parsec', help='kind of search (default: parsec)')
    parser.add_argument('--batch', type=int, default=2, help='clips a step (default: 2)')
    add_json(parser)
    args = parser.parse_args()
    if args.steps < 20:
        parser.error(f'--steps: found {args.steps}, expected at least 20')
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tenths = search(args.method, args.steps, args.batch, folder)
    rows = [
        [f'{(i + 1) * args.steps // 10:,}', f'{memory:.1f}', f'{1e3 * mean:.1f}', f'{1e3 * median:.1f}', f'{entries:,}']
        for i, (memory, mean, median, entries) in enumerate(tenths)
    ]
    header = ['steps', 'resident MiB', 'mean CPU ms a step', 'median', 'table entries']
    show(f'A long search ({args.method})', header, rows, args.out)
    second, last = tenths[1], tenths[-1]
    memory, median = last[0] / second[0], last[2] / second[2]
    print(f'last tenth / second: memory {memory:.3f}, median CPU time {median:.3f}')
    bounds = {'memory': (0.0, memory, MEMORY), 'median CPU time': (0.0, median, TIME)}
    return verdict(bounds, args.steps, LEAST, 'steps')


if __name__ == '__main__':
    sys.exit(main())
