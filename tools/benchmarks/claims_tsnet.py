"""Claims of the Auto-TSNet paper, on the demo sets: reported as they come out.

python tools/benchmarks/claims_tsnet.py --seeds 5

1. Tab. 5: a searched sparse stream alone, with the dense stream and its fusions, and with attention; each trained from
   scratch. Beside them a searched sparse stream that may cost as much as both streams.
2. Tab. 9: the search in three stages against the search in one step of as many epochs: top-1 of what was found, end
   entropy (the sum, and the mean over the stages, which the paper prints), and CPU seconds of its main process.

A killed run goes on where it was; the seconds are then of its last part only.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import add_seeds, show, spread
from demo_tsnet import make_data, search_config

from mmnas_video.pipeline import retrain_arch, run_search
from mmnas_video.space import read_arch_file, write_text_atomic

#: What each kind of search runs: which of the demo's stages, and whether they are joined into one.
KINDS = ('progressive', 'one step', 'one stream')


def config(kind: str, folder: Path, args: argparse.Namespace, seed: int) -> Any:
    """The demo's search, changed into the ``kind`` of search that is meant."""
    cfg = search_config(folder, args.data, seed, smoke=args.smoke)
    epochs = [args.epochs or stage.epochs for stage in cfg.stages] if not args.smoke else [1, 1, 1]
    sparse, _, last = cfg.stages
    for stage, number in zip(cfg.stages, epochs, strict=True):
        stage.epochs = number
    if kind == 'one step':
        line = dict.fromkeys(last.cfg_options, 'all')  # the name of the progress line
        cfg.stages = [
            dict(name='all', opens=['*'], epochs=sum(epochs), budget=last.budget, cfg_options=line, note='paper: 2e53')
        ]
    elif kind == 'one stream':
        cfg.stages = [{**sparse, 'epochs': sum(epochs), 'budget': last.budget}]
    return cfg


def top1(cfg: Any, stage: dict[str, Any], folder: Path, name: str) -> float:
    """Top-1 (%) of the network that a stage ended with, trained from scratch; a stream that it lacks is left out."""
    retrain = dict(cfg.retrain)
    if not any(choice.startswith('dense.') for choice in stage['arch']):
        alone = {
            'model.backbone.streams': ('sparse',),
            'model.cls_head.in_channels': cfg.model.backbone.sparse.out_channels,
        }
        retrain['cfg_options'] = {**retrain['cfg_options'], **alone}
    cfg.resume = True  # a training that is finished is not run again
    done = retrain_arch(retrain, stage['arch'], folder, cfg, name=name)
    return 100 * done['metrics']['acc/top1']


def measure(kind: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One search and the trainings of what its stages found."""
    folder = args.work_dir / f'{kind.replace(" ", "_")}_{seed}'
    result = folder / 'claims.json'
    if result.is_file():
        return json.loads(result.read_text())
    cfg, start = config(kind, folder, args, seed), time.process_time()
    stages = run_search(cfg, retrain=False)['stages']
    seconds = time.process_time() - start
    sums = json.loads((folder / 'search' / 'stages.json').read_text())
    networks = [
        {
            'name': stage['name'],
            'macs': stage['macs'],
            'top1': top1(cfg, stage, folder / f'retrain_{stage["name"]}', f'{kind} {seed}: {stage["name"]}'),
        }
        for stage in stages
    ]
    assert dict(read_arch_file(folder / 'search' / 'arch.json')['arch']) == stages[-1]['arch']
    data = {
        'networks': networks,
        'seconds': seconds,
        'entropy_total': sums['entropy_total'],
        'entropy_mean': sums['entropy_mean'],
    }
    write_text_atomic(result, json.dumps(data, indent=1) + '\n')
    return data


def networks_table(found: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str, str]]:
    """Claim 1: per network its MACs and top-1 over the seeds."""
    labels = {
        'sparse': 'sparse stream (first stage)',
        'dense': '+ dense stream and fusions',
        'attention': '+ attention',
    }
    rows = [('sparse stream, whole budget', found['one stream'], 0)]
    rows += [(labels[n['name']], found['progressive'], i) for i, n in enumerate(found['progressive'][0]['networks'])]
    return [
        (
            name,
            spread([run['networks'][i]['macs'] / 1e6 for run in runs], 2),
            spread([run['networks'][i]['top1'] for run in runs]),
        )
        for name, runs, i in rows
    ]


def searches_table(found: dict[str, list[dict[str, Any]]]) -> list[tuple[str, ...]]:
    """Claim 2: per kind of search what it found and how it ended."""
    return [
        (
            kind,
            spread([run['networks'][-1]['macs'] / 1e6 for run in found[kind]], 2),
            spread([run['networks'][-1]['top1'] for run in found[kind]]),
            spread([run['entropy_total'] for run in found[kind]]),
            spread([run['entropy_mean'] for run in found[kind]]),
            spread([run['seconds'] for run in found[kind]], 0),
        )
        for kind in ('progressive', 'one step')
    ]


def main() -> None:
    """Run all searches and trainings, and print both tables after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_seeds(parser, 5, 'claims_tsnet')
    parser.add_argument('--epochs', type=int, help="of every stage (default: the demo's)")
    parser.add_argument(
        '--data', type=Path, default=Path('data/demo'), help='demo data; made if it is not there (default: data/demo)'
    )
    parser.add_argument('--smoke', action='store_true', help='one epoch each on tiny data: shows that it runs')
    parser.add_argument('--out', help='write the tables as JSON, with _1 and _2 before the suffix')
    args = parser.parse_args()
    torch.set_num_threads(1)
    make_data(args.data, args.smoke)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for seed in range(args.seeds):
        for kind in KINDS:
            found[kind].append(measure(kind, seed, args))
        out = Path(args.out) if args.out else None
        show(
            f'One stream against two, {seed + 1} seeds',
            ('network', 'MMACs', 'top-1 (%)'),
            networks_table(found),
            str(out.with_stem(f'{out.stem}_1')) if out else None,
        )
        show(
            f'In stages against in one step, {seed + 1} seeds',
            ('search', 'found MMACs', 'top-1 (%)', 'end entropy', 'mean over stages', 'CPU seconds'),
            searches_table(found),
            str(out.with_stem(f'{out.stem}_2')) if out else None,
        )


if __name__ == '__main__':
    main()
