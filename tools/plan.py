"""What a run of a config will cost, before any data are there: steps, GPU-hours, decoding, checkpoints, traffic.

    python tools/plan.py configs/autox3d/s_k200.py --clips-per-second 270
    python tools/plan.py configs/vimnas/tiny_joint.py --gpus 32 --clips-per-second 400 --json

--clips-per-second is measured: training clips (forward and backward) that one GPU does in a second, of the network
whose multiply-adds are --measured-macs (by default those of a training clip of the run: the mean of the architectures
that it samples). Hours follow from multiply-adds at that rate. Without it there are none. docs/scaling.md has examples.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmnas_video.building import building
from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import add_cfg_options
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.pipeline import load_retrain
from mmnas_video.plan import BACKWARD, Plan
from mmnas_video.staged import plan_stages

#: Times the ranks of the plan that the table of growth shows.
GROWTH = (0.25, 0.5, 1, 2, 4, 8)


def ranks_of(cfg: Config) -> int:
    """As many GPUs as the config's learning rate is for."""
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    return max(round(base / cfg.train_dataloader.batch_size), 1) if base else 1


def phases_of(cfg: Config, known: dict[str, int]) -> Iterator[tuple[str, Plan]]:
    """Each training that a run is, by name: the stages of a search, or the one, and the retraining."""
    if cfg.get('stages'):
        chosen: dict[str, Any] = {}
        for stage in plan_stages(cfg, Path(tempfile.gettempdir()) / 'plan')[0]:
            plan = Plan(made := stage.pinned(chosen), known)
            yield f'search ({stage.stage.name})', plan
            # Not known before it has run: of some random networks the one that costs about what it may.
            shape = tuple(made.cost_shape)
            arch = plan.networks.nearest(plan.networks.macs('target', shape), shape)
            chosen.update({name: arch[name] for name in stage.opened})
    else:
        yield 'run', Plan(cfg, known)
    if cfg.get('retrain'):
        retrain = load_retrain(cfg.retrain)
        backbone = retrain.model.backbone
        if isinstance(backbone.get('arch'), str) and not Path(backbone.arch).is_file():
            backbone.arch = None  # not found yet: the mean of the space
        if backbone.get('arch') is None and (replaced := backbone.pop('replaced', None)):
            backbone.fixed = replaced
        yield 'retrain', Plan(retrain, known)


def timed(plan: dict[str, Any], rate: float | None, node: int, core: float) -> dict[str, Any]:
    """The plan with its hours.

    Args:
        plan: what :meth:`~mmnas_video.plan.Plan.on` gives.
        rate: multiply-adds a second of one GPU; None for no hours.
        node: GPUs of a machine.
        core: frames that one CPU core decodes in a second.
    """
    if rate is None:
        return plan
    seconds = plan['rank_macs'] / rate
    kept, share = plan['kept_frames'], min(node / plan['ranks'], 1)
    frames = (kept + (plan['decoded_frames'] - kept) * share) / seconds
    return {
        **plan,
        'hours': seconds / 3600,
        'gpu_hours': seconds / 3600 * plan['ranks'],
        'seconds_per_step': seconds / plan['steps'],
        'node_frames_per_second': frames,
        'node_decoding_cores': frames / core,
    }


def make_plan(cfg: Config, args: argparse.Namespace) -> dict[str, Any]:
    """Everything that the tool prints, as data."""
    known = {}
    for name, _, value in (pair.partition('=') for pair in args.clips):
        if not (name and value.isdecimal()):
            raise ConfigError(f'--clips {name}: found {value!r}, expected a number of clips (LIST=NUMBER)')
        known[name] = int(value)
    ranks, phases = args.gpus or ranks_of(cfg), list(phases_of(cfg, known))
    plans = [{'name': name, **plan.on(ranks)} for name, plan in phases]
    reference = args.measured_macs or plans[0]['reference_macs']
    backward = BACKWARD if args.measured_macs else phases[0][1].networks.backward
    rate = None if args.clips_per_second is None else args.clips_per_second * reference * (1 + backward)
    found = [timed(plan, rate, args.gpus_per_node, args.decode_frames_per_second) for plan in plans]
    growth = [growth_row(row, rate) for row in grown(phases[0][1], ranks)]
    return {'gpus': ranks, 'measured_macs': reference, 'phases': found, 'growth': growth}


def grown(plan: Plan, ranks: int) -> Iterator[dict[str, Any]]:
    """The plan on fewer and on more ranks; the last row says ``refused`` where an epoch has no step on so many."""
    for times in GROWTH:
        try:
            if ranks * times >= 1:
                yield plan.on(round(ranks * times))
        except ConfigError as error:
            yield {'ranks': round(ranks * times), 'refused': str(error)}
            return


def growth_row(plan: dict[str, Any], rate: float | None) -> dict[str, Any]:
    """The first phase on another number of GPUs, with the same batch on each."""
    if 'refused' in plan:
        return plan
    row = {key: plan[key] for key in ('ranks', 'steps_per_epoch', 'alpha_bytes', 'gradient_bytes')}
    row['clips_per_step'] = round(plan['clips'] / plan['steps'])
    if rate:
        row['hours'] = plan['rank_macs'] / rate / 3600
        row['gpu_hours'] = row['hours'] * plan['ranks']
        # A ring moves each gradient twice, less what is there already.
        row['gradient_bytes_per_second'] = (
            2 * (1 - 1 / plan['ranks']) * plan['gradient_bytes'] * plan['steps'] / (row['hours'] * 3600)
        )
    return row


def describe(found: dict[str, Any]) -> Iterator[str]:
    """The plan in words, line by line."""
    yield f'{found["gpus"]} GPUs; a clip of the measured network has {found["measured_macs"] / 1e9:.3f} GMACs'
    for plan in found['phases']:
        yield f'\n{plan["name"]}: {plan["space"]["name"]}, {plan["space"]["size"]:.3g} architectures'
        for name, data in plan['data'].items():
            yield f'  {name:<12}{data["clips"]:>12,} clips ({data["source"]})'
        yield (
            f'  steps       {plan["steps"]:>12,} = {plan["epochs"]:,} epochs x {plan["steps_per_epoch"]:,}, '
            f'{plan["clips"]:,} clips'
        )
        yield f'  held out    {plan["held_out_clips"]:>12,} clips'
        yield (
            f'  work        {plan["rank_macs"] * plan["ranks"] / 1e18:>12,.3f} EMACs, '
            f'{plan["reference_macs"] / 1e9:.3f} GMACs a training clip of one architecture'
        )
        yield (
            f'  checkpoint  {plan["checkpoint_bytes"] / 1e6:>12,.1f} MB; a step sums '
            f'{plan["gradient_bytes"] / 1e6:,.1f} MB of gradients and {plan["alpha_bytes"]:,} bytes for alpha'
        )
        if 'hours' in plan:
            yield (
                f'  time        {plan["hours"]:>12,.1f} h, {plan["gpu_hours"]:,.0f} GPU-hours, '
                f'{plan["seconds_per_step"]:.3g} s a step'
            )
            yield (
                f'  decoding    {plan["node_frames_per_second"]:>12,.0f} frames/s a machine: '
                f'{plan["node_decoding_cores"]:,.0f} cores'
            )
    yield '\nGPUs, the same batch on each (first phase):'
    timed_too = 'hours' in found['growth'][0]
    yield '  GPUs  steps/epoch  clips/step' + ('       h   GPU-h  gradients MB/s a GPU' if timed_too else '')
    for row in found['growth']:
        if 'refused' in row:
            yield f'{row["ranks"]:>6}  none: {row["refused"]}'
            return
        line = f'{row["ranks"]:>6}{row["steps_per_epoch"]:>13,}{row["clips_per_step"]:>12,}'
        if timed_too:
            line += f' {row["hours"]:>7,.1f} {row["gpu_hours"]:>7,.0f}'  # a large number takes no space away
            line += f' {row["gradient_bytes_per_second"] / 1e6:>11,.1f}'
        yield line


def main() -> None:
    """Print the plan as text or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file (.py)')
    parser.add_argument('--gpus', type=int, help="how many (default: what the config's auto_scale_lr is for, else 1)")
    parser.add_argument('--clips-per-second', type=float, help='measured: training clips a second of one GPU')
    parser.add_argument(
        '--measured-macs', type=float, help='multiply-adds of the network that was measured (without with_cp)'
    )
    parser.add_argument('--gpus-per-node', type=int, default=8, help='of one machine (default: 8)')
    parser.add_argument(
        '--decode-frames-per-second',
        type=float,
        default=205.0,
        metavar='FRAMES',
        help='that one core decodes in a second (default: %(default)g, clips of 13 frames 15.8 times)',
    )
    parser.add_argument(
        '--clips', nargs='+', default=[], metavar='LIST=NUMBER', help='size of a list that is not there'
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    add_cfg_options(parser, 'train_dataloader.batch_size=16')
    args = parser.parse_args()
    for option in ('gpus', 'clips_per_second', 'measured_macs', 'gpus_per_node', 'decode_frames_per_second'):
        value = getattr(args, option)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f'--{option.replace("_", "-")}: found {value}, expected a positive number')
    cfg = load_config(args.config, args.cfg_options)
    with building(cfg):
        found = make_plan(cfg, args)
    print(json.dumps(found) if args.json else '\n'.join(describe(found)))


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
