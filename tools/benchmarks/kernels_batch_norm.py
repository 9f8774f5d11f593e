"""BatchNorm with ReLU or swish, in training, at X3D-S's shapes: rows for kernels.py."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmnas_video.kernels import batch_norm

# C, T, H = W: after the expanding and the depthwise convolutions of the stages, 13 x 160 x 160.
SHAPES = ((54, 13, 80), (54, 13, 40), (108, 13, 20), (216, 13, 10), (432, 13, 5))
ACTIVATIONS = {'relu': torch.relu, 'swish': F.silu}
#: Times that a tensor of x's size is read or written, at least: x twice and y; and dy twice, x twice and dx.
PASSES = {'forward': 3, 'forward and backward': 8}
# One function is compiled for each of them, and not for any shape from the third on, nor run uncompiled from the ninth.
torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, len(SHAPES) * len(ACTIVATIONS))
# Our kernel of each pass that the others resemble, with --compiled.
KERNELS = {'forward': 'apply', 'forward and backward': 'sums'}


def batch_norm_cases(batch: int) -> Iterator[tuple[Any, ...]]:
    """The fields of a ``Case``, twice for each: against PyTorch as it is and against ``torch.compile`` of it."""
    for channels, frames, size in SHAPES:
        elements = batch * channels * frames * size**2
        for activation in ACTIVATIONS:
            for each, passes in PASSES.items():
                for rival in ('PyTorch', 'torch.compile'):
                    yield (
                        f'BN + {activation} {channels}x{frames}x{size}², {each}, against {rival}',
                        lambda itemsize, moved=passes * elements: moved * itemsize,
                        0,
                        '',
                        _maker((batch, channels, frames, size, size)),
                        _runner(_ours(activation), each),
                        _runner(_theirs(activation, rival == 'torch.compile'), each),
                        _contiguous,
                        _compiled(KERNELS[each], elements // channels, channels, activation),
                    )


def _maker(shape: tuple[int, ...]):
    def make(dtype: torch.dtype) -> tuple[Tensor, ...]:
        def clip() -> Tensor:
            return torch.randn(shape, device='cuda').to(dtype, memory_format=torch.channels_last_3d)

        small = [torch.rand(shape[1], device='cuda') for _ in range(4)]
        return clip().requires_grad_(), clip(), *(v.requires_grad_() for v in small[:2]), *small[2:]

    return make


def _runner(forward, each: str):
    def run(x: Tensor, dy: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> object:
        y = forward(x, weight, bias, mean, var)
        return y if each == 'forward' else torch.autograd.grad(y, (x, weight, bias), dy)

    return run


def _ours(activation: str):
    def forward(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        by = batch_norm.statistics(x, (mean, var), momentum=0.1)
        return batch_norm.normalise(x, by, weight, bias, 1e-5, activation)

    return forward


def _theirs(activation: str, compiled: bool):
    def forward(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return ACTIVATIONS[activation](F.batch_norm(x, mean, var, weight, bias, True, 0.1, 1e-5))

    return torch.compile(forward, dynamic=False) if compiled else forward


def _contiguous(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().contiguous().requires_grad_(tensor.requires_grad) for tensor in tensors)


def _compiled(kernel: str, rows: int, channels: int, activation: str):
    def found(dtype: str) -> Any:
        from mmnas_video.kernels.batch_norm_compiled import kernel_resources

        return kernel_resources(kernel, rows, channels, dtype, activation)

    return found
