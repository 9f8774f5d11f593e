"""The demo over several seeds: its table, how often the searched network comes first, and the time of each phase.

    python tools/benchmarks/demo.py --seeds 10

One line is printed after each seed; a killed run goes on where it was.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import add_seeds, show
from demo import RANDOM_ARCHS, run


def summary(rows: list[dict]) -> dict[str, float]:
    """Top-1 (%) of the four networks that the demo compares."""
    top1 = {row['name']: 100 * row['top1'] for row in rows}
    others = [value for name, value in top1.items() if name.startswith('random')]
    return {
        'searched': top1['searched'],
        'uniform': top1['uniform (X3D-like)'],
        'median random': statistics.median(others),
        'best random': max(others),
    }


def main() -> None:
    """Run what is missing, then print mean, deviation and wins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_seeds(parser, 10, 'demo_seeds')
    parser.add_argument('--first', type=int, default=0, help='first seed')
    parser.add_argument('--out', help='write the figures as JSON')
    args = parser.parse_args()
    torch.set_num_threads(1)
    found, seconds = [], []
    for seed in range(args.first, args.first + args.seeds):
        folder = args.work_dir / f'seed_{seed}'
        done = folder / 'result.json'
        if not done.is_file():
            rows, phases = run(folder, Path('data/demo'), seed, False, RANDOM_ARCHS)
            done.write_text(json.dumps({'rows': rows, 'seconds': phases}))
        result = json.loads(done.read_text())
        found.append(summary(result['rows']))
        seconds.append(result['seconds'])
        print(f'seed {seed}: ' + '  '.join(f'{name} {value:.1f}' for name, value in found[-1].items()), flush=True)
    rows = [
        (
            name,
            f'{statistics.mean(f[name] for f in found):.1f}',
            f'{statistics.stdev(f[name] for f in found):.1f}' if len(found) > 1 else '-',
            sum(f[name] >= max(f.values()) for f in found),
        )
        for name in found[0]
    ]
    show(
        f'The demo over {len(found)} seeds',
        ('network', 'mean top-1 %', 'sd', 'times first (ties count)'),
        rows,
        args.out,
    )
    print(
        '\nmedian seconds: '
        + '  '.join(f'{name} {statistics.median(s.get(name, 0) for s in seconds):.0f}' for name in seconds[0])
    )


if __name__ == '__main__':
    main()
