"""What α's step costs: forward + backward of the mixed network against the largest sampled one.

    python tools/benchmarks/mixed_vs_sampled.py
    python tools/benchmarks/mixed_vs_sampled.py --clock cpu --threads 1    # on a machine that others use

Widths, kernels, depth and embedding are mixed, every value of them (softmax of zeros, with the gradient of α). Where
the candidates are other operations or other tokens (attention blocks, tubes) one is fixed: those run once per candidate
whatever one does. Where heads and their width are chosen apart, a mixture has the most of both and the largest network
has not: the ratio of the multiply-adds is printed too. Goal: at most 1.25; TangleNAS reports 1.35 for its weight-space
mixture.
"""

import argparse
from collections.abc import Callable

import torch
from common import Interleaved, add_json, add_timing, show
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.entangle import Mixture
from mmnas_video.models.backbones import SuperMBConv3D, SuperViT

#: Name to the backbone and the size of a batch.
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    'AutoX3D, no attention': (lambda: SuperMBConv3D(fixed={'*.attention': 'none'}), (2, 3, 13, 112, 112)),
    'AutoFormer-T, images': (lambda: SuperViT(table='autoformer-tiny'), (8, 3, 1, 224, 224)),
    "VIM-NAS-T, TubeViT's tubes": (lambda: SuperViT(table='vimnas-tiny', tubes='tubevit'), (1, 3, 32, 224, 224)),
    # What a step does once, whatever the batch (masks over weights, sums of their gradients), shows with one clip only.
    **{
        f"VIM-NAS-T, TubeViT's tubes, {clips} clips": (
            lambda: SuperViT(table='vimnas-tiny', tubes='tubevit'),
            (clips, 3, 32, 224, 224),
        )
        for clips in (5, 12)
    },
}


def training_pass(model: nn.Module, x: torch.Tensor, mixed: bool) -> Callable[[], None]:
    """Forward, mean square, backward."""
    space = model.space
    alpha = {choice.name: torch.zeros(len(choice), requires_grad=True) for choice in space.open}

    def once() -> None:
        model.zero_grad(set_to_none=True)
        weights = {name: row.softmax(0) for name, row in alpha.items()}
        with model.use(Mixture(space, weights) if mixed else space.largest):
            model(x).square().mean().backward()

    return once


def macs(once: Callable[[], None]) -> int:
    """Multiply-adds of forward + backward; attention as the two products that it is, else torch counts none."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        once()
    return counter.get_total_flops() // 2


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=CASES, default=list(CASES), help='cases (default: all)')
    add_timing(parser)
    add_json(parser)
    args = parser.parse_args()
    keep_freed_memory()  # as our tools do
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = []
    for name in args.only:
        build, size = CASES[name]
        model, x = build().train(), torch.randn(size)
        passes = {mode: training_pass(model, x, mode == 'mixed') for mode in ('sampled', 'mixed')}
        timer = Interleaved(passes, args.clock)
        found = timer.run(args.rounds)
        ratio = f'{timer.ratio("mixed", "sampled"):.3f}'
        macs_ratio = f'{macs(passes["mixed"]) / macs(passes["sampled"]):.3f}'
        rows.append(
            (
                name,
                'x'.join(map(str, size)),
                f'{1e3 * found["sampled"]:.0f}',
                f'{1e3 * found["mixed"]:.0f}',
                ratio,
                macs_ratio,
                timer.dropped,
            )
        )
    show(
        f'Mixed against the largest sampled network, forward + backward, {args.clock} time',
        ('space', 'input', 'sampled ms', 'mixed ms', 'ratio', 'of MACs', 'rounds dropped'),
        rows,
        args.out,
    )


if __name__ == '__main__':
    main()
