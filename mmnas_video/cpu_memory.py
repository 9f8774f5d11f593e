"""Freed memory is kept for the next tensor, on a CPU under glibc.

A clip's activations are tens of megabytes each. glibc asks the kernel for every piece above 32 MB anew and gives it
back at once, and the kernel zeroes it page by page: filling 120 MB then takes eight times as long as filling memory
that is already there (docs/benchmarks.md has what that means for a step). ``MMNAS_MEMORY=system`` in the environment
leaves glibc as it is; ``keep`` is the default. It holds for the whole process, so our tools ask for it and importing
the package does not; and for none that is forked from it: there a DataLoader's worker would grow by a third in 10,000
decodes, since the holes between a decoder's own pieces are never given back (docs/reliability.md).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping

import torch

from mmnas_video.errors import ConfigError

SWITCH = 'MMNAS_MEMORY'
#: glibc's malloc.h: options of mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
#: In a forked process clips and frames of more than 1 MB go back at once. At 32 MB, glibc's own limit, a worker grows;
#: at 128 kB it decodes a quarter slower. Its heap keeps 16 MB free at its end: with 2 MB it asks anew for every clip.
#: And all its threads share one heap, which has fewer holes than several.
FORKED = {M_ARENA_MAX: 1, M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 1 << 20, M_TRIM_THRESHOLD: 16 << 20}
_told_forks = False


def keep_freed_memory() -> bool:
    """Let malloc take large pieces from the heap too, and the heap never shrink; before the first large tensor. In
    processes that are forked from this one, all above 1 MB is given back.

    Returns:
        Whether it does: not on a GPU machine, not under another C library, and not where ``MMNAS_MEMORY=system``.

    Raises:
        ConfigError: another value of ``MMNAS_MEMORY``.
    """
    wanted = os.environ.get(SWITCH, 'keep')
    if wanted not in ('keep', 'system'):
        raise ConfigError(f'{SWITCH}: found {wanted!r}, expected keep or system')
    if wanted == 'system' or platform.libc_ver()[0] != 'glibc' or torch.cuda.is_available():
        return False
    global _told_forks
    if not _told_forks:
        os.register_at_fork(after_in_child=_give_back)
        _told_forks = True
    return _set({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1})


def _give_back() -> None:
    _set(FORKED)


def _set(options: Mapping[int, int]) -> bool:
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(option, value) == 1 for option, value in options.items())
