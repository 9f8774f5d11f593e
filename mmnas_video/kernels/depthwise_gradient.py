"""The weight gradient of depthwise Conv3d as a Triton kernel, all taps in registers.

Lanes and tiles are those of :mod:`.depthwise_slide`, but a program keeps to one tile of channels, so that its strips
can be added up; a group of temporal taps (KG) is as many as fit in registers. It runs over its strips and frames and
writes one fp32 partial sum per tap and channel; ``reduce_weight_gradient_kernel`` adds these in a fixed order. No
atomics: the result is the same bit for bit every time.
"""

# Triton's compiler knows `+` of tuples but no unpacking.
# ruff: noqa: RUF005

from __future__ import annotations

import triton
import triton.language as tl

from .depthwise_tiles import SIZES, inside, load_patch, load_rows, rows_by, zeros


@triton.jit
def correlate_row(
    sums, tile, patches, kh: tl.constexpr, KG: tl.constexpr, KW: tl.constexpr, STRIDE: tl.constexpr,
    PH: tl.constexpr, PW: tl.constexpr, TW: tl.constexpr,
):  # fmt: skip
    """What a row of taps, ``kh``, gathers from a tile of x and KG patches of the output's gradient."""
    new = ()
    for a in tl.static_range(KG):
        for kw in tl.static_range(KW):
            value = sums[(kh * KG + a) * KW + kw]
            for i in tl.static_range(PH):
                for j in tl.static_range(PW):
                    value += tile[(i * STRIDE + kh) * TW + j * STRIDE + kw] * patches[(a * PH + i) * PW + j]
            new = new + (value,)
    return new


@triton.jit(do_not_specialize=SIZES)
def weight_gradient_kernel(
    x_ptr, dy_ptr, partial_ptr, batch, frames, channel_units, h_in, w_in, h_out, w_out, chunk, strip_programs,
    SHAPE: tl.constexpr, KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, STRIDE: tl.constexpr,
    KG: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, STRIPS: tl.constexpr, BLOCK_C: tl.constexpr,
    VEC: tl.constexpr,
):  # fmt: skip
    """One partial sum per tap and channel from some strips of x and dy.

    Grid: (strip programs x chunks of ``chunk`` input frames, tiles of BLOCK_C channels, groups of KG taps of time).
    The partial sums are (first grid axis, taps, C) in fp32.
    """
    units_of_c = SHAPE[0] if SHAPE is not None else channel_units
    hi = SHAPE[1] if SHAPE is not None else h_in
    wi = SHAPE[2] if SHAPE is not None else w_in
    ho = SHAPE[3] if SHAPE is not None else h_out
    wo = SHAPE[4] if SHAPE is not None else w_out
    channels = units_of_c * VEC
    PATCH: tl.constexpr = PH * PW
    TH: tl.constexpr = (PH - 1) * STRIDE + KH
    TW: tl.constexpr = (PW - 1) * STRIDE + KW

    program = tl.program_id(0)
    channel = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    group = tl.program_id(2) * KG
    strips_h, strips_w = (ho + PH - 1) // PH, (wo + PW - 1) // PW
    strips = batch * strips_h * strips_w
    first = program // strip_programs * chunk
    stop = tl.minimum(first + chunk, frames)
    # An input plane t meets the tap kt in the output plane t - kt + KT // 2; of the group's first tap it is the newest.
    newest = KT // 2 - group

    sums = zeros(KH * KG * KW, STRIPS, BLOCK_C)
    for begin in range(program % strip_programs * STRIPS, strips, strip_programs * STRIPS):
        strip = (begin + tl.arange(0, STRIPS))[:, None]
        column = strip % strips_w * PW
        row = strip // strips_w % strips_h * PH
        sample = strip // (strips_w * strips_h)
        live = (sample < batch) & (channel < channels)
        tile_row, tile_column = row * STRIDE - KH // 2, column * STRIDE - KW // 2
        row_ok, column_ok = inside(tile_row, TH, hi, live), inside(tile_column, TW, wi, live)
        out_row_ok, out_column_ok = inside(row, PH, ho, live), inside(column, PW, wo, live)
        x_lane = x_ptr + sample.to(tl.int64) * (frames * hi * wi * channels)
        x_lane += (tile_row * wi + tile_column) * channels + channel
        dy_lane = dy_ptr + sample.to(tl.int64) * (frames * ho * wo * channels)
        dy_lane += (row * wo + column) * channels + channel

        # patches[a * PATCH + ...] is the output's gradient at plane t + newest - a, rolled along with t.
        patches = zeros(PATCH, STRIPS, BLOCK_C)
        for a in tl.static_range(1, KG):
            t_out = first + newest - a
            dy_frame = dy_lane + t_out * (ho * wo * channels)
            ok = (t_out >= 0) & (t_out < frames)
            patches = patches + load_patch(dy_frame, wo * channels, channels, out_row_ok, out_column_ok, ok)
        for t in range(first, stop):
            x_frame = x_lane + t * (hi * wi * channels)
            t_out = t + newest
            dy_frame = dy_lane + t_out * (ho * wo * channels)
            ok = (t_out >= 0) & (t_out < frames)
            new = load_patch(dy_frame, wo * channels, channels, out_row_ok, out_column_ok, ok)
            patches = new + patches[PATCH:]
            gathered = ()
            tile = ()
            for kh in tl.static_range(KH):
                tile = tile + load_rows(
                    x_frame,
                    wi * channels,
                    channels,
                    row_ok,
                    column_ok,
                    rows_by(kh - 1, PH, KH, STRIDE, 1),
                    rows_by(kh, PH, KH, STRIDE, 1),
                )
                gathered = gathered + correlate_row(sums, tile, patches, kh, KG, KW, STRIDE, PH, PW, TW)
            sums = gathered
            patches = patches[:PATCH] + patches[: (KG - 1) * PATCH]

    lane_c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    out = partial_ptr + (program.to(tl.int64) * KT * KH * KW) * channels + lane_c
    for kh in tl.static_range(KH):
        for a in tl.static_range(KG):
            for kw in tl.static_range(KW):
                tap = ((group + a) * KH + kh) * KW + kw
                total = tl.sum(sums[(kh * KG + a) * KW + kw], axis=0)
                tl.store(out + tap * channels, total, mask=(lane_c < channels) & (group + a < KT))
