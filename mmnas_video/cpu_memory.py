"""Freed memory is kept for the next tensor, on a CPU under glibc.

A clip's activations are tens of megabytes each. glibc asks the kernel for every piece above 32 MB anew and gives it
back at once, and the kernel zeroes it page by page: filling 120 MB then takes eight times as long as filling memory
that is already there (docs/benchmarks.md has what that means for a step). ``MMNAS_MEMORY=system`` in the environment
leaves glibc as it is; ``keep`` is the default. It holds for the whole process, so our tools ask for it and importing
the package does not.
"""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from mmnas_video.errors import ConfigError

SWITCH = 'MMNAS_MEMORY'
#: glibc's malloc.h: options of mallopt.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let malloc take large pieces from the heap too, and the heap never shrink; before the first large tensor.

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
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
