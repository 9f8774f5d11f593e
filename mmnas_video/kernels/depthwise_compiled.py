"""The depthwise kernels compiled for a GPU that is not there, as :mod:`.depthwise_launch` would launch them."""

from __future__ import annotations

from . import depthwise_launch as launch
from . import depthwise_plan as plans
from .compiled import Resources, resources
from .depthwise_gradient import weight_gradient_kernel
from .depthwise_plan import Work
from .depthwise_slide import slide_kernel
from .depthwise_tiles import SIZES

_INTEGERS = dict.fromkeys(SIZES, 'i32')


def slide_resources(work: Work, dtype: str = 'bf16', flip: bool = False) -> Resources:
    """Of the forward pass or (``flip``) the input gradient, as a pinned network's."""
    types = {'x_ptr': f'*{dtype}', 'w_ptr': '*fp32', 'y_ptr': f'*{dtype}', **_INTEGERS}
    constants = launch.slide_constants(work, plans.plan_slide(work), work.shape, flip)
    return resources(slide_kernel, types, constants, plans.WARPS)


def gradient_resources(work: Work, dtype: str = 'bf16') -> Resources:
    """Of the weight gradient's first pass."""
    types = {'x_ptr': f'*{dtype}', 'dy_ptr': f'*{dtype}', 'partial_ptr': '*fp32', **_INTEGERS}
    constants = launch.gradient_constants(work, plans.plan_gradient(work), work.shape)
    return resources(weight_gradient_kernel, types, constants, plans.GRADIENT_WARPS)
