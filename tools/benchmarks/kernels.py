"""Kernels against PyTorch and against what the hardware allows, layer by layer.

python tools/benchmarks/kernels.py [--dtype bf16] [--only '*3x3x3*'] [--compiled] [--out kernels.json]

bound = max(memory roof, FMA floor): bytes that must move at the copy bandwidth; multiply-adds on all fp32 lanes.
Times are medians over replays of a CUDA graph that goes round buffers larger than the L2 cache, PyTorch's in its own
best layout (contiguous). Without a GPU it prints bytes, multiply-adds and bounds; with --compiled also what the kernels
become on sm_90 (registers, spills, instructions), for which no GPU is needed.
"""

import argparse
import fnmatch
import math
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from common import add_json, said, show
from kernels_batch_norm import batch_norm_cases
from torch import Tensor

from mmnas_video.kernels import depthwise_plan as plans

# An H200: 132 multiprocessors of 128 fp32 lanes at 1.75 GHz, and the bandwidth that a copy reaches.
FMA_A_SECOND = 132 * 128 * 1.75e9
BANDWIDTH = 4.2e12
L2 = 50 * 2**20
BATCH = 32
DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16, 'fp32': torch.float32}


class Case(NamedTuple):
    """One kernel on one shape.

    Attributes:
        name: layer and pass.
        bytes, macs: what must move and be multiplied, at least.
        goal: what is wanted, in words.
        make: ``make(dtype)`` gives one set of tensors on the GPU.
        ours, theirs: what is timed on such a set; ``theirs`` lays its tensors out in ``adapt`` first.
        adapt: PyTorch's best layout of the set, not timed.
        compiled: ``compiled(dtype name)`` gives the kernel's :class:`~mmnas_video.kernels.compiled.Resources`.
    """

    name: str
    bytes: Callable[[int], int]
    macs: int
    goal: str
    make: Callable[[torch.dtype], tuple[Tensor, ...]]
    ours: Callable[..., object]
    theirs: Callable[..., object]
    adapt: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    compiled: Callable[[str], Any] | None = None

    def bound(self, itemsize: int) -> float:
        """Seconds that no kernel can go below."""
        return max(self.bytes(itemsize) / BANDWIDTH, self.macs / FMA_A_SECOND)


class Layer(NamedTuple):
    """A depthwise convolution of X3D or of a search space around it: C, T, H = W, kernel, spatial stride."""

    channels: int
    frames: int
    size: int
    kernel: tuple[int, int, int]
    stride: int


# X3D-S at 13 x 160 x 160, stage by stage, and the search spaces' other kernels at its third stage.
LAYERS = (
    Layer(54, 13, 80, (3, 3, 3), 2),
    Layer(54, 13, 40, (3, 3, 3), 1),
    Layer(108, 13, 20, (3, 3, 3), 1),
    Layer(216, 13, 10, (3, 3, 3), 1),
    Layer(432, 13, 5, (3, 3, 3), 1),
    Layer(108, 13, 20, (5, 5, 5), 1),
    Layer(108, 13, 20, (1, 5, 5), 1),
    Layer(108, 13, 20, (1, 3, 3), 1),
)


def depthwise(layer: Layer) -> list[Case]:
    """Forward, input gradient and weight gradient."""
    c, t, size, kernel, stride = layer
    small = -(-size // stride)
    fine, coarse = BATCH * c * t * size**2, BATCH * c * t * small**2
    name = f'depthwise {c}x{t}x{size}² {"x".join(map(str, kernel))}' + (f' /{stride}' if stride > 1 else '')

    def make(dtype: torch.dtype) -> tuple[Tensor, ...]:
        def clip(extent: int) -> Tensor:
            shape = (BATCH, c, t, extent, extent)
            return torch.randn(shape, device='cuda').to(dtype, memory_format=torch.channels_last_3d)

        return clip(size), clip(small), torch.randn(c, 1, *kernel, device='cuda').to(dtype)

    def contiguous(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(tensor.contiguous() for tensor in tensors)

    def backward(x: Tensor, dy: Tensor, w: Tensor, mask: tuple[bool, bool, bool]) -> object:
        padding = [k // 2 for k in kernel]
        strides = [1, stride, stride]
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, strides, padding, [1, 1, 1], False, [0, 0, 0], c, mask
        )

    ops = torch.ops.mmnas_video
    strides, padding = (1, stride, stride), tuple(k // 2 for k in kernel)
    forward_work = plans.Work(BATCH, c, t, (size, size), (small, small), kernel, stride)
    input_work = plans.Work(BATCH, c, t, (small, small), (size, size), kernel, 1, stride)
    passes = (
        (
            'forward',
            lambda x, dy, w: ops.depthwise_conv3d(x, w, 0, kernel, stride),
            lambda x, dy, w: torch.nn.functional.conv3d(x, w, None, strides, padding, 1, c),
            lambda dtype: _compiled().slide_resources(forward_work, dtype),
        ),
        (
            'input gradient',
            lambda x, dy, w: ops.depthwise_conv3d_input_gradient(dy, w, 0, kernel, stride, (size, size)),
            lambda x, dy, w: backward(x, dy, w, (True, False, False)),
            lambda dtype: _compiled().slide_resources(input_work, dtype, flip=True),
        ),
        (
            'weight gradient',
            lambda x, dy, w: ops.depthwise_conv3d_weight_gradient(x, dy, w, 0, kernel, stride),
            lambda x, dy, w: backward(x, dy, w, (False, True, False)),
            lambda dtype: _compiled().gradient_resources(forward_work, dtype),
        ),
    )
    goals = {10: ('30 µs',) * 3, 5: ('20 µs',) * 3}.get(size, ('2 x', '2 x', '3 x'))
    return [
        Case(
            f'{name}, {each}',
            lambda itemsize: (fine + coarse) * itemsize,
            coarse * math.prod(kernel),
            goal,
            make,
            ours,
            theirs,
            contiguous,
            compiled,
        )
        for (each, ours, theirs, compiled), goal in zip(passes, goals, strict=True)
    ]


def _compiled():
    from mmnas_video.kernels import depthwise_compiled

    return depthwise_compiled


CASES = [case for layer in LAYERS for case in depthwise(layer)]
CASES += [Case(*fields) for fields in batch_norm_cases(BATCH)]


def seconds(work: Callable[..., object], sets: list[tuple[Tensor, ...]], rounds: int) -> float:
    """Median time of ``work`` on one set, from a CUDA graph that goes through all of them."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for tensors in sets:
            work(*tensors)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        # Kept, so that each has memory of its own: written over and over, one result would stay in the cache.
        _kept = [work(*tensors) for tensors in sets]
    times = []
    for _ in range(rounds + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / len(sets))
    return statistics.median(times[3:])


def measure(case: Case, dtype: torch.dtype, rounds: int) -> tuple[float, float]:
    """Seconds of (ours, PyTorch's)."""
    count = max(4, math.ceil(3 * L2 / case.bytes(dtype.itemsize)))
    sets = [case.make(dtype) for _ in range(count)]
    ours = seconds(case.ours, sets, rounds)
    return ours, seconds(case.theirs, [case.adapt(tensors) for tensors in sets], rounds)


def row(case: Case, name: str, rounds: int, compiled: bool) -> list[object]:
    """One line of the table."""
    dtype = DTYPES[name]
    bound = case.bound(dtype.itemsize)
    cells = [case.name, f'{case.bytes(dtype.itemsize) / 1e6:.1f}', f'{case.macs / 1e6:.0f}', f'{bound * 1e6:.1f}']
    cells.append(case.goal)
    if torch.cuda.is_available():
        try:
            ours, theirs = measure(case, dtype, rounds)
            cells += [f'{ours * 1e6:.1f}', f'{ours / bound:.2f}', f'{theirs * 1e6:.1f}', f'{theirs / ours:.1f}']
        except Exception as error:
            cells += [said(error), '', '', '']
    if compiled:
        found = case.compiled(name) if case.compiled else None
        fma = f'{found.instructions["FFMA"]} of {sum(found.instructions.values())}' if found else ''
        cells += [found.registers, found.stack, fma] if found else ['', '', '']
    return cells


def main() -> None:
    """The table, as Markdown and with ``--out`` as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dtype', choices=list(DTYPES), default='bf16', help='of what is stored (default: bf16)')
    parser.add_argument('--only', default='*', help='shell pattern of the names')
    parser.add_argument('--rounds', type=int, default=20, help='measurements of each kernel (default: 20)')
    parser.add_argument('--compiled', action='store_true', help='registers, spills and instructions on sm_90')
    add_json(parser)
    args = parser.parse_args()
    header = ['kernel', 'MB', 'MMACs', 'bound µs', 'goal']
    if torch.cuda.is_available():
        header += ['ours µs', '× bound', 'PyTorch µs', 'PyTorch ÷ ours']
    else:
        print('No GPU here: bytes, multiply-adds and bounds only; nothing was timed.\n')
    if args.compiled:
        header += ['registers', 'stack bytes', 'FMAs of instructions']
    chosen = [case for case in CASES if fnmatch.fnmatch(case.name, args.only)]
    rows = []
    for case in chosen:
        rows.append(row(case, args.dtype, args.rounds, args.compiled))
        if torch.cuda.is_available() or args.compiled:
            print(*rows[-1], sep=', ', file=sys.stderr, flush=True)  # should it be stopped
    show(f'Kernels, batch {BATCH}, {args.dtype}', header, rows, args.out)


if __name__ == '__main__':
    main()
