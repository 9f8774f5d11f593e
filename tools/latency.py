"""Measure the latency of a space's blocks on this machine, as a table that predicts every architecture of the space.

    python tools/latency.py configs/autox3d/s_k200.py --device cpu --out work_dirs/latency/s_k200_cpu.json
    python tools/latency.py configs/autox3d/s_k200.py --device cuda --batch 16 --dtype bf16 --check 50

A search then takes it: budget=dict(latency_ms=25, latency_table='work_dirs/latency/s_k200_cpu.json'). A measurement
that was interrupted goes on with the same command. --check measures further, random architectures, each
twice, and says how well the table predicts them (Kendall's tau, mean error), and how well the machine agrees with
itself. The figures are of an idle machine only.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mmnas_video.building import building
from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import add_cfg_options, check_work_dir
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.timing import DTYPES, Bench, Setting, check_table, measure_table

#: What a table should reach on an idle machine.
TAU, ERROR = 0.9, 0.1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file (.py) with a supernet')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: cpu)')
    parser.add_argument('--batch', type=int, default=1, help='clips in a batch (default: 1)')
    parser.add_argument('--dtype', choices=[*DTYPES], default='fp32', help='of weights and clips (default: fp32)')
    parser.add_argument('--threads', type=int, default=1, help='of the CPU (default: 1)')
    parser.add_argument(
        '--shape', type=int, nargs=4, metavar=('C', 'T', 'H', 'W'), help='one clip (default: cost_shape)'
    )
    parser.add_argument('--networks', type=int, default=64, help='that are timed (default: 64)')
    parser.add_argument('--repeats', type=int, default=7, help='passes of each; the fastest counts (default: 7)')
    parser.add_argument('--seed', type=int, default=0, help='of what is drawn (default: 0)')
    parser.add_argument('--out', type=Path, help='table (default: work_dirs/latency/CONFIG_DEVICE_DTYPE_bBATCH.json)')
    parser.add_argument(
        '--check',
        type=int,
        default=0,
        metavar='N',
        help='measure N random architectures twice, against the prediction',
    )
    add_cfg_options(parser, 'model.backbone.sharing=prefix')
    return parser.parse_args()


def meets(found: Mapping[str, float]) -> bool:
    """Whether an agreement is what a table should reach."""
    return found['tau'] >= TAU and found['mean_error'] <= ERROR


def progress(what: str):
    """A line for each part done, with the time that is left."""
    start, first = time.monotonic(), []

    def report(done: int, total: int) -> None:
        first or first.append((done, time.monotonic()))  # what was there before, or the start-up, says no speed
        steps, seconds = done - first[0][0], time.monotonic() - first[0][1]
        left = f', {(total - done) * seconds / steps:,.0f} s left' if steps else ''
        print(f'{what}: {done}/{total} networks, {time.monotonic() - start:,.0f} s{left}', flush=True)

    return report


def main() -> None:
    """Measure, and check."""
    args = arguments()
    for key, least in (('networks', 8), ('repeats', 1), ('check', 0)):
        if getattr(args, key) < least:
            raise ConfigError(f'--{key}: found {getattr(args, key)}, expected at least {least}')
    cfg = load_config(args.config, args.cfg_options)
    shape = tuple(args.shape or cfg.get('cost_shape') or ())
    if not shape:
        raise ConfigError(
            '--shape: found none, and no cost_shape in the config; expected C T H W, such as 3 13 160 160'
        )
    setting = Setting(args.device, args.dtype, args.batch, args.threads)
    name = f'{Path(args.config).stem}_{args.device.replace(":", "")}_{args.dtype}_b{args.batch}.json'
    path = args.out or Path('work_dirs/latency') / name
    check_work_dir(str(path.parent))
    with building(cfg):  # what goes wrong while networks are timed is no mistake in the config
        bench = Bench(cfg, shape, setting, args.repeats)
    table = measure_table(bench, path, args.networks, args.seed, progress('table'))
    print(f'table: {path}')
    if args.check:
        found = check_table(bench, table, args.check, args.seed, progress('check'))
        low, high = min(found['measured']), max(found['measured'])
        aim = f'tau {TAU} and {ERROR:.0%} on an idle machine'
        print(
            f'check: Kendall tau {found["tau"]:.3f}, mean error {found["mean_error"]:.1%} (worst '
            f'{found["worst_error"]:.1%}) over {args.check} random architectures of {low:,.2f} to {high:,.2f} ms; '
            f'aim: {aim}, {"met" if meets(found) else "missed"}'
        )
        again = found['repeated']
        print(
            f'check: measured again, the same networks agree with themselves to tau {again["tau"]:.3f} and '
            f'{again["mean_error"]:.1%}'
            + ('' if meets(again) else ': this machine is not steady enough to tell; other work, or a shared host?')
        )


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
