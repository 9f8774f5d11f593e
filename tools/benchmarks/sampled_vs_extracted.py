"""What sharing weights costs: a supernet's forward + backward at an architecture against the extracted network's own.

    python tools/benchmarks/sampled_vs_extracted.py
    python tools/benchmarks/sampled_vs_extracted.py --clock cpu --threads 1    # on a machine that others use

Every space at its smallest architecture, the median of 101 random ones (by multiply-adds) and the largest. Goal: at
most 1.10 for the median and the largest. Beside the time the number of tensor operations that are no views, which does
not depend on the machine: on a GPU each is about one kernel to launch. The optimiser's step is reported apart: of one
network, over all super-weights, and with what was not sampled kept as it was. Where there is a GPU it is measured: give
it a batch to fill it (--batch 32). Before that our kernels are compiled there, for AutoX3D's and Auto-TSNet's networks
ten minutes and more; --share 0/8 to 7/8 at once, which time nothing, do it eight times as fast.
"""

import argparse
import copy
import os
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple
from unittest import mock

import torch
from common import Interleaved, add_json, add_timing, show
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.entangle import copy_slices
from mmnas_video.kernels import batch_norm_launch, depthwise_launch
from mmnas_video.models.backbones import SuperMBConv3D, SuperP3D, SuperTSNet, SuperViT
from mmnas_video.search.freeze import frozen_unsampled
from mmnas_video.space import Arch

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


class Case(NamedTuple):
    """A space's backbone, its fixed arguments, and the size of a batch."""

    backbone: Callable[..., nn.Module]
    arguments: Mapping[str, Any]
    size: tuple[int, ...]


CASES = {
    'autox3d': Case(SuperMBConv3D, {}, (8, 3, 4, 64, 64)),
    'autox3d-s': Case(SuperMBConv3D, {}, (2, 3, 13, 112, 112)),
    'tsnet': Case(SuperTSNet, {}, (2, 3, 32, 64, 64)),
    'autoformer-t': Case(SuperViT, {'table': 'autoformer-tiny'}, (4, 3, 1, 224, 224)),
    'vimnas-t': Case(SuperViT, {'table': 'vimnas-tiny', 'tubes': 'tubevit'}, (1, 3, 32, 224, 224)),
    'p3d': Case(SuperP3D, {}, (4, 3, 8, 56, 56)),
}


class _Operations(TorchDispatchMode):
    """Counts operations that are no views of their input."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def operations(once: Callable[[], None]) -> int:
    """How many tensor operations ``once`` runs."""
    with _Operations() as seen:
        once()
    return seen.count


def finished() -> None:
    """Wait for the GPU, where there is one."""
    if DEVICE == 'cuda':
        torch.cuda.synchronize()


def training_pass(model: nn.Module, x: torch.Tensor, arch: Arch | None = None) -> Callable[[], None]:
    """Forward, mean square, backward."""

    def once() -> None:
        model.zero_grad(set_to_none=True)
        if arch is None:
            model(x).square().mean().backward()
        else:
            with model.use(arch):
                model(x).square().mean().backward()
        finished()

    return once


def optimiser_step(model: nn.Module, arch: Arch | None = None) -> Callable[[], None]:
    """One SGD step with momentum over parameters that all have a gradient; with ``arch`` what that leaves unused is
    kept."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-5)

    def once() -> None:
        with nullcontext() if arch is None else frozen_unsampled(model, [arch], optimizer):
            optimizer.step()
        finished()

    return once


def pairs(
    name: str, size: tuple[int, ...]
) -> Iterator[tuple[str, Arch, nn.Module, nn.Module, dict[str, Callable[[], None]]]]:
    """Of one case (which, architecture, supernet, extracted network, a pass of either), one after the other."""
    backbone, arguments, _ = CASES[name]
    supernet, rng, x = backbone(**arguments).to(DEVICE).train(), random.Random(0), torch.randn(size, device=DEVICE)
    drawn = sorted((supernet.space.sample(rng) for _ in range(101)), key=lambda a: supernet.cost(a, size[1:]).macs)
    archs = {'smallest': supernet.space.smallest, 'median of 101': drawn[50], 'largest': supernet.space.largest}
    for which, arch in archs.items():
        own = copy_slices(supernet, arch, backbone(**arguments, arch=arch).to(DEVICE)).train()
        yield which, arch, supernet, own, {'sampled': training_pass(supernet, x, arch), 'own': training_pass(own, x)}


def measure(name: str, size: tuple[int, ...], rounds: int, clock: str) -> list[tuple[Any, ...]]:
    """The rows of one case."""
    rows = []
    for which, arch, supernet, own, passes in pairs(name, size):
        timer = Interleaved(passes, clock)
        found = timer.run(rounds)
        counts = {key: operations(once) for key, once in passes.items()}
        steps = {
            'own': optimiser_step(own),
            'sampled': optimiser_step(supernet),
            'kept': optimiser_step(copy.deepcopy(supernet), arch),
        }
        taken = Interleaved(steps, clock).run(rounds)
        rows.append(
            (
                name,
                'x'.join(map(str, size)),
                which,
                f'{supernet.cost(arch, size[1:]).macs / 1e6:,.0f}',
                f'{1e3 * found["own"]:.0f}',
                f'{1e3 * found["sampled"]:.0f}',
                f'{timer.ratio("sampled", "own"):.3f}',
                f'{counts["own"]:,}',
                f'{counts["sampled"]:,}',
                *(f'{1e3 * taken[key]:.1f}' for key in steps),
                timer.dropped,
            )
        )
        print(*rows[-1], flush=True)
    return rows


@contextmanager
def only_share(share: int, shares: int) -> Iterator[None]:
    """Launch, and so compile, only one in so many of our kernels; what the others would write stays undefined."""
    real = depthwise_launch.launch

    def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
        # What is compiled in: its options, and the types of what it is given.
        types = [str(a.dtype) if isinstance(a, torch.Tensor) else type(a) for a in args]
        if zlib.crc32(repr((kernel.fn.__name__, options, types)).encode()) % shares == share:
            real(kernel, grid, *args, **options)

    with ExitStack() as stack:
        for module in (batch_norm_launch, depthwise_launch):
            stack.enter_context(mock.patch.object(module, 'launch', launch))
        yield


def main() -> None:
    """Measure every case at three architectures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=CASES, default=list(CASES), help='cases (default: all)')
    add_timing(parser)
    parser.add_argument('--batch', type=int, help="clips (or images) a batch (default: each case's own, for a CPU)")
    parser.add_argument('--share', metavar='I/N', help='time nothing: compile the I-th of N shares of our kernels')
    add_json(parser)
    args = parser.parse_args()
    keep_freed_memory()  # as our tools do
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    sizes = {name: (args.batch or CASES[name].size[0], *CASES[name].size[1:]) for name in args.only}
    if args.share:
        os.nice(5)  # behind what is compiled beside it for benchmarks that come before
        with only_share(*map(int, args.share.split('/'))):
            for name, size in sizes.items():
                for *_, passes in pairs(name, size):
                    for once in passes.values():
                        once()
        return
    rows = [row for name, size in sizes.items() for row in measure(name, size, args.rounds, args.clock)]
    header = ('space', 'input', 'arch', 'MMACs', 'extracted ms', 'sampled ms', 'ratio', 'operations', 'of the sampled')
    header += ('SGD ms', 'of the supernet', 'with the rest kept', 'rounds dropped')
    show(f'Sampled against extracted, forward + backward, {args.clock} time', header, rows, args.out)


if __name__ == '__main__':
    main()
