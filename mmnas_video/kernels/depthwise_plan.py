"""How the depthwise kernels cut up their work: the numbers to tune on a GPU, and nothing that needs one.

Chosen on code compiled for sm_90 (registers, spills, instructions per frame), not timed: measure
with ``tools/benchmarks/kernels.py`` and change the tables.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

# Patches of outputs (rows, columns) a lane owns, with what one costs beyond its arithmetic. 2 x 4 keeps a 3x3x3 kernel
# at 138 registers; 2 x 5 takes more and wins where it leaves no ragged edge (5 and 10 columns).
PATCHES = {(2, 4): 1.0, (2, 5): 1.1}
# A kernel without time, or one tap of it at once, has one plane of sums, so that twice the patch fits at stride 1. It
# reads its neighbours' rows less often, 4 values for each that 1x5x5 writes instead of 6, most of them from L2; and
# takes 1/8 fewer instructions.
PATCHES_OF_A_FRAME = PATCHES | {(4, 4): 1.0}
PATCH_OF_UPSAMPLED = (2, 4)  # the input gradient of stride 2: even, so that parity is known when it is compiled
LOAD_COST = 5  # instructions per input value loaded (address, predicate, zero, load, convert), against 1 per FMA

# (lane, channel) pairs per program: 2 a thread. Its lanes never speak to each other, so programs may be small, and 132
# multiprocessors then get more even shares; neighbouring strips of one program share what they read.
LANES, WARPS = 128, 2
HELD_TAPS = 27  # more taps than this are loaded again every frame: in registers they would spill
# Time is cut into chunks only while there are fewer programs than this: each chunk computes KT - 1 frames twice.
MULTIPROCESSORS = 132
WANTED_PROGRAMS = MULTIPROCESSORS * 6
LEAST_CHUNK = 4

GRADIENT_STRIPS, GRADIENT_WARPS = 4, 4  # strips side by side in one program of the weight gradient, one to a warp
GRADIENT_CHANNELS = 64  # 2 a thread; a last tile that is not full idles
# In cycles: until a frame's values are there; for one partial sum of one tap and channel, to be written and read.
GRADIENT_LATENCY, REDUCE_COST = 1000, 0.004
GRADIENT_EPILOGUE = 3.0  # adding up a program's strips, in frames
MOST_ROUNDS = 64

# Distinct (channels, height, width) that may be baked into a kernel each; after that one kernel takes any.
BAKED_SHAPES = 64


class Work(NamedTuple):
    """One depthwise convolution.

    Attributes:
        batch, channels, frames: B, C, T.
        inner: (H, W) that the taps read.
        outer: (H, W) that is written.
        kernel: (t, h, w), odd.
        stride: 1 or 2, between ``outer`` and ``inner``.
        up: 2 where a lane's map is the finer one (the input gradient of stride 2), else 1.
    """

    batch: int
    channels: int
    frames: int
    inner: tuple[int, int]
    outer: tuple[int, int]
    kernel: tuple[int, int, int]
    stride: int = 1
    up: int = 1

    @property
    def taps(self) -> int:
        """Number of taps of the kernel."""
        return math.prod(self.kernel)

    @property
    def spatial_taps(self) -> int:
        """Number of taps of one frame."""
        return math.prod(self.kernel[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        """What may be baked into a kernel: channels in units of ``vec``, then ``inner`` and ``outer``."""
        return (self.channels // self.vec, *self.inner, *self.outer)

    @property
    def vec(self) -> int:
        """Channels that a thread takes at once: a pair where every row of C starts at an even channel."""
        return 2 if self.channels % 2 == 0 else 1


def least_patch() -> tuple[int, int]:
    """Rows and columns that a patch has at least."""
    return min(h for h, _ in PATCHES), min(w for _, w in PATCHES)


def strips(size: tuple[int, int], patch: tuple[int, int]) -> int:
    """How many patches cover (H, W)."""
    return math.prod(-(-n // p) for n, p in zip(size, patch, strict=True))


def patch_for(work: Work, frames: int) -> tuple[int, int]:
    """The patch with the least instructions over the whole map, its idle edge counted, where taps of so many frames
    are summed at once."""
    if work.up > 1:
        return PATCH_OF_UPSAMPLED
    patches = PATCHES_OF_A_FRAME if frames == work.stride == 1 else PATCHES

    def instructions(patch: tuple[int, int]) -> float:
        each = math.prod(patch) * frames * work.spatial_taps * 2 + tile(work, patch) * LOAD_COST
        return strips(work.outer, patch) * each * patches[patch]

    return min(patches, key=instructions)


def tile(work: Work, patch: tuple[int, int]) -> int:
    """Inputs that a patch meets in a frame."""
    return math.prod((p - 1) * work.stride + k for p, k in zip(patch, work.kernel[1:], strict=True))


def chunk_for(frames: int, programs: int, wanted: int) -> int:
    """Frames per program: all, or fewer where ``programs`` alone would leave multiprocessors idle."""
    chunks = min(-(-wanted // max(programs, 1)), max(frames // LEAST_CHUNK, 1))
    return -(-frames // chunks)


class SlidePlan(NamedTuple):
    """Launch of the sliding kernel: a lane's patch, lanes in units of ``vec`` channels, grid, frames a program."""

    patch: tuple[int, int]
    units: int
    grid: tuple[int, int]
    chunk: int
    hold_taps: bool


@functools.lru_cache(maxsize=1024)
def plan_slide(work: Work) -> SlidePlan:
    """Of the forward pass or the input gradient."""
    patch = patch_for(work, work.kernel[0])
    units = LANES // work.vec
    lanes = work.batch * strips(work.outer, patch) * (work.channels // work.vec)
    programs = -(-lanes // units)
    chunk = chunk_for(work.frames, programs, WANTED_PROGRAMS)
    return SlidePlan(patch, units, (programs, -(-work.frames // chunk)), chunk, work.taps <= HELD_TAPS)


class GradientPlan(NamedTuple):
    """Launch of the weight gradient: ``strip_programs`` x chunks of time partial sums for each tap and channel."""

    patch: tuple[int, int]
    group: int
    strip_programs: int
    chunk: int
    grid: tuple[int, int, int]

    @property
    def partials(self) -> int:
        """How many partial sums there are for each tap and channel."""
        return self.grid[0]


@functools.lru_cache(maxsize=1024)
def plan_gradient(work: Work) -> GradientPlan:
    """Of the weight gradient; a group of temporal taps is as many as a program sums in registers.

    Of all ways to share out strips and frames the one whose busiest multiprocessor should end first; of those that are
    as good but for 3 %, the one with the fewest programs, each of which loads what its neighbours do and writes sums.
    """
    times = {plan: _gradient_time(work, plan) for plan in _gradient_plans(work)}
    good = 1.03 * min(times.values())
    return min((plan for plan, time in times.items() if time <= good), key=lambda plan: math.prod(plan.grid))


def _gradient_sets(work: Work, patch: tuple[int, int]) -> int:
    return -(-work.batch * strips(work.outer, patch) // GRADIENT_STRIPS)


def _gradient_plans(work: Work) -> Iterator[GradientPlan]:
    group = min(max(HELD_TAPS // work.spatial_taps, 1), work.kernel[0])
    patch = patch_for(work, group)
    tiles, groups = -(-work.channels // GRADIENT_CHANNELS), -(-work.kernel[0] // group)
    sets = _gradient_sets(work, patch)
    for wanted in range(1, max(work.frames // LEAST_CHUNK, 1) + 1):
        chunk = -(-work.frames // wanted)
        chunks = -(-work.frames // chunk)
        for rounds in range(1, min(sets, MOST_ROUNDS) + 1):
            programs = -(-sets // rounds)
            yield GradientPlan(patch, group, programs, chunk, (programs * chunks, tiles, groups))


def _gradient_time(work: Work, plan: GradientPlan) -> float:
    """In cycles: a chunk also loads about a frame's worth before its first."""
    rounds = -(-_gradient_sets(work, plan.patch) // plan.strip_programs)
    outputs, busiest = math.prod(plan.patch), -(-math.prod(plan.grid) // MULTIPROCESSORS)
    each = outputs * plan.group * work.spatial_taps * 2 + (tile(work, plan.patch) + outputs) * LOAD_COST
    frame = max(busiest * each, each + GRADIENT_LATENCY)
    partial_sums = plan.partials * work.taps * work.channels
    return (rounds * (plan.chunk + 1) + GRADIENT_EPILOGUE) * frame + REDUCE_COST * partial_sums
