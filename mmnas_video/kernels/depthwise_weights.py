"""Small Triton kernels around the convolution: packing a super-weight's window, adding up its partial gradients."""

from __future__ import annotations

import triton
import triton.language as tl

SIZES = [
    'partials',
    'start',
    'super_channels',
    'channels',
    'step_c',
    'step_t',
    'step_h',
    'step_w',
]  # see depthwise_tiles


@triton.jit
def window_index(element, start, super_channels, channels, KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
                 SUPER_T: tl.constexpr, SUPER_H: tl.constexpr, SUPER_W: tl.constexpr):  # fmt: skip
    """Of elements of the super-weight, channel fastest: (super channel, super tap, window channel, tap, inside)."""
    super_channel = element % super_channels
    tap = element // super_channels
    kw = tap % SUPER_W - (SUPER_W - KW) // 2
    kh = tap // SUPER_W % SUPER_H - (SUPER_H - KH) // 2
    kt = tap // (SUPER_W * SUPER_H) - (SUPER_T - KT) // 2
    channel = super_channel - start
    channel = tl.where(channel < 0, channel + super_channels, channel)
    ok = (kt >= 0) & (kt < KT) & (kh >= 0) & (kh < KH) & (kw >= 0) & (kw < KW) & (channel < channels)
    return super_channel, tap, channel, (kt * KH + kh) * KW + kw, ok & (kt < KT) & (tap < SUPER_T * SUPER_H * SUPER_W)


@triton.jit(do_not_specialize=SIZES)
def reduce_weight_gradient_kernel(
    partial_ptr, grad_ptr, partials, start, super_channels, channels, KT: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, SUPER_T: tl.constexpr, SUPER_H: tl.constexpr, SUPER_W: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Add up the partial sums, in a fixed order, straight into the gradient of the whole super-weight.

    Outside the window it is 0: written here, so that neither a cleared buffer nor a copy per slice is needed.
    """
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    super_channel, super_tap, channel, tap, ok = window_index(
        element, start, super_channels, channels, KT, KH, KW, SUPER_T, SUPER_H, SUPER_W
    )
    total = tl.zeros((BLOCK_P, BLOCK), tl.float32)  # added up once, at the end: that goes through shared memory
    step = (KT * KH * KW) * channels
    lanes = tl.arange(0, BLOCK_P)[:, None]
    address = partial_ptr + (tap * channels + channel)[None, :] + lanes.to(tl.int64) * step
    for begin in range(0, partials, BLOCK_P):
        total += tl.load(address, mask=ok[None, :] & (begin + lanes < partials), other=0.0)
        address += BLOCK_P * step
    taps: tl.constexpr = SUPER_T * SUPER_H * SUPER_W
    value = tl.where(ok, tl.sum(total, axis=0), 0.0).to(grad_ptr.dtype.element_ty)
    tl.store(grad_ptr + super_channel * taps + super_tap, value, mask=element < super_channels * taps)


@triton.jit(do_not_specialize=SIZES)
def pack_weight_kernel(
    w_ptr, packed_ptr, like_ptr, start, super_channels, channels, step_c, step_t, step_h, step_w, KT: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, SUPER_T: tl.constexpr, SUPER_H: tl.constexpr, SUPER_W: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The window of a super-weight, read where it lies, as (taps, C) in fp32, rounded to the dtype of ``like_ptr``.

    Channel fastest, because a lane of the convolution has neighbouring channels: read in the parameter's own order,
    where a channel's taps are neighbours, every tap would cost a warp 32 cache lines.
    """
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel, tap = element % channels, element // channels
    ok = tap < KT * KH * KW
    kw = tap % KW + (SUPER_W - KW) // 2
    kh = tap // KW % KH + (SUPER_H - KH) // 2
    kt = tap // (KW * KH) + (SUPER_T - KT) // 2
    source_channel = (start + channel) % super_channels
    value = tl.load(w_ptr + source_channel * step_c + kt * step_t + kh * step_h + kw * step_w, mask=ok)
    tl.store(packed_ptr + element, value.to(like_ptr.dtype.element_ty).to(tl.float32), mask=ok)
