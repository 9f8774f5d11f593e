"""A kernel that cannot be compiled or launched here: one warning, and PyTorch's operators from then on.

The kernels are on by default, on machines of all kinds: without a C compiler for Triton's launcher, with a cache folder
that is not writable, with an assembler that is too old for the GPU. None of that may end a training that PyTorch can
run. Wrong input is something else: it is raised before a launch, or by Triton as TypeError or ValueError, and stays an
error. With ``MMNAS_KERNELS=on`` nothing falls back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar('T')
#: Errors that speak of the input or of memory, not of the kernel.
NOT_THE_KERNEL = (TypeError, ValueError, MemoryError, torch.cuda.OutOfMemoryError)

_failed: dict[str, str] = {}
_NOTHING = nullcontext()


class CannotLaunch(RuntimeError):
    """A kernel that the compiler, the driver or the machine refused; the message names it and gives the reason."""


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
    """``kernel[grid](*args, **options)``.

    Raises:
        CannotLaunch: compiling or launching failed.
    """
    try:
        kernel[grid](*args, **options)
    except NOT_THE_KERNEL:
        raise
    except Exception as error:
        reason = next((line.strip().rstrip('.') for line in reversed(str(error).splitlines()) if line.strip()), '')
        raise CannotLaunch(f'{kernel.fn.__name__}: {type(error).__name__}: {reason}') from error


def failed(family: str) -> str | None:
    """Why a family of kernels (``'depthwise'``, ``'batch_norm'``) is off since it failed; None where it is not."""
    return _failed.get(family)


def either(
    family: str, ours: Callable[..., T], theirs: Callable[..., T], args: tuple[Any, ...], strict: Callable[[], bool]
) -> T:
    """``ours(*args)``; where it cannot be launched, and from then on, ``theirs(*args)``.

    Args:
        strict: whether to raise instead, asked where something has failed.
    """
    if family not in _failed or strict():
        try:
            return ours(*args)
        except CannotLaunch as error:
            if strict():
                raise
            _failed[family] = str(error)
            warnings.warn(
                f'The Triton kernel {error}. PyTorch now computes in the place of our {family} kernels, slower. '
                '`python -m mmnas_video` tries every kernel; MMNAS_KERNELS=off leaves them out from the start.',
                RuntimeWarning,
                stacklevel=2,
            )
    return theirs(*args)


def device_of(x: Tensor) -> AbstractContextManager[Any]:
    """A block for launches on the device of ``x``, which is nothing to do where that is the current one."""
    if not x.is_cuda or x.device.index == torch.cuda.current_device():
        return _NOTHING
    return torch.cuda.device_of(x)
