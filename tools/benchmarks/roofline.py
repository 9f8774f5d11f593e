"""The roofline of X3D-S: what each layer moves and multiplies, what a GPU could reach, and what this machine does.

    python tools/benchmarks/roofline.py --picture docs/images/roofline.svg
    python tools/benchmarks/roofline.py --analysis          # nothing is timed

Bytes are the compulsory ones: what goes in, what comes out and the weights, once; of BatchNorm in training the input
twice, because its statistics come first. The bound of a layer is max(bytes at the copy bandwidth, multiply-adds at the
peak of the units that can do them): fp32 lanes for depthwise convolutions and BatchNorm, tensor cores for the others.

Analysis: one H200, bf16, batch 32: 4.2 TB/s is what a copy reaches, 132 x 128 fp32 lanes at 1.75 GHz, and 989 TFLOPS of
bf16 tensor cores as the vendor's data sheet has them. Measured: forward, every distinct layer alone, in training mode,
against this machine's own copy bandwidth and matrix product: on a GPU bf16, batch 32 and CUDA graphs, on a CPU fp32,
one thread, one clip, the least CPU time of some repeats, so that other work on the machine enters little.
"""

import argparse
import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from common import add_json, show, write_json
from kernels import BANDWIDTH, FMA_A_SECOND, L2, seconds
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mmnas_video
from mmnas_video.kernels import batch_norm, depthwise_conv3d
from mmnas_video.registry import MODELS
from mmnas_video.visualization import style
from mmnas_video.visualization.figure_io import save_figure

ROOT = Path(__file__).resolve().parents[2]
TENSOR_MACS_A_SECOND = 989e12 / 2
CLIP = (3, 13, 160, 160)
COLOURS = {'depthwise': style.ORANGE, 'pointwise': style.BLUE, 'stem': style.GREEN, 'BatchNorm': style.PINK}
MARKS = {'depthwise': 'o', 'pointwise': 's', 'stem': '^', 'BatchNorm': 'D'}
BATCH_NORM_MACS = 2  # an element: one for the statistics, one to normalise


class Layer(NamedTuple):
    """One distinct layer, forward, for a batch of 1.

    Attributes:
        x, y: (C, T, H, W) of input and output.
        weight: shape; (C,) of BatchNorm.
        stride: spatial.
    """

    kind: str
    x: tuple[int, ...]
    y: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int = 1

    @property
    def name(self) -> str:
        """For a table."""
        shape = f'{self.x[1]}x{self.x[2]}²'
        if self.kind == 'BatchNorm':
            return f'BatchNorm {self.x[0]} channels, {shape}'
        kernel = 'x'.join(map(str, self.weight[2:]))
        return f'{self.kind} {kernel} {self.x[0]} → {self.y[0]}, {shape}' + (
            f' /{self.stride}' if self.stride > 1 else ''
        )

    def macs(self, batch: int) -> int:
        """Multiply-adds."""
        each = BATCH_NORM_MACS if self.kind == 'BatchNorm' else math.prod(self.weight[1:])
        return batch * math.prod(self.y) * each

    def bytes(self, batch: int, itemsize: int) -> int:
        """What has to move."""
        read = math.prod(self.x) * (2 if self.kind == 'BatchNorm' else 1)
        return (batch * (read + math.prod(self.y)) + math.prod(self.weight)) * itemsize

    @property
    def lanes(self) -> bool:
        """Whether only fp32 lanes can do it: each product has a factor of its own."""
        return self.kind in ('depthwise', 'BatchNorm')


class Peak(NamedTuple):
    """A machine: bytes a second, multiply-adds a second of lanes and of matrix products."""

    bandwidth: float
    lanes: float
    products: float

    def bound(self, layer: Layer, batch: int, itemsize: int) -> float:
        """Seconds that no forward pass can go below."""
        peak = self.lanes if layer.lanes else self.products
        return max(layer.bytes(batch, itemsize) / self.bandwidth, layer.macs(batch) / peak)


H200 = Peak(BANDWIDTH, FMA_A_SECOND, TENSOR_MACS_A_SECOND)


class Shapes(TorchDispatchMode):
    """Counts the distinct layers of a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: Counter[Layer] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name == 'aten::convolution':
            x, weight = args[:2]
            kind = 'depthwise' if args[8] == x.shape[1] > 1 else 'pointwise' if weight[0, 0].numel() == 1 else 'stem'
            if x.shape[2:].numel() > 1:  # else inside squeeze-and-excitation
                stride = args[3][-1]
                self.layers[Layer(kind, tuple(x.shape[1:]), tuple(out.shape[1:]), tuple(weight.shape), stride)] += 1
        elif 'batch_norm' in name and out[0].dim() == 5:
            shape = tuple(out[0].shape[1:])
            self.layers[Layer('BatchNorm', shape, shape, shape[:1])] += 1
        return out


def x3d_layers() -> Counter[Layer]:
    """X3D-S's layers in order, each with how often it is there; without the head and the SE units' own products."""
    model = Config.fromfile(ROOT / 'configs/autox3d/x3d_s.py').model.backbone
    with torch.device('meta'):
        backbone = MODELS.build(model).train()
        with Shapes() as shapes, torch.no_grad():
            backbone(torch.empty(1, *CLIP))
    return shapes.layers


# ------------------------------------------------------------------ measured here
def tensors(layer: Layer, batch: int, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """Input and weights (or mean, variance, weight and bias) in the layout that the network has."""
    x = torch.randn(batch, *layer.x, device=device).to(dtype, memory_format=torch.channels_last_3d)
    if layer.kind == 'BatchNorm':
        return x, *(torch.rand(layer.x[0], device=device) for _ in range(4))
    return x, torch.randn(layer.weight, device=device).to(dtype)


def runner(layer: Layer) -> Callable[..., Tensor]:
    """What the network runs for it, of such tensors."""
    if layer.kind == 'BatchNorm':

        def normalise(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            if batch_norm.fuses(x):
                by = batch_norm.statistics(x, (mean, var), momentum=0.1)
                return batch_norm.normalise(x, by, weight, bias, 1e-5, 'relu')
            return torch.relu(F.batch_norm(x, mean, var, weight, bias, True, 0.1, 1e-5))

        return normalise
    if layer.kind == 'depthwise':
        return lambda x, weight: depthwise_conv3d(x, weight, 0, None, layer.stride)
    padding = [k // 2 for k in layer.weight[2:]]
    return lambda x, weight: F.conv3d(x, weight, None, (1, layer.stride, layer.stride), padding)


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Least seconds of some repeats, as this thread's own time: what others do on the machine is not in it."""
    work()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def measured(layers: Counter[Layer], repeats: int) -> tuple[Peak, int, int, dict[Layer, float]]:
    """This machine's peaks, batch and itemsize, and seconds of each layer."""
    if torch.cuda.is_available():
        batch, dtype, device = 32, torch.bfloat16, 'cuda'

        def timed(work: Callable[..., object], make: Callable[[], tuple[Tensor, ...]], size: int) -> float:
            return seconds(work, [make() for _ in range(max(4, math.ceil(3 * L2 / size)))], repeats)
    else:
        torch.set_num_threads(1)
        batch, dtype, device = 1, torch.float32, 'cpu'

        def timed(work: Callable[..., object], make: Callable[[], tuple[Tensor, ...]], size: int) -> float:
            return fastest(functools.partial(work, *make()), repeats)

    with torch.no_grad():
        peak = machine_peak(timed, dtype, device)
        found = {
            layer: timed(
                runner(layer),
                lambda layer=layer: tensors(layer, batch, dtype, device),
                layer.bytes(batch, dtype.itemsize),
            )
            for layer in layers
        }
    return peak, batch, dtype.itemsize, found


def machine_peak(timed: Callable[..., float], dtype: torch.dtype, device: str) -> Peak:
    """What a copy and matrix products reach; on a CPU lanes and products are the same units."""
    numel = 2**28 if device == 'cuda' else 2**24
    size, side = numel * dtype.itemsize, 8192 if device == 'cuda' else 768
    copied = timed(lambda a, b: b.copy_(a), lambda: tuple(torch.ones(2, numel, dtype=dtype, device=device)), 2 * size)
    square = functools.partial(torch.randn, side, side, device=device)
    product = timed(torch.mm, lambda: (square().to(dtype), square().to(dtype)), 3 * side**2 * dtype.itemsize)
    macs = side**3 / product
    return Peak(2 * size / copied, FMA_A_SECOND if device == 'cuda' else macs, macs)


# ------------------------------------------------------------------ table and picture
def rows(
    layers: Counter[Layer], found: dict[Layer, float], peak: Peak | None, batch: int, itemsize: int
) -> Iterator[list]:
    """A row for each layer, and one for each kind."""
    for layer, number in layers.items():
        macs, size, bound = layer.macs(32), layer.bytes(32, 2), H200.bound(layer, 32, 2)
        by = 'memory' if bound == size / H200.bandwidth else 'lanes' if layer.lanes else 'tensor cores'
        row = [
            layer.name,
            number,
            f'{size / 1e6:.1f}',
            f'{macs / 1e6:.0f}',
            f'{macs / size:.1f}',
            f'{bound * 1e6:.1f}',
            by,
        ]
        if peak:
            own = peak.bound(layer, batch, itemsize)
            row += [f'{found[layer] * 1e3:.2f}', f'{own / found[layer]:.2f}']
        yield row
    for kind in COLOURS:
        chosen = {layer: number for layer, number in layers.items() if layer.kind == kind}
        bound = sum(number * H200.bound(layer, 32, 2) for layer, number in chosen.items())
        row = [f'all {kind}', sum(chosen.values()), '', '', '', f'{bound * 1e6:.0f}', '']
        if peak:
            own = sum(number * peak.bound(layer, batch, itemsize) for layer, number in chosen.items())
            taken = sum(number * found[layer] for layer, number in chosen.items())
            row += [f'{taken * 1e3:.1f}', f'{own / taken:.2f}']
        yield row


def draw(
    layers: Counter[Layer], found: dict[Layer, float], peak: Peak | None, batch: int, itemsize: int, where: str
) -> Figure:
    """Above the roofs of an H200 with the layers on them, below what share of its bound each reaches here."""
    figure = style.new_figure(6.4, 6.0 if peak else 3.6)
    upper = figure.add_subplot(2, 1, 1) if peak else figure.add_subplot()
    draw_roofs(upper)
    scatter(
        upper,
        layers,
        lambda layer: layer.macs(32) / H200.bound(layer, 32, 2),
        lambda layer: 8 + 3e5 * layers[layer] * H200.bound(layer, 32, 2),
    )
    upper.legend(loc='upper left')
    if peak:
        lower = figure.add_subplot(2, 1, 2, sharex=upper)
        scatter(lower, layers, lambda layer: peak.bound(layer, batch, itemsize) / found[layer], lambda layer: 22)
        lower.axhline(1, color=style.MUTED)
        lower.set(ylim=(0, 1.15), ylabel='share of its own bound', title=f'Forward pass, measured: {where}')
    figure.axes[-1].set_xlabel('multiply-adds a byte (of bf16)')
    return figure


def draw_roofs(axes: Axes) -> None:
    """Memory, fp32 lanes and tensor cores of an H200."""
    low, high = 2**-3, 2**10
    for roof, label in ((H200.lanes, 'fp32 lanes'), (H200.products, 'bf16 tensor cores (data sheet)')):
        knee = roof / H200.bandwidth
        axes.plot([low, knee, high], [H200.bandwidth * low, roof, roof], color=style.MUTED)
        axes.annotate(label, (high, roof), ha='right', va='bottom', color=style.INK, fontsize=8)
    axes.annotate('memory, 4.2 TB/s', (0.9, H200.bandwidth * 0.7), va='top', color=style.INK, fontsize=8)
    axes.set(xscale='log', yscale='log', ylabel='multiply-adds a second at best')
    axes.set_title('H200, bf16, batch 32, forward: analysis (area: time at best)')
    axes.set_yticks([1e12, 1e13, 1e14], ['1 T', '10 T', '100 T'])
    axes.set_xticks([4.0**n for n in range(-1, 6)], ['1/4', '1', '4', '16', '64', '256', '1024'])
    axes.minorticks_off()


def scatter(
    axes: Axes, layers: Counter[Layer], height: Callable[[Layer], float], area: Callable[[Layer], float]
) -> None:
    """A mark for each distinct layer, at its multiply-adds a byte."""
    for kind, colour in COLOURS.items():
        chosen = [layer for layer in layers if layer.kind == kind]
        x = [layer.macs(32) / layer.bytes(32, 2) for layer in chosen]
        y, size = [height(layer) for layer in chosen], [area(layer) for layer in chosen]
        axes.scatter(x, y, size, color=colour, marker=MARKS[kind], label=kind, alpha=0.75, linewidths=0)


def main() -> None:
    """The table, and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--analysis', action='store_true', help='time nothing')
    parser.add_argument(
        '--repeats', type=int, default=9, help='times each layer is timed; the fastest counts (default: 9)'
    )
    parser.add_argument('--picture', metavar='FILE', help='.svg or .png')
    add_json(parser)
    args = parser.parse_args()
    mmnas_video.register()
    init_default_scope('mmaction')
    layers = x3d_layers()
    peak, batch, itemsize, found = (None, 0, 0, {}) if args.analysis else measured(layers, args.repeats)
    header = ['layer', 'number', 'MB', 'MMACs', 'MACs/byte', 'bound µs on an H200', 'by']
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else 'one CPU core, fp32'
    if peak:
        header += [f'ms here, batch {batch}', 'share of the bound here']
    table = show('Roofline of X3D-S, forward, 13x160x160', header, list(rows(layers, found, peak, batch, itemsize)))
    if peak:
        print(
            f'\nhere: copy {peak.bandwidth / 1e9:.1f} GB/s, matrix product {peak.products / 1e9:.1f} GMAC/s ({where})'
        )
        table |= {'peak': peak._asdict()}
        if not torch.cuda.is_available():
            print('No GPU here: the CPU was measured, and the bounds of an H200 are analysis.')
    if args.picture:
        print(f'picture: {save_figure(draw(layers, found, peak, batch, itemsize, where), args.picture)}')
    write_json(args.out, table)


if __name__ == '__main__':
    main()
