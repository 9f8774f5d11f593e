"""Normalise, scale, gate, add a residual and activate in one pass: Triton kernel."""

from __future__ import annotations

import triton
import triton.language as tl

from .batch_norm_device import SIZES, UNALIGNED, activate, affine, gates, locate


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)
def apply_kernel(
    x_ptr,
    mean_ptr,
    var_ptr,
    weight_ptr,
    bias_ptr,
    residual_ptr,
    gate_ptr,
    y_ptr,
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
    """y = act((w * (x - mean) / sqrt(var + eps) + b) * gate + residual)."""
    channels = units * ALIGN
    group, base, count, columns, inside = locate(rows, per, blocks, channels, BLOCK_C)
    mean, scale, weight, bias = affine(mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, columns, inside)
    gate = gates(gate_ptr, group, channels, columns, inside)
    weight, bias = (weight * gate)[None, :], (bias * gate)[None, :]
    x_ptr += base
    y_ptr += base
    if residual_ptr is not None:
        residual_ptr += base
    lanes = tl.arange(0, BLOCK_M)
    for done in range(0, count, BLOCK_M):
        row = done + lanes
        mask = (row < count)[:, None] & inside[None, :]
        at = row[:, None] * channels + columns[None, :]
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
        v = (x - mean[None, :]) * scale[None, :] * weight + bias
        if residual_ptr is not None:
            v += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
        tl.store(y_ptr + at, activate(v, ACTIVATION), mask=mask)
