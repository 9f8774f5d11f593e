"""Convolutions of X3D-S and of the spaces around it on a CPU: by what is fast there, and as PyTorch sends them.

    python tools/benchmarks/cpu_paths.py
    python tools/benchmarks/cpu_paths.py --clock cpu --threads 1 --batch 1     # on a machine that others use

Both in turn, in fp32 and channels_last_3d, forward alone and forward + backward; PyTorch's by MMNAS_KERNELS=off.
"""

import argparse
import os
from collections.abc import Callable
from typing import NamedTuple

import torch
from common import Interleaved, add_json, add_timing, show
from torch import Tensor

from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.kernels import conv3d, depthwise_conv3d
from mmnas_video.kernels.choose import SWITCH

WAYS = {'PyTorch': 'off', 'ours': 'auto'}


class Layer(NamedTuple):
    """C and C' (None: depthwise), T, H = W, kernel and spatial stride."""

    channels: int
    out: int | None
    frames: int
    size: int
    kernel: tuple[int, int, int]
    stride: int = 1

    def __str__(self) -> str:
        kind = 'depthwise' if self.out is None else f'to {self.out}'
        strided = f' /{self.stride}' if self.stride > 1 else ''
        return f'{self.channels}x{self.frames}x{self.size}² {kind} {"x".join(map(str, self.kernel))}{strided}'


# X3D-S at 13 x 160 x 160 from the stem on, then the searches' other kernels at its third stage.
LAYERS = (
    Layer(3, 24, 13, 160, (1, 3, 3), 2),
    Layer(24, None, 13, 80, (5, 1, 1)),
    Layer(24, 54, 13, 80, (1, 1, 1)),
    Layer(54, None, 13, 80, (3, 3, 3), 2),
    Layer(54, None, 13, 40, (3, 3, 3)),
    Layer(54, 24, 13, 40, (1, 1, 1)),
    Layer(108, None, 13, 20, (3, 3, 3)),
    Layer(48, 108, 13, 20, (1, 1, 1)),
    Layer(216, None, 13, 10, (3, 3, 3)),
    Layer(432, None, 13, 5, (3, 3, 3)),
    Layer(108, None, 13, 20, (1, 3, 3)),
    Layer(108, None, 13, 20, (5, 3, 3)),
    Layer(108, None, 13, 20, (1, 5, 5)),
    Layer(108, None, 13, 20, (5, 5, 5)),
)


def passes(layer: Layer, batch: int, backward: bool) -> dict[str, Callable[[], None]]:
    """One pass of a layer, by either way."""
    torch.manual_seed(0)
    size = (batch, layer.channels, layer.frames, layer.size, layer.size)
    x = torch.randn(size).to(memory_format=torch.channels_last_3d).requires_grad_(layer.channels > 3)
    inp, out = (1, layer.channels) if layer.out is None else (layer.channels, layer.out)
    weight = torch.randn(out, inp, *layer.kernel, requires_grad=True)

    def convolve() -> Tensor:
        if layer.out is None:
            return depthwise_conv3d(x, weight, stride=layer.stride)
        return conv3d(x, weight, None, (1, layer.stride, layer.stride), [k // 2 for k in layer.kernel])

    dy = torch.randn_like(convolve())

    def once(way: str) -> Callable[[], None]:
        def run() -> None:
            os.environ[SWITCH] = WAYS[way]
            with torch.set_grad_enabled(backward):
                y = convolve()
            if backward:
                x.grad = weight.grad = None
                y.backward(dy)

        return run

    return {way: once(way) for way in WAYS}


def main() -> None:
    """Measure every layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch', type=int, default=4, help='clips (default: 4)')
    add_timing(parser)
    add_json(parser)
    args = parser.parse_args()
    keep_freed_memory()  # as our tools do
    torch.set_num_threads(args.threads)
    rows = []
    for layer in LAYERS:
        cells = [str(layer)]
        for backward in (False, True):
            timer = Interleaved(passes(layer, args.batch, backward), args.clock)
            found = timer.run(args.rounds)
            cells += [f'{1e3 * found["PyTorch"]:.1f}', f'{1e3 * found["ours"]:.1f}']
            cells.append(f'{timer.ratio("PyTorch", "ours"):.1f}')
        rows.append(cells)
    header = ('layer', 'forward: PyTorch ms', 'ours ms', 'PyTorch / ours')
    header += ('and backward: PyTorch ms', 'ours ms', 'PyTorch / ours')
    show(f'Convolutions on a CPU, batch {args.batch}, {args.clock} time', header, rows, args.out)


if __name__ == '__main__':
    main()
