"""Mean and variance of each channel, in one pass over the input: Triton kernels.

Each program goes over some rows with Welford's update, in every one of its lanes; what the lanes, and then the
programs, have found is merged by the formula of Chan, Golub and LeVeque (1979). Nothing subtracts two large numbers,
the order of all sums is fixed, and there are no atomics. All values are taken relative to the input's first row: where
the mean is large against the deviation, float32 then still holds the mean's last digits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .batch_norm_device import SIZES, UNALIGNED, locate


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)
def moments_kernel(
    x_ptr,
    mean_ptr,
    m2_ptr,
    rows,
    per,
    blocks,
    units,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Each program's mean, less the first row, and Σ (x - mean)²: (groups * blocks, C) both."""
    channels = units * ALIGN
    _, base, count, columns, inside = locate(rows, per, blocks, channels, BLOCK_C)
    pivot = tl.load(x_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    x_ptr += base
    lanes = tl.arange(0, BLOCK_M)
    mean = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    m2 = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    steps = 0.0
    for done in range(0, count, BLOCK_M):
        steps += 1.0
        row = done + lanes
        mask = (row < count)[:, None] & inside[None, :]
        x = tl.load(x_ptr + row[:, None] * channels + columns[None, :], mask=mask, other=0.0).to(tl.float32)
        x -= pivot[None, :]
        delta = tl.where(mask, x - mean, 0.0)  # a lane without a row, in the last step, stays as it is
        mean += delta * (1.0 / steps)
        m2 += delta * (x - mean)
    held = tl.maximum((count - lanes + BLOCK_M - 1) // BLOCK_M, 0).to(tl.float32)[:, None]  # rows of each lane
    both = tl.sum(mean * (held / count), 0)
    m2 = tl.sum(m2 + held * (mean - both[None, :]) * (mean - both[None, :]), 0)
    place = tl.program_id(0) * channels + columns
    tl.store(mean_ptr + place, both, mask=inside)
    tl.store(m2_ptr + place, m2, mask=inside)


@triton.jit
def _held(block, rows, per, blocks):
    """How many rows each block has, (P, 1), float32: none beyond the last, where ``block * per`` may pass 32 bits."""
    held = tl.minimum(tl.maximum(rows - block * per, 0), per)
    return tl.where(block < blocks, held, 0).to(tl.float32)[:, None]


@triton.jit
def _merged(mean_ptr, m2_ptr, rows, per, blocks, channels, columns, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Mean and Σ (x - mean)² of the ``rows`` that ``blocks`` rows of partial results are of, ``per`` each."""
    lanes = tl.arange(0, BLOCK_P)
    inside = columns < channels
    mean = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for done in range(0, blocks, BLOCK_P):
        block = done + lanes
        held = _held(block, rows, per, blocks)
        mask = (block < blocks)[:, None] & inside[None, :]
        part = tl.load(mean_ptr + block[:, None] * channels + columns[None, :], mask=mask, other=0.0)
        mean += part * (held / rows)
    mean = tl.sum(mean, 0)
    m2 = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for done in range(0, blocks, BLOCK_P):
        block = done + lanes
        held = _held(block, rows, per, blocks)
        mask = (block < blocks)[:, None] & inside[None, :]
        place = block[:, None] * channels + columns[None, :]
        part = tl.load(mean_ptr + place, mask=mask, other=0.0) - mean[None, :]
        m2 += tl.load(m2_ptr + place, mask=mask, other=0.0) + held * part * part
    return mean, tl.sum(m2, 0)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)
def merge_samples_kernel(
    x_ptr,
    mean_ptr,
    m2_ptr,
    sample_ptr,
    sample_mean_ptr,
    sample_m2_ptr,
    rows,
    per,
    blocks,
    units,
    ALIGN: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The partial results of each sample to one: (B, C), the mean with and without the first row."""
    channels = units * ALIGN
    sample = tl.program_id(0).to(tl.int64)  # of the grid's axes the first alone takes more than 65,535
    columns = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = columns < channels
    offset = sample * blocks * channels
    mean, m2 = _merged(mean_ptr + offset, m2_ptr + offset, rows, per, blocks, channels, columns, BLOCK_P, BLOCK_C)
    place = sample * channels + columns
    tl.store(sample_mean_ptr + place, mean, mask=inside)
    tl.store(sample_m2_ptr + place, m2, mask=inside)
    pivot = tl.load(x_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(sample_ptr + place, mean + pivot, mask=inside)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=UNALIGNED)
def merge_kernel(
    x_ptr,
    mean_ptr,
    m2_ptr,
    out_mean_ptr,
    out_var_ptr,
    running_mean_ptr,
    running_var_ptr,
    momentum,
    rows,
    per,
    blocks,
    units,
    start,
    total,
    ALIGN: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """All partial results to mean and biased variance (C,); the running ones of a window of channels move along."""
    channels = units * ALIGN
    columns = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = columns < channels
    mean, m2 = _merged(mean_ptr, m2_ptr, rows, per, blocks, channels, columns, BLOCK_P, BLOCK_C)
    mean += tl.load(x_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_mean_ptr + columns, mean, mask=inside)
    tl.store(out_var_ptr + columns, m2 / rows, mask=inside)
    if running_mean_ptr is not None:
        place = (start + columns) % total  # a window goes round the end
        before = tl.load(running_mean_ptr + place, mask=inside, other=0.0).to(tl.float32)
        tl.store(running_mean_ptr + place, momentum * mean + (1.0 - momentum) * before, mask=inside)
        before = tl.load(running_var_ptr + place, mask=inside, other=0.0).to(tl.float32)
        tl.store(running_var_ptr + place, momentum * (m2 / (rows - 1)) + (1.0 - momentum) * before, mask=inside)
