"""The sliding convolution: depthwise Conv3d, forward and input gradient, as one Triton kernel.

Layout: activations (B, T, H, W, C) in memory (``channels_last_3d``), weights packed as (taps, C) in fp32.

How the work is laid out, and why:

* A lane owns a patch of PH x PW outputs for VEC neighbouring channels and slides along T. Every input value is loaded
  once a step and meets all its taps in registers; a gather per tap would load it up to 27 times from L1.
* KT accumulator planes roll along: input plane t adds to the outputs t - KT//2 ... t + KT//2, of which the oldest is
  then complete. So an input plane is loaded once, not KT times.
* Triton's blocks are lanes only. The patch is a tuple of such blocks, unrolled when the kernel is compiled; a
  tensor dimension for it could not be shifted by one tap without going through shared memory.
* Lanes run over (sample, strip of rows, strip of columns, channel), channel fastest. A warp then reads 64 or 128
  neighbouring bytes, and no lane is idle for a channel count that is no power of two.
* Row by row of the kernel (KH), so that only PH input rows and one row of taps must be in registers.
* The input gradient is the same kernel: with the taps reversed for stride 1; for stride 2 an output row meets only the
  taps of its parity, which are known when the kernel is compiled, because a patch starts at an even row (UP = 2).

Element offsets within a sample are 32 bit, of a sample 64 bit (:data:`~.choose.MAX_SAMPLE`).
"""

# Triton's compiler knows `+` of tuples but no unpacking.
# ruff: noqa: RUF005

from __future__ import annotations

import triton
import triton.language as tl

from .depthwise_tiles import SIZES, inside, load_rows, rows_by, source, store_patch, tile_extent, zeros


@triton.constexpr_function
def row_of_taps(k, size, flip, up):
    """Row (or column) of taps that the k-th row meets. Upsampling looks up each tap's output, so none is turned."""
    return size - 1 - k if flip and up == 1 else k


@triton.constexpr_function
def tap_index(a, kh, kw, kt_size, kh_size, kw_size, flip, up, all_taps):
    """Where ``add_row`` finds the tap that joins the input to accumulator plane ``a``."""
    kt = a if flip else kt_size - 1 - a
    kh, kw = row_of_taps(kh, kh_size, flip, up), row_of_taps(kw, kw_size, flip, up)
    return (kt * kh_size + kh) * kw_size + kw if all_taps else kt * kw_size + kw


@triton.jit
def load_taps(pointers, channels, ok, first: tl.constexpr, count: tl.constexpr, step: tl.constexpr, run: tl.constexpr):
    """``count`` runs of ``run`` neighbouring taps, ``step`` apart, as a flat tuple of blocks."""
    taps = ()
    for a in tl.static_range(count):
        for b in tl.static_range(run):
            taps = taps + (tl.load(pointers + (first + a * step + b) * channels, mask=ok, other=0.0),)
    return taps


@triton.jit
def add_row(
    sums, tile, taps, kh: tl.constexpr, KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, STRIDE: tl.constexpr,
    UP: tl.constexpr, FLIP: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, TW: tl.constexpr, ALL_TAPS: tl.constexpr,
):  # fmt: skip
    """``sums`` plus what one row of taps, over all of time, adds to the patch. ``taps`` holds that row or all."""
    new = ()
    for a in tl.static_range(KT):
        for i in tl.static_range(PH):
            for j in tl.static_range(PW):
                value = sums[(a * PH + i) * PW + j]
                for kw in tl.static_range(KW):
                    if source(i, kh, KH, STRIDE, UP) >= 0 and source(j, kw, KW, STRIDE, UP) >= 0:
                        value += (
                            tile[source(i, kh, KH, STRIDE, UP) * TW + source(j, kw, KW, STRIDE, UP)]
                            * taps[tap_index(a, kh, kw, KT, KH, KW, FLIP, UP, ALL_TAPS)]
                        )
                new = new + (value,)
    return new


@triton.jit(do_not_specialize=SIZES)
def slide_kernel(
    x_ptr, w_ptr, y_ptr, batch, frames, channel_units, h_in, w_in, h_out, w_out, chunk,
    SHAPE: tl.constexpr, KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, STRIDE: tl.constexpr, UP: tl.constexpr,
    FLIP: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, UNITS: tl.constexpr, VEC: tl.constexpr,
    HOLD_TAPS: tl.constexpr,
):  # fmt: skip
    """y = x convolved with the packed taps w, strided by STRIDE or, for the gradient of that, upsampled by UP.

    Grid: (lanes over (sample, row strip, column strip, channel unit), chunks of ``chunk`` output frames). SHAPE bakes
    (channel units, h_in, w_in, h_out, w_out) into the code, which turns offsets into immediates; None takes them as
    arguments, so that a supernet's many widths share one compiled kernel. FLIP reverses the taps.
    """
    units_of_c = SHAPE[0] if SHAPE is not None else channel_units
    hi = SHAPE[1] if SHAPE is not None else h_in
    wi = SHAPE[2] if SHAPE is not None else w_in
    ho = SHAPE[3] if SHAPE is not None else h_out
    wo = SHAPE[4] if SHAPE is not None else w_out
    channels = units_of_c * VEC
    PT: tl.constexpr = KT // 2
    PATCH: tl.constexpr = PH * PW
    TH: tl.constexpr = tile_extent(PH, KH, STRIDE, UP)
    TW: tl.constexpr = tile_extent(PW, KW, STRIDE, UP)

    # Which sample, strip and channels a lane has. All integer divisions are here, once for all frames.
    unit = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    strips_h, strips_w = (ho + PH - 1) // PH, (wo + PW - 1) // PW
    strip = unit // units_of_c
    channel = (unit % units_of_c)[:, None] * VEC + tl.arange(0, VEC)[None, :]
    column = (strip % strips_w * PW)[:, None]
    row = (strip // strips_w % strips_h * PH)[:, None]
    sample = (strip // (strips_w * strips_h))[:, None]
    live = sample < batch

    tile_row = row * STRIDE // UP - KH // 2 // UP
    tile_column = column * STRIDE // UP - KW // 2 // UP
    row_ok = inside(tile_row, TH, hi, live)
    column_ok = inside(tile_column, TW, wi, live)
    out_row_ok = inside(row, PH, ho, live)
    out_column_ok = inside(column, PW, wo, live)
    x_lane = x_ptr + sample.to(tl.int64) * (frames * hi * wi * channels)
    x_lane += (tile_row * wi + tile_column) * channels + channel
    y_lane = y_ptr + sample.to(tl.int64) * (frames * ho * wo * channels)
    y_lane += (row * wo + column) * channels + channel
    w_lane = w_ptr + channel

    first = tl.program_id(1) * chunk
    last = tl.minimum(first + chunk, frames)
    stop = tl.minimum(last + PT, frames)
    held = load_taps(w_lane, channels, live, 0, 1, 0, KT * KH * KW) if HOLD_TAPS else ()
    # sums[a * PATCH + ...] belongs to output frame t - PT + a and meets tap KT - 1 - a of time (FLIP: tap a).
    sums = zeros(KT * PATCH, UNITS, VEC)
    for t in range(tl.maximum(first - PT, 0), stop):
        x_frame = x_lane + t * (hi * wi * channels)
        tile = ()
        for kh in tl.static_range(KH):
            # What this row of taps is the first to need.
            tile = tile + load_rows(
                x_frame,
                wi * channels,
                channels,
                row_ok,
                column_ok,
                rows_by(kh - 1, PH, KH, STRIDE, UP),
                rows_by(kh, PH, KH, STRIDE, UP),
            )
            if HOLD_TAPS:
                taps = held
            else:
                taps = load_taps(w_lane, channels, live, row_of_taps(kh, KH, FLIP, UP) * KW, KT, KH * KW, KW)
            sums = add_row(sums, tile, taps, kh, KT, KH, KW, STRIDE, UP, FLIP, PH, PW, TW, HOLD_TAPS)
        done = t - PT
        y_frame = y_lane + done * (ho * wo * channels)
        store_patch(y_frame, wo * channels, channels, out_row_ok, out_column_ok, sums, done >= first, PW)
        sums = sums[PATCH:] + zeros(PATCH, UNITS, VEC)
    # At the clip's end no further plane comes, and what is under way is complete.
    for j in tl.static_range(PT):
        done = stop - PT + j
        y_frame = y_lane + done * (ho * wo * channels)
        rest = sums[j * PATCH :]
        store_patch(
            y_frame, wo * channels, channels, out_row_ok, out_column_ok, rest, (done >= first) & (done < last), PW
        )
