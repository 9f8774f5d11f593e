"""BatchNorm's kernels compiled for a GPU that is not there, as :mod:`.batch_norm_launch` would launch them."""

from __future__ import annotations

from typing import Any

from .batch_norm_apply import apply_kernel
from .batch_norm_backward import input_kernel, sums_kernel
from .batch_norm_statistics import merge_kernel, merge_samples_kernel, moments_kernel
from .batch_norm_tiles import lay_tiles
from .compiled import Resources, resources

_KERNELS = {
    'moments': moments_kernel,
    'merge samples': merge_samples_kernel,
    'merge': merge_kernel,
    'apply': apply_kernel,
    'sums': sums_kernel,
    'input': input_kernel,
}
_CLIPS = ('x_ptr', 'y_ptr', 'grad_ptr', 'dx_ptr', 'inner_ptr', 'residual_ptr')


def kernel_resources(
    name: str,
    rows: int,
    channels: int,
    dtype: str = 'bf16',
    activation: str = 'swish',
    residual: bool = False,
    gate: bool = False,
) -> Resources:
    """Of one kernel for a tensor of ``rows`` positions (with a gate: in each of 32 clips) and ``channels``.

    Args:
        name: ``'moments'``, ``'merge samples'``, ``'merge'``, ``'apply'``, ``'sums'`` or ``'input'``.
    """
    kernel, tiles = _KERNELS[name], lay_tiles(32 if gate else 1, rows, channels)
    arguments: dict[str, Any] = dict(tiles.merging if name.startswith('merge') else tiles.arguments)
    warps = arguments.pop('num_warps', 4)
    constants = {key: value for key, value in arguments.items() if key.isupper()} | {'ACTIVATION': activation}
    if not gate:
        constants |= {'gate_ptr': None, 'extra_ptr': None}
    if not residual:
        constants |= {'residual_ptr': None, 'inner_ptr': None}
    types = dict.fromkeys(kernel.arg_names, 'i32') | {'eps': 'fp32', 'momentum': 'fp32'}
    types |= {key: f'*{dtype}' if key in _CLIPS else '*fp32' for key in kernel.arg_names if key.endswith('_ptr')}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    return resources(kernel, types, constants, warps)
