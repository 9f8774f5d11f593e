"""Launching the depthwise kernels on tensors: layout, packing of the weights, grids. Imports Triton."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import depthwise_plan as plans
from .depthwise_gradient import weight_gradient_kernel
from .depthwise_plan import GradientPlan, SlidePlan, Work
from .depthwise_slide import slide_kernel
from .depthwise_weights import pack_weight_kernel, reduce_weight_gradient_kernel
from .fallback import device_of, launch

LAYOUT = torch.channels_last_3d
PACK_BLOCK = 256
REDUCE_BLOCK, REDUCE_PARTIALS = 32, 64  # elements and partial sums at once in a program of the reduction

_baked: set[tuple[int, ...]] = set()


def convolve(x: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    """See :func:`~.depthwise_reference.reference`; the result is ``channels_last_3d``."""
    x = x.contiguous(memory_format=LAYOUT)
    outer = _coarse(x.shape[3:], stride)
    y = torch.empty((*x.shape[:3], *outer), dtype=x.dtype, device=x.device, memory_format=LAYOUT)
    work = _work(x, tuple(x.shape[3:]), outer, kernel, stride)
    _slide(x, weight, start, y, work, flip=False)
    return y


def input_gradient(
    dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int, size: Sequence[int]
) -> Tensor:
    """See :func:`~.depthwise_reference.reference_input_gradient`."""
    dy = dy.contiguous(memory_format=LAYOUT)
    dx = torch.empty((*dy.shape[:3], *size), dtype=dy.dtype, device=dy.device, memory_format=LAYOUT)
    # Of stride 1 it is a convolution with the taps reversed. Of stride 2 the taps stay as they are in space, because
    # the kernel looks up for each of them which output it came from, and time, of stride 1, is reversed alone.
    work = _work(dy, tuple(dy.shape[3:]), tuple(size), kernel, 1, up=stride)
    _slide(dy, weight, start, dx, work, flip=True)
    return dx


def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor, start: int, kernel: Sequence[int], stride: int) -> Tensor:
    """See :func:`~.depthwise_reference.reference_weight_gradient`; ``weight`` gives shape and dtype only."""
    x, dy = x.contiguous(memory_format=LAYOUT), dy.contiguous(memory_format=LAYOUT)
    work = _work(x, tuple(x.shape[3:]), tuple(dy.shape[3:]), kernel, stride)
    plan = plans.plan_gradient(work)
    partial = torch.empty((plan.partials, work.taps, work.channels), dtype=torch.float32, device=x.device)
    grad = torch.empty(weight.shape, dtype=weight.dtype, device=x.device)
    with device_of(x):
        launch(
            weight_gradient_kernel,
            plan.grid,
            x,
            dy,
            partial,
            *_sizes(work),
            plan.chunk,
            plan.strip_programs,
            **gradient_constants(work, plan, _baked_shape(work, weight)),
            num_warps=plans.GRADIENT_WARPS,
            num_stages=1,
        )
        launch(
            reduce_weight_gradient_kernel,
            (-(-weight.numel() // REDUCE_BLOCK),),
            partial,
            grad,
            plan.partials,
            start,
            weight.shape[0],
            work.channels,
            **_extents(work, weight),
            BLOCK=REDUCE_BLOCK,
            BLOCK_P=REDUCE_PARTIALS,
        )
    return grad


def _slide(x: Tensor, weight: Tensor, start: int, y: Tensor, work: Work, flip: bool) -> None:
    plan = plans.plan_slide(work)
    with device_of(x):
        launch(
            slide_kernel,
            plan.grid,
            x,
            _pack(weight, start, work, x),
            y,
            *_sizes(work),
            plan.chunk,
            **slide_constants(work, plan, _baked_shape(work, weight), flip),
            num_warps=plans.WARPS,
            num_stages=1,
        )


def slide_constants(work: Work, plan: SlidePlan, shape: tuple[int, ...] | None, flip: bool) -> dict[str, object]:
    """What is compiled into the sliding kernel."""
    kt, kh, kw = work.kernel
    ph, pw = plan.patch
    return {
        **{'SHAPE': shape, 'KT': kt, 'KH': kh, 'KW': kw, 'STRIDE': work.stride, 'UP': work.up, 'FLIP': flip},
        **{'PH': ph, 'PW': pw, 'UNITS': plan.units, 'VEC': work.vec, 'HOLD_TAPS': plan.hold_taps},
    }


def gradient_constants(work: Work, plan: GradientPlan, shape: tuple[int, ...] | None) -> dict[str, object]:
    """What is compiled into the weight gradient."""
    kt, kh, kw = work.kernel
    ph, pw = plan.patch
    return {
        **{'SHAPE': shape, 'KT': kt, 'KH': kh, 'KW': kw, 'STRIDE': work.stride, 'KG': plan.group},
        **{'PH': ph, 'PW': pw, 'STRIPS': plans.GRADIENT_STRIPS, 'BLOCK_C': plans.GRADIENT_CHANNELS, 'VEC': work.vec},
    }


def _pack(weight: Tensor, start: int, work: Work, like: Tensor) -> Tensor:
    packed = torch.empty((work.taps, work.channels), dtype=torch.float32, device=weight.device)
    step_c, _, step_t, step_h, step_w = weight.stride()
    launch(
        pack_weight_kernel,
        (-(-packed.numel() // PACK_BLOCK),),
        weight,
        packed,
        like,
        start,
        weight.shape[0],
        work.channels,
        step_c,
        step_t,
        step_h,
        step_w,
        **_extents(work, weight),
        BLOCK=PACK_BLOCK,
    )
    return packed


def _coarse(size: Sequence[int], stride: int) -> tuple[int, int]:
    h, w = (-(-n // stride) for n in size)
    return h, w


def _work(
    x: Tensor, inner: tuple[int, int], outer: tuple[int, int], kernel: Sequence[int], stride: int, up: int = 1
) -> Work:
    return Work(*x.shape[:3], inner, outer, tuple(kernel), stride, up)


def _sizes(work: Work) -> tuple[int, ...]:
    return (work.batch, work.frames, work.channels // work.vec, *work.inner, *work.outer)


def _extents(work: Work, weight: Tensor) -> dict[str, int]:
    return dict(
        zip(('KT', 'KH', 'KW', 'SUPER_T', 'SUPER_H', 'SUPER_W'), (*work.kernel, *weight.shape[2:]), strict=True)
    )


def _baked_shape(work: Work, weight: Tensor) -> tuple[int, ...] | None:
    """The shape to compile in, or None: baked for a layer that uses its whole weight, as pinned networks do.

    A supernet's many widths and kernels take the code for any shape, and so does what comes after the first few dozen
    shapes: the number of compiled kernels has a bound.
    """
    shape = work.shape
    whole = (work.channels, *work.kernel) == (weight.shape[0], *weight.shape[2:])
    if not whole or (shape not in _baked and len(_baked) >= plans.BAKED_SHAPES):
        return None
    _baked.add(shape)
    return shape
