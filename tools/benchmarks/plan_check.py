"""The plan of a demo search against the search itself: predicted and real hours.

    python tools/benchmarks/plan_check.py configs/demo/autox3d.py

The rate that the plan asks for is measured on the run's own first epochs; the plan then says how long the whole will
take, by the clock and on the CPU of the main process (without waiting for data, and for what else runs on the machine).
Bounds: steps equal, seconds on the CPU within 20 % of the real ones; otherwise the status is 1. The bound on seconds
counts from 200 steps on, that on steps always. Seconds by the clock have none: other work is in them.
Needs python tools/data/make_demo.py once.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.hooks import Hook

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import add_json, show, verdict

from mmnas_video.command_line import add_cfg_options
from mmnas_video.launch import build_runner, load_config
from mmnas_video.plan import Plan
from mmnas_video.registry import HOOKS

#: By how much planned CPU seconds may differ from real ones, and steps from which it counts.
MOST, LEAST = 0.2, 200


@HOOKS.register_module()
class WholeTimer(Hook):
    """Seconds of each step, and of all training, by the clock and on the CPU."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.steps: list[list[float]] = []

    def before_train(self, runner) -> None:
        """Start."""
        self.begin = now()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Start a step."""
        self.start = now()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Stop a step."""
        self.steps.append([end - begin for end, begin in zip(now(), self.start, strict=True)])

    def after_train(self, runner) -> None:
        """Stop."""
        self.seconds = [end - begin for end, begin in zip(now(), self.begin, strict=True)]


def now() -> tuple[float, float]:
    """By the clock, and on the CPU (s)."""
    return time.perf_counter(), time.process_time()


def main() -> int:
    """Plan, run, compare; the status is 1 if they differ by more than they may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', nargs='?', default='configs/demo/autox3d.py', help='a search (default: configs/demo/autox3d.py)'
    )
    add_cfg_options(parser)
    parser.add_argument('--measured-epochs', type=int, default=2, help='that the rate is taken from (default: 2)')
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = load_config(args.config, args.cfg_options)
    cfg.work_dir, cfg.log_level = tempfile.mkdtemp(prefix='plan-'), 'WARNING'
    plan = Plan(cfg)
    planned = plan.on(1)
    early = planned['steps_per_epoch'] * args.measured_epochs
    # The same run, cut short, is what the rate's multiply-adds are counted for.
    cut = load_config(args.config, args.cfg_options)
    cut.train_cfg.max_epochs = args.measured_epochs
    macs = Plan(cut).on(1)['rank_macs'] / early
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='WholeTimer')]
    runner = build_runner(cfg)
    runner.train()
    timer = next(hook for hook in runner.hooks if isinstance(hook, WholeTimer))
    rows = [('steps', planned['steps'], len(timer.steps), f'{planned["steps"] / len(timer.steps):.3f}')]
    for name, steps, real in zip(
        ('seconds', 'CPU seconds'), zip(*timer.steps, strict=True), timer.seconds, strict=True
    ):
        rate = macs / statistics.median(steps[:early])
        predicted = planned['rank_macs'] / rate
        rows.append((name, f'{predicted:.1f}', f'{real:.1f}', f'{predicted / real:.3f}'))
    clips = rate / planned['reference_macs'] / (1 + plan.networks.backward)
    show(f'Plan of {args.config} at {clips:.1f} clips a CPU second', ('', 'planned', 'real', 'ratio'), rows, args.out)
    done = len(timer.steps)
    wrong = verdict({'steps, planned ÷ real,': (1.0, planned['steps'] / done, 1.0)}, done, 0, 'steps')
    seconds = {'CPU seconds, planned ÷ real,': (1 - MOST, predicted / real, 1 + MOST)}
    return verdict(seconds, done, LEAST, 'steps') or wrong


if __name__ == '__main__':
    sys.exit(main())
