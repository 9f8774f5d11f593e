"""What BatchNorm's Triton kernels have in common: a program's place, a channel's parameters, the activations."""

from __future__ import annotations

import triton
import triton.language as tl

#: Arguments that differ from layer to layer: no compilation of their own for values that happen to be 1 or even.
SIZES = ['rows', 'per', 'blocks', 'units', 'start', 'total']
#: Small tensors, which may be windows that start anywhere.
UNALIGNED = [
    f'{name}_ptr'
    for name in ('mean', 'var', 'weight', 'bias', 'gate', 'extra', 'plain', 'by_normal', 'm2', 'sample_mean')
] + ['sample_m2_ptr', 'sample_ptr', 'out_mean_ptr', 'out_var_ptr', 'running_mean_ptr', 'running_var_ptr']


@triton.jit
def locate(rows, per, blocks, channels, BLOCK_C: tl.constexpr):
    """This program's group, first element (both 64 bit), number of rows, channels, and which of these exist."""
    program = tl.program_id(0).to(tl.int64)
    group = program // blocks
    first = (program % blocks) * per
    count = tl.minimum(rows - first, per).to(tl.int32)
    columns = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    return group, (group * rows + first) * channels, count, columns, columns < channels


@triton.jit
def affine(mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, columns, inside):
    """Of some channels mean, inverse deviation, weight and bias, float32."""
    mean = tl.load(mean_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.load(var_ptr + columns, mask=inside, other=1.0).to(tl.float32) + eps)
    weight = tl.full(columns.shape, 1.0, tl.float32)
    if weight_ptr is not None:
        weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    bias = tl.full(columns.shape, 0.0, tl.float32)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    return mean, scale, weight, bias


@triton.jit
def gates(gate_ptr, group, channels, columns, inside):
    """The gates of one sample, 1 where there are none."""
    gate = tl.full(columns.shape, 1.0, tl.float32)
    if gate_ptr is not None:
        gate = tl.load(gate_ptr + group * channels + columns, mask=inside, other=0.0).to(tl.float32)
    return gate


@triton.jit
def activate(v, ACTIVATION: tl.constexpr):
    """The activation of ``v``."""
    if ACTIVATION == 'relu':
        y = tl.where(v <= 0.0, 0.0, v)  # not maximum(): a NaN stays one
    elif ACTIVATION == 'swish':
        y = v * tl.sigmoid(v)
    else:
        y = v
    return y


@triton.jit
def deactivate(grad, v, ACTIVATION: tl.constexpr):
    """The gradient of ``v`` from that of its activation."""
    if ACTIVATION == 'relu':
        inner = tl.where(v <= 0.0, 0.0, grad)
    elif ACTIVATION == 'swish':
        share = tl.sigmoid(v)
        inner = grad * share * (1.0 + v * (1.0 - share))
    else:
        inner = grad
    return inner
