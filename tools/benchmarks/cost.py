"""How many architectures a second the closed-form cost answers, on one core.

python tools/benchmarks/cost.py
"""

import argparse
import random
import time

import torch
from common import add_json, show

from mmnas_video.models.backbones import SuperMBConv3D


def main() -> None:
    """Sample first, then time the cost alone: with empty tables, and again with full ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--archs', type=int, default=100_000, help='architectures that are priced (default: 100,000)')
    parser.add_argument(
        '--repeats', type=int, default=5, help='times each way is timed; the fastest counts (default: 5)'
    )
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    backbone, rng, shape = SuperMBConv3D(), random.Random(0), (3, 13, 160, 160)
    archs = [backbone.space.sample(rng) for _ in range(args.archs)]
    rates, cost = [], backbone.closed_form(shape)
    for _ in range(1 + args.repeats):
        start = time.perf_counter()
        for arch in archs:
            cost(arch)
        rates.append(args.archs / (time.perf_counter() - start))
    show(
        'cost() of AutoX3D architectures',
        ('tables', 'archs/s'),
        [('empty at the start', f'{rates[0]:,.0f}'), (f'full (best of {args.repeats})', f'{max(rates[1:]):,.0f}')],
        args.out,
    )


if __name__ == '__main__':
    main()
