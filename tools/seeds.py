"""Run one search from several seeds, and say how far the architectures that it finds agree.

    python tools/seeds.py configs/demo/autox3d_darts.py --seeds 3

Takes every search config. Each seed has a folder of its own, WORK_DIR/seed_N, as tools/search.py would leave it;
WORK_DIR/seeds.json holds the table. With --resume finished seeds are not run again, and a killed one goes on.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmnas_video.command import run_tool
from mmnas_video.command_line import add_arguments, read_config
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.pipeline import is_same_training, retrain_config, run_search
from mmnas_video.space import SearchSpace, agreement, chance_agreement, write_text_atomic
from mmnas_video.visualization import read_search
from mmnas_video.visualization.recorded import TESTED


def finished(work_dir: Path, training: Config | None) -> bool:
    """Whether a search in this folder, and the training of what it found, if there is to be one, has ended."""
    folder = work_dir / 'search'
    if not (folder / 'arch.json').is_file() or not (folder / 'extracted.pth').is_file():
        return False
    if not read_search(work_dir).final:
        return False
    return training is None or (is_same_training(training) and (Path(training.work_dir) / TESTED).is_file())


def run_seed(args: argparse.Namespace, seed: int, work_dir: Path) -> dict[str, Any]:
    """Search (and retrain) from one seed, unless that is done already; returns its row."""
    args.seed, args.work_dir = seed, str(work_dir)
    cfg = read_config(args.config, args)
    retrain = args.retrain and bool(cfg.get('retrain'))
    found = str(work_dir / 'search' / 'arch.json')
    training = retrain_config(cfg.retrain, found, work_dir / 'retrain', cfg) if retrain else None
    if not (args.resume and finished(work_dir, training)):
        # MMEngine finds loggers again by this name, which otherwise is the config's and the second.
        cfg.experiment_name = f'{Path(args.config).stem}_seed_{seed}'
        run_search(cfg, retrain=retrain)
    return read_row(work_dir, seed, training)


def read_row(work_dir: Path, seed: int, training: Config | None) -> dict[str, Any]:
    """What a finished search left: arch, held-out score, MACs and the test metrics of its own retraining, if any."""
    found = read_search(work_dir)
    tested = Path(training.work_dir) / TESTED if training is not None and is_same_training(training) else None
    return {
        'seed': seed,
        'arch': dict(found.arch or {}),
        'score': found.info.get('score'),
        'macs': found.cost.get('macs'),
        'test': json.loads(tested.read_text()) if tested and tested.is_file() else {},
    }


def searched_space(work_dir: Path) -> SearchSpace:
    """The space of a finished search; of one in stages each choice as the stage had it that searched it."""
    record = read_search(work_dir)
    opened = {}
    for stage in record.stages:
        space = read_search(work_dir / stage['folder']).space
        opened.update({name: space[name] for name in stage['opened']})
    return SearchSpace(record.space.name, [opened.get(choice.name, choice) for choice in record.space])


def table(space: SearchSpace, rows: list[dict[str, Any]]) -> str:
    """One line for every open choice, its value at each seed and the share of pairs of seeds that agree."""
    agree = agreement(space, [row['arch'] for row in rows]) if len(rows) > 1 else {}
    lines = [['choice', *(f'seed {row["seed"]}' for row in rows), 'agreement']]
    for choice in space.open:
        share = f'{agree[choice.name]:.2f}' if agree else '-'
        lines.append([choice.name, *(str(row['arch'][choice.name]) for row in rows), share])
    mean = f'{sum(agree.values()) / len(agree):.2f}' if agree else '-'
    lines.append(['all choices', *('' for _ in rows), mean])
    lines.append(['by chance', *('' for _ in rows), f'{chance_agreement(space):.2f}'])
    lines.append(['held-out score', *(_number(row['score'], '.4f') for row in rows), ''])
    lines.append(['MACs', *(_number(row['macs'], ',') for row in rows), ''])
    for metric in sorted({key for row in rows for key in row['test']}):
        lines.append([f'test {metric}', *(_number(row['test'].get(metric), '.4f') for row in rows), ''])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join(
        f'{line[0]:<{widths[0]}}' + ''.join(f'  {word:>{w}}' for word, w in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def main() -> None:
    """Run the seeds one after another and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='how many, from --seed on (default: 3)')
    parser.add_argument(
        '--retrain', action='store_true', help='also train and test what each finds, if the config says how'
    )
    args = parser.parse_args()
    if args.seeds < 1:
        raise ConfigError(f'--seeds: found {args.seeds}, expected a positive number')
    if args.resume not in (None, 'auto'):
        raise ConfigError(
            f'--resume: found {args.resume!r}, expected no value: each seed goes on from its own checkpoint'
        )
    cfg = load_config(args.config, args.cfg_options)
    base = Path(args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}_seeds')
    first = args.seed if args.seed is not None else (cfg.get('randomness') or {}).get('seed') or 0
    rows = [run_seed(args, seed, base / f'seed_{seed}') for seed in range(first, first + args.seeds)]
    if not is_main_process():
        return
    space = searched_space(base / f'seed_{first}')
    write_text_atomic(base / 'seeds.json', json.dumps({'rows': rows}, indent=1) + '\n')
    print(f'\n{table(space, rows)}\n\n{len({tuple(row["arch"].items()) for row in rows})} different architectures')


if __name__ == '__main__':
    sys.exit(run_tool(main))
