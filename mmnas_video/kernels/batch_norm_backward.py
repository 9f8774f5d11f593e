"""Gradients of BatchNorm with what follows it: Triton kernels.

Nothing but the input, mean and variance has been kept: both kernels compute the normalised value, and what the
activation was applied to, again. With z = w x̂ + b, v = z g + r and y = act(v), the first gives Σ dv and Σ dv x̂, of
which the gradients of w, b and g are made; the second gives dx = w / σ (dz - mean(dz) - x̂ mean(dz x̂)) with
dz = g dv + e, where means are over all values that the statistics are of (none in eval mode) and e is what reaches z
on other ways.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .batch_norm_device import SIZES, UNALIGNED, affine, deactivate, gates, locate


@triton.jit
def inner_and_normal(
    grad_ptr, x_ptr, residual_ptr, at, mask, mean, scale, weight, bias, ACTIVATION: tl.constexpr
):  # fmt: skip
    """dv and x̂ of a block of rows, both 0 where there is no row but x̂."""
    normal = (tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32) - mean[None, :]) * scale[None, :]
    inner = tl.load(grad_ptr + at, mask=mask, other=0.0).to(tl.float32)
    if ACTIVATION != 'none':
        v = normal * weight + bias
        if residual_ptr is not None:
            v += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
        inner = deactivate(inner, v, ACTIVATION)
    return inner, normal


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)
def sums_kernel(
    grad_ptr,
    x_ptr,
    mean_ptr,
    var_ptr,
    weight_ptr,
    bias_ptr,
    residual_ptr,
    gate_ptr,
    inner_ptr,
    plain_ptr,
    by_normal_ptr,
    eps,
    rows,
    per,
    blocks,
    units,
    ACTIVATION: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Each program's Σ dv and Σ dv x̂, (groups * blocks, C) both; and dv itself where ``inner_ptr`` is given."""
    channels = units * ALIGN
    group, base, count, columns, inside = locate(rows, per, blocks, channels, BLOCK_C)
    mean, scale, weight, bias = affine(mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, columns, inside)
    gate = gates(gate_ptr, group, channels, columns, inside)
    weight, bias = (weight * gate)[None, :], (bias * gate)[None, :]
    grad_ptr += base
    x_ptr += base
    if residual_ptr is not None:
        residual_ptr += base
    if inner_ptr is not None:
        inner_ptr += base
    plain = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    by_normal = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    lanes = tl.arange(0, BLOCK_M)
    for done in range(0, count, BLOCK_M):
        row = done + lanes
        mask = (row < count)[:, None] & inside[None, :]
        at = row[:, None] * channels + columns[None, :]
        inner, normal = inner_and_normal(grad_ptr, x_ptr, residual_ptr, at, mask, mean, scale, weight, bias, ACTIVATION)
        if inner_ptr is not None:
            tl.store(inner_ptr + at, inner, mask=mask)
        plain += inner  # 0 where there is no row
        by_normal += inner * normal
    place = tl.program_id(0) * channels + columns
    tl.store(plain_ptr + place, tl.sum(plain, 0), mask=inside)
    tl.store(by_normal_ptr + place, tl.sum(by_normal, 0), mask=inside)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)
def input_kernel(
    grad_ptr,
    x_ptr,
    mean_ptr,
    var_ptr,
    weight_ptr,
    bias_ptr,
    gate_ptr,
    extra_ptr,
    plain_ptr,
    by_normal_ptr,
    dx_ptr,
    eps,
    rows,
    per,
    blocks,
    units,
    ACTIVATION: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """dx, from the gradient of y and the means of dz and dz x̂ (C,); None for those in eval mode."""
    channels = units * ALIGN
    group, base, count, columns, inside = locate(rows, per, blocks, channels, BLOCK_C)
    mean, scale, weight, bias = affine(mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, columns, inside)
    gate = gates(gate_ptr, group, channels, columns, inside)
    # w / σ (gate dv + extra - plain - x̂ by_normal): what is the same in all rows is computed once.
    slope = scale * weight
    constant = tl.full(columns.shape, 0.0, tl.float32)
    by_normal = tl.full(columns.shape, 0.0, tl.float32)
    if extra_ptr is not None:
        constant += tl.load(extra_ptr + group * channels + columns, mask=inside, other=0.0)
    if plain_ptr is not None:
        constant -= tl.load(plain_ptr + columns, mask=inside, other=0.0)
        by_normal += tl.load(by_normal_ptr + columns, mask=inside, other=0.0)
    constant, by_normal = (constant * slope)[None, :], (by_normal * slope)[None, :]
    slope, weight, bias = (slope * gate)[None, :], (weight * gate)[None, :], (bias * gate)[None, :]
    grad_ptr += base
    x_ptr += base
    dx_ptr += base
    lanes = tl.arange(0, BLOCK_M)
    for done in range(0, count, BLOCK_M):
        row = done + lanes
        mask = (row < count)[:, None] & inside[None, :]
        at = row[:, None] * channels + columns[None, :]
        inner, normal = inner_and_normal(grad_ptr, x_ptr, None, at, mask, mean, scale, weight, bias, ACTIVATION)
        tl.store(dx_ptr + at, inner * slope + constant - normal * by_normal, mask=mask)
