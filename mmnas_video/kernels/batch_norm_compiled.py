"""BatchNorm's kernels compiled for a GPU that is not there, as :mod:`.batch_norm_launch` would launch them."""

from __future__ import annotations

from typing import Any

from .batch_norm_apply import apply_kernel
from .batch_norm_backward import input_kernel, sums_kernel
from .batch_norm_statistics import merge_kernel, moments_kernel
from .batch_norm_tiles import lay_tiles
from .compiled import Resources, resources

_KERNELS = {
    'moments': moments_kernel,
    'merge': merge_kernel,
    'apply': apply_kernel,
    'sums': sums_kernel,
    'input': input_kernel,
}
_CLIPS = ('x_ptr', 'y_ptr', 'grad_ptr', 'dx_ptr')
#: What is not there: no gate, no residual.
_NONE = dict.fromkeys(('gate_ptr', 'extra_ptr', 'residual_ptr', 'inner_ptr'))


def kernel_resources(
    name: str,
    rows: int,
    channels: int,
    dtype: str = 'bf16',
    activation: str = 'swish',
) -> Resources:
    """Of one kernel for a tensor of ``rows`` positions and ``channels``.

    Args:
        name: ``'moments'``, ``'merge'``, ``'apply'``, ``'sums'`` or ``'input'``.
    """
    kernel, tiles = _KERNELS[name], lay_tiles(1, rows, channels)
    arguments: dict[str, Any] = dict(tiles.merging.arguments if name == 'merge' else tiles.arguments)
    warps = arguments.pop('num_warps', 4)
    constants = {key: value for key, value in arguments.items() if key.isupper()} | {'ACTIVATION': activation, **_NONE}
    types = dict.fromkeys(kernel.arg_names, 'i32') | {'eps': 'fp32', 'momentum': 'fp32'}
    types |= {key: f'*{dtype}' if key in _CLIPS else '*fp32' for key in kernel.arg_names if key.endswith('_ptr')}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    return resources(kernel, types, constants, warps)
