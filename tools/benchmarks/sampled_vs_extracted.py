"""What sharing weights costs: a supernet's forward + backward at an architecture against the extracted network's own.

    python tools/benchmarks/sampled_vs_extracted.py

Goal: at most 1.10 for the median and the largest architecture. The optimiser's step, over all super-weights against one
network's, is reported apart.
"""

import argparse
import random
from collections.abc import Callable

import torch
from common import Interleaved, add_json, show
from torch import nn

from mmnas_video.entangle import copy_slices
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.space import Arch

SHAPES = ((8, 3, 4, 64, 64), (2, 3, 13, 112, 112))


def training_pass(model: nn.Module, x: torch.Tensor, arch: Arch | None = None) -> Callable[[], None]:
    """Forward, mean square, backward."""

    def once() -> None:
        model.zero_grad(set_to_none=True)
        if arch is None:
            model(x).square().mean().backward()
        else:
            with model.use(arch):
                model(x).square().mean().backward()

    return once


def optimiser_step(model: nn.Module) -> Callable[[], None]:
    """One SGD step with momentum over parameters that all have a gradient."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-5).step


def main() -> None:
    """Measure both shapes at three architectures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=2)
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    supernet, rng, rows = SuperMBConv3D(), random.Random(0), []
    shape = (3, 13, 160, 160)
    drawn = sorted((supernet.space.sample(rng) for _ in range(101)), key=lambda a: supernet.cost(a, shape).macs)
    archs = {'smallest': supernet.space.smallest, 'median of 101': drawn[50], 'largest': supernet.space.largest}
    for size in SHAPES:
        x = torch.randn(size)
        for name, arch in archs.items():
            own = copy_slices(supernet, arch, SuperMBConv3D(arch=arch)).train()
            timer = Interleaved({'sampled': training_pass(supernet.train(), x, arch), 'own': training_pass(own, x)})
            found = timer.run(args.rounds)
            rows.append(
                (
                    'x'.join(map(str, size)),
                    name,
                    f'{supernet.cost(arch, size[1:]).macs / 1e6:,.0f}',
                    f'{1e3 * found["own"]:.0f}',
                    f'{1e3 * found["sampled"]:.0f}',
                    f'{found["sampled"] / found["own"]:.3f}',
                    timer.dropped,
                )
            )
    show(
        'Sampled against extracted, forward + backward',
        ('input', 'arch', 'MMACs', 'extracted ms', 'sampled ms', 'ratio', 'rounds dropped'),
        rows,
        args.out,
    )
    own = copy_slices(supernet, archs['median of 101'], SuperMBConv3D(arch=archs['median of 101']))
    steps = Interleaved({'sampled': optimiser_step(supernet), 'own': optimiser_step(own)}).run(args.rounds)
    print(
        f'\nSGD step: {1e3 * steps["sampled"]:.1f} ms over all super-weights, '
        f'{1e3 * steps["own"]:.1f} ms over the parameters of the median network'
    )


if __name__ == '__main__':
    main()
