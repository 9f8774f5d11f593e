"""Where the Triton kernels and the CPU's faster ways are used, and how to turn them off.

``MMNAS_KERNELS`` (environment) is ``auto`` (default: the kernels on an NVIDIA GPU of compute capability 8.0 or newer,
PyTorch elsewhere and after a kernel has failed, see :mod:`.fallback`), ``off`` (always PyTorch) or ``on`` (wherever
they can run at all, also on a GPU that nobody has tried; an error where Triton is missing or a kernel fails). It is
read at every call, so it may change while a program runs; a graph made by ``torch.compile`` keeps what held when it was
traced. On a CPU, unless it is ``off``, some convolutions go by other operators of PyTorch's than Conv3d
(:mod:`.conv3d`, :mod:`.depthwise_cpu`; of what is compiled only depthwise ones, of what is exported none).

Under Triton's interpreter (``TRITON_INTERPRET=1`` before this package is imported) the kernels run on CPU tensors:
thousands of times slower, for tests.
"""

from __future__ import annotations

import functools
import os
from importlib import metadata

import torch
from torch import Tensor

from mmnas_video.errors import ConfigError

from .doors import observed
from .fallback import failed

SWITCH = 'MMNAS_KERNELS'
MODES = ('auto', 'on', 'off')
DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # storage; sums are fp32, so fp64 stays with PyTorch
CAPABILITY = (8, 0)  # the oldest NVIDIA GPUs with bf16
MAX_SAMPLE = 2**31  # elements of one sample: offsets within it are 32 bit, the sample's own is 64 bit

OLDEST_TRITON = (3, 6)  # the one that torch 2.11 brings along; ours carry tuples through loops, which older ones do not


def _triton_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in metadata.version('triton').split('.')[:2])
    except (metadata.PackageNotFoundError, ValueError):
        return ()


HAS_TRITON = _triton_version() >= OLDEST_TRITON
# Triton decides it for each kernel where that is defined, so once for all of ours.
INTERPRETED = HAS_TRITON and os.environ.get('TRITON_INTERPRET', '0').lower() in ('1', 'true', 'on', 'yes', 'y')
HAS_ONEDNN = torch.backends.mkldnn.is_available()
if INTERPRETED:
    from .interpret import repair

    repair()


def mode() -> str:
    """What ``MMNAS_KERNELS`` says.

    Raises:
        ConfigError: something else than ``auto``, ``on`` or ``off``; or ``on`` without a Triton that is new enough.
    """
    found = os.environ.get(SWITCH, 'auto')
    if found not in MODES:
        raise ConfigError(f'{SWITCH}: found {found!r}, expected one of {list(MODES)}')
    if found == 'on' and not HAS_TRITON:
        oldest = '.'.join(map(str, OLDEST_TRITON))
        raise ConfigError(
            f"{SWITCH}: found 'on', expected triton {oldest} or newer to be installed for it; or set 'auto'"
        )
    return found


def is_strict() -> bool:
    """Whether a kernel that fails is an error."""
    return mode() == 'on'


def use_triton(x: Tensor, family: str = '') -> bool:
    """Whether our kernels take ``x`` of shape (B, C, T, H, W): by device, dtype, size and the switch; with the name of
    a ``family``, not after that has failed (:func:`~.fallback.failed`).

    Never while a model is exported, so that an exported graph holds PyTorch's own operators only.

    Raises:
        ConfigError: see :func:`mode`.
    """
    wanted = mode()
    if wanted == 'off' or not HAS_TRITON or x.dtype not in DTYPES or exporting():
        return False
    if wanted == 'auto' and failed(family):
        return False
    size = x.numel()
    if size == 0 or size // x.shape[0] >= MAX_SAMPLE:
        return False
    if not x.is_cuda:
        return INTERPRETED and x.device.type == 'cpu'
    return wanted == 'on' or is_known_gpu(x.device.index or 0)


def use_cpu_paths(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution that is slow on a CPU goes by others of PyTorch's operators: fp32 with oneDNN, compiled or
    where nobody looks on (:func:`.doors.observed`), and neither autocast nor the switch says otherwise.

    Raises:
        ConfigError: see :func:`mode`.
    """
    return (
        x.device.type == 'cpu'
        and x.dtype == weight.dtype == torch.float32
        and HAS_ONEDNN
        and not torch.is_autocast_enabled('cpu')
        and not (exporting() if torch.compiler.is_compiling() else observed(x))
        and mode() != 'off'
    )


def exporting() -> bool:
    """Whether ``torch.export`` or the ONNX exporter is tracing."""
    # Not torch.compiler.is_exporting(): inside torch.compile that is always true. The flag it returns is not.
    # Whether it is the ONNX exporter is asked within a trace alone: the question costs a microsecond.
    return getattr(torch.compiler, '_is_exporting_flag', False) or (
        torch._C._get_tracing_state() is not None and torch.onnx.is_in_onnx_export()
    )


def is_known_gpu(index: int) -> bool:
    """Whether the kernels are on by default on this GPU."""
    if torch.version.cuda is None:
        return False
    # torch.compile takes the properties as a constant, and would trace through a cache.
    return _is_capable(index) if torch.compiler.is_compiling() else _is_capable_once(index)


def _is_capable(index: int) -> bool:
    properties = torch.cuda.get_device_properties(index)
    return (properties.major, properties.minor) >= CAPABILITY


_is_capable_once = functools.lru_cache(maxsize=64)(_is_capable)
