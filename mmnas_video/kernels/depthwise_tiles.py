"""Tiles of activations in registers: which input a tap meets, loads and stores at the edge of the map."""

# Triton's compiler knows `+` of tuples but no unpacking.
# ruff: noqa: RUF005

from __future__ import annotations

import triton
import triton.language as tl

#: Arguments that differ from layer to layer: no compilation of their own, which takes ten seconds and more, for values
#: that happen to be 1 or divisible by 16.
SIZES = ['batch', 'frames', 'channel_units', 'h_in', 'w_in', 'h_out', 'w_out', 'chunk', 'strip_programs']


@triton.constexpr_function
def tile_extent(patch, kernel, stride, up):
    """How many input rows (or columns) a patch of that many outputs meets."""
    if up == 1:
        return (patch - 1) * stride + kernel
    pad = kernel // 2
    return (patch - 1 + pad) // up + pad // up + 1


@triton.constexpr_function
def source(output, tap, kernel, stride, up):
    """Index in the tile of the input that meets ``tap`` at ``output`` of the patch; -1 where none does."""
    if up == 1:
        return output * stride + tap
    pad = kernel // 2
    numerator = output + pad - tap
    return -1 if numerator % up else numerator // up + pad // up


@triton.constexpr_function
def rows_by(tap, patch, kernel, stride, up):
    """How many rows of the tile are in use up to and including this row of taps."""
    if tap < 0:
        return 0
    if up > 1:
        return tile_extent(patch, kernel, stride, up)
    return (patch - 1) * stride + tap + 1


@triton.jit
def inside(start, extent: tl.constexpr, size, live):
    """Per row (or column) of a tile that starts at ``start`` whether it is on the map, as a tuple."""
    ok = ()
    for r in tl.static_range(extent):
        ok = ok + ((start + r >= 0) & (start + r < size) & live,)
    return ok


@triton.jit
def zeros(count: tl.constexpr, units: tl.constexpr, vec: tl.constexpr):
    """A tuple of fp32 blocks of zeros."""
    blocks = ()
    for _ in tl.static_range(count):
        blocks = blocks + (tl.zeros((units, vec), tl.float32),)
    return blocks


@triton.jit
def load_rows(pointers, row_step, column_step, row_ok, column_ok, first: tl.constexpr, last: tl.constexpr):
    """Rows ``first`` to ``last`` (exclusive) of a tile as a flat tuple of fp32 blocks, 0 off the map."""
    rows = ()
    for r in tl.static_range(first, last):
        # Step by step: with r * row_step + q * column_step and steps unknown to the compiler, each address is kept.
        address = pointers + r * row_step
        for q in tl.static_range(len(column_ok)):
            rows = rows + (tl.load(address, mask=row_ok[r] & column_ok[q], other=0.0).to(tl.float32),)
            address += column_step
    return rows


@triton.jit
def load_patch(pointers, row_step, column_step, row_ok, column_ok, ok):
    """A patch of the output's gradient as a flat tuple of fp32 blocks, 0 off the map and where not ``ok``."""
    patch = ()
    for i in tl.static_range(len(row_ok)):
        address = pointers + i * row_step
        for j in tl.static_range(len(column_ok)):
            patch = patch + (tl.load(address, mask=row_ok[i] & column_ok[j] & ok, other=0.0).to(tl.float32),)
            address += column_step
    return patch


@triton.jit
def store_patch(pointers, row_step, column_step, row_ok, column_ok, sums, ok, PW: tl.constexpr):
    """Write the first patch of ``sums`` where it is on the map."""
    for i in tl.static_range(len(row_ok)):
        address = pointers + i * row_step
        for j in tl.static_range(PW):
            value = sums[i * PW + j].to(pointers.dtype.element_ty)
            tl.store(address, value, mask=row_ok[i] & column_ok[j] & ok)
            address += column_step
