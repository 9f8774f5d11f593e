"""Depthwise Conv3d with a channel window of a super-weight: an operator with forward, both gradients and their own.

The operators are registered with ``torch.library``, with shapes (fake) and gradients, so that ``torch.compile`` and
CUDA graphs go across them, and called without that registry where nothing looks on (:mod:`.doors`); on CPU tensors they
run PyTorch's own operators.

The window is an argument, not a slice: the kernels read the super-weight where it lies, and its gradient is written
once, whole, instead of through one cleared buffer and one copy for each ``narrow``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import depthwise_cpu as cpu
from . import depthwise_reference as plain
from .choose import DTYPES, HAS_TRITON, INTERPRETED, is_strict, use_triton
from .depthwise_plan import least_patch
from .doors import two_doors
from .fallback import either

KERNEL_EXTENTS = (1, 3, 5)
STRIDES = (1, 2)
MAX_LANES = 2**31 - 2**16  # counted in 32 bits, those of the last program that have nothing to do too
_NAME = 'mmnas_video::depthwise_conv3d'


def depthwise_conv3d(
    x: Tensor, weight: Tensor, start: int = 0, kernel: Sequence[int] | None = None, stride: int = 1
) -> Tensor:
    """``(B, C, T, H, W)`` to ``(B, C, T, H / stride, W / stride)``, rounded up: "same" padding.

    By our kernels where :func:`takes` says so, on a CPU by what is fast there (:mod:`.depthwise_cpu`), by ``F.conv3d``
    on the window elsewhere. Ours sum in fp32, give ``channels_last_3d`` (best for x, too) and, under autocast, round to
    the dtype that ``F.conv3d`` would cast to, but give the weight's gradient in its own dtype, straight from the sums.

    Args:
        weight: super-weight (C', 1, T', H', W'), odd extents, of which C = x.shape[1] channels from ``start`` are
            used, going round at the end.
        kernel: (t, h, w) of its centre that is used; None for all.
        stride: spatial.
    """
    kernel = tuple(weight.shape[2:] if kernel is None else kernel)
    if not takes(x, weight, start, kernel, stride):
        if cpu.takes(x, weight, kernel) and _window_fits(x, weight, start, kernel):
            return convolve(x, weight, start, kernel, stride)
        return plain.reference(x, weight, start, kernel, stride)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    return convolve(x, weight, start, kernel, stride)


def takes(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> bool:
    """Whether our kernels are to run: device, dtype, size and the switch (:mod:`.choose`), a kernel (t, h, w) of 1, 3
    or 5 taps each way, spatial stride 1 or 2. What does not fit together is left to PyTorch's own error.
    """
    return (
        x.dim() == 5
        and use_triton(x, 'depthwise')
        and all(k in KERNEL_EXTENTS for k in kernel)
        and _window_fits(x, weight, start, kernel)
        and stride in STRIDES
        and _most_lanes(x) < MAX_LANES
        and (weight.dtype == x.dtype or torch.is_autocast_enabled(x.device.type))
        and weight.device == x.device
    )


def _window_fits(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int]) -> bool:
    """Whether the window lies within the super-weight: beyond it the kernels would read what is not theirs."""
    return (
        weight.dim() == 5
        and weight.shape[1] == 1
        and 0 <= start < weight.shape[0] >= x.shape[1]  # it may go round the end, once
        and len(kernel) == 3
        and all(size <= extent for size, extent in zip(kernel, weight.shape[2:], strict=True))
    )


def _most_lanes(x: Tensor) -> int:
    batch, channels, _, height, width = x.shape
    rows, columns = least_patch()
    return batch * channels * -(-height // rows) * -(-width // columns)


def _run(x: Tensor, piece: str, theirs: Callable[..., Tensor], *args: object) -> Tensor:
    """By the kernels where they run, else by ``theirs``, both called with ``args``."""
    if not (HAS_TRITON and x.dtype in DTYPES and (x.is_cuda or INTERPRETED) and x.numel()):
        return theirs(*args)
    return either('depthwise', getattr(_launchers(), piece), theirs, args, is_strict)


@functools.cache
def _launchers() -> Any:
    from . import depthwise_launch  # needs Triton

    return depthwise_launch


def _forward(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    return _run(x, 'convolve', _plain_forward, x, weight, start, kernel, stride)


def _plain_forward(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    if cpu.takes(x, weight, kernel):
        return cpu.convolve(x, weight, start, kernel, stride)
    return _in_layout(plain.reference(x, weight.to(x.dtype), start, kernel, stride))


def _input_gradient(
    dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int, size: Sequence[int]
) -> Tensor:
    return _run(dy, 'input_gradient', _plain_input_gradient, dy, weight, start, kernel, stride, size)


def _plain_input_gradient(
    dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int, size: Sequence[int]
) -> Tensor:
    if cpu.takes(dy, weight, kernel):
        return cpu.input_gradient(dy, weight, start, kernel, stride, size)
    return _in_layout(plain.reference_input_gradient(dy, weight.to(dy.dtype), start, kernel, stride, size))


def _weight_gradient(x: Tensor, dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    return _run(x, 'weight_gradient', _plain_weight_gradient, x, dy, weight, start, kernel, stride)


def _plain_weight_gradient(
    x: Tensor, dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int
) -> Tensor:
    piece = cpu.weight_gradient if cpu.takes(x, weight, kernel) else plain.reference_weight_gradient
    return piece(x, dy, weight, start, kernel, stride)


def _in_layout(y: Tensor) -> Tensor:
    return y.contiguous(memory_format=torch.channels_last_3d)


def _empty(x: Tensor, size: Sequence[int]) -> Tensor:
    shape = (*x.shape[:3], *size)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)


forward_op = torch.library.custom_op(_NAME, _forward, mutates_args=())
input_gradient_op = torch.library.custom_op(f'{_NAME}_input_gradient', _input_gradient, mutates_args=())
weight_gradient_op = torch.library.custom_op(f'{_NAME}_weight_gradient', _weight_gradient, mutates_args=())


@forward_op.register_fake
def _(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    return _empty(x, [-(-n // stride) for n in x.shape[3:]])


@input_gradient_op.register_fake
def _(dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int, size: Sequence[int]) -> Tensor:
    return _empty(dy, size)


@weight_gradient_op.register_fake
def _(x: Tensor, dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    return torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)


def _keep(ctx, inputs, output) -> None:
    first, second, *ctx.rest = inputs
    ctx.save_for_backward(first, second)


def _backward(ctx, dy: Tensor):
    x, weight = ctx.saved_tensors
    dx = dw = None
    if ctx.needs_input_grad[0]:
        dx = input_gradient(dy, weight, *ctx.rest, x.shape[3:])
    if ctx.needs_input_grad[1]:
        dw = weight_gradient(x, dy, weight, *ctx.rest)
    return dx, dw, None, None, None


def _input_gradient_backward(ctx, g: Tensor):
    """The convolution is linear in each of its two factors, so gradients of gradients are the same three operators."""
    dy, weight = ctx.saved_tensors
    d_dy = d_weight = None
    if ctx.needs_input_grad[0]:
        d_dy = convolve(g, weight, *ctx.rest[:3])
    if ctx.needs_input_grad[1]:
        d_weight = weight_gradient(g, dy, weight, *ctx.rest[:3])
    return d_dy, d_weight, None, None, None, None


def _weight_gradient_backward(ctx, g: Tensor):
    x, dy = ctx.saved_tensors
    _, *rest = ctx.rest
    dx = d_dy = None
    if ctx.needs_input_grad[0]:
        dx = input_gradient(dy, g, *rest, x.shape[3:])
    if ctx.needs_input_grad[1]:
        d_dy = convolve(x, g, *rest)
    return dx, d_dy, None, None, None, None


convolve = two_doors(forward_op, _forward, _keep, _backward)
input_gradient = two_doors(input_gradient_op, _input_gradient, _keep, _input_gradient_backward)
weight_gradient = two_doors(weight_gradient_op, _weight_gradient, _keep, _weight_gradient_backward)
