"""Checkpoints: read with ``weights_only=True`` on every path, and MMEngine's own still readable.

A file that would run code is refused with the reason; nothing in it has been run.
"""

from __future__ import annotations

import importlib
import os
import pickle
from types import ModuleType
from typing import Any

from mmnas_video.errors import ConfigError

from . import packages

# --- resuming under torch's safe unpickling -----------------------------------------------------------------


def probe_safe_load() -> str | None:
    """MMEngine's classes are not declared safe yet."""
    if not packages.host_present():
        return None
    import torch
    from mmengine.logging import HistoryBuffer

    if HistoryBuffer in torch.serialization.get_safe_globals():
        return None
    return f"torch {torch.__version__} refuses MMEngine's HistoryBuffer and numpy's arrays"


class _Named:
    """What a file may name, and neither call nor make: it stands where the file names MMEngine's one-cycle schedule."""


ONE_CYCLE = _Named()


def saved_method(owner: Any, name: Any) -> Any:
    """The only answers that an unpickled ``getattr`` may have: HistoryBuffer's four statistics, and the two curves of a
    one-cycle schedule.

    A pickled HistoryBuffer refers to its own methods by ``getattr(HistoryBuffer, 'mean')``, and the state of OneCycleLR
    to the curve in use. With the real ``getattr`` a crafted file walks from any allowed function to whatever code it
    likes, so that one is never registered.
    """
    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return HistoryBuffer.__dict__[name]
    if owner is ONE_CYCLE and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    raise pickle.UnpicklingError(
        f"checkpoint: found getattr({owner!r}, {name!r}), expected one of HistoryBuffer's statistics or a curve of "
        'OneCycleParamScheduler'
    )


def mend_safe_load() -> None:
    """Name the harmless classes that a MMEngine checkpoint holds; ``weights_only`` stays on."""
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer

    core = 'numpy._core' if hasattr(np, '_core') else 'numpy.core'  # renamed in numpy 2
    multiarray = importlib.import_module(f'{core}.multiarray')
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype]
    # Files from either side of the rename are read on either side.
    for path in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(getattr(multiarray, name), f'{path}.{name}') for name in ('_reconstruct', 'scalar')]
    dtypes = getattr(np, 'dtypes', None)  # numpy >= 1.25
    if dtypes:
        allowed += [value for name, value in sorted(vars(dtypes).items()) if name.endswith('DType')]
    # A global is looked up by the name in the file; torch.save's protocol 2 writes Python 2's names.
    allowed += [(saved_method, f'{module}.getattr') for module in ('builtins', '__builtin__')]
    allowed += [(ONE_CYCLE, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler')]
    torch.serialization.add_safe_globals(allowed)


# --- loading that would run a file's code -------------------------------------------------------------------

#: Words of the line in which torch, or our own getattr, says what a file has asked for.
TOLD = ('GLOBAL', 'nsupported', 'unrecognized', 'found getattr', 'TorchScript')


def safe_load(file: Any, **options: Any) -> Any:
    """``torch.load`` with ``weights_only=True``; a file that would run code, or is broken, is one error.

    Args:
        file: path or binary file.
        options: further arguments of ``torch.load``.

    Raises:
        ConfigError: names the file and the reason. Nothing in it has been run.
    """
    import torch

    try:
        return torch.load(file, **{**options, 'weights_only': True})
    except Exception as error:  # whatever a broken or hostile file makes torch raise
        raise _unsafe(file, error) from None


def _unsafe(file: Any, error: Exception) -> ConfigError:
    # torch says what it met in one of many lines; the first advises to read the file unsafely.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = [line.rpartition('WeightsUnpickler error: ')[2] for line in lines if any(word in line for word in TOLD)]
    name = repr(str(file)) if isinstance(file, (str, os.PathLike)) else 'given as bytes'
    return ConfigError(
        f'checkpoint {name}: found a file that is broken or not safe to read ({(told or lines)[0][:200]}), expected a '
        'checkpoint of weights'
    )


class _SafeTorch(ModuleType):
    """``torch`` as MMEngine's checkpoint module sees it: all as it is, but for ``load``."""

    def __init__(self) -> None:
        super().__init__('torch', 'torch, loading weights only')
        self.load = safe_load

    def __getattr__(self, name: str) -> Any:
        import torch

        return getattr(torch, name)


def probe_load() -> str | None:
    """MMEngine loads as it was written to."""
    if not packages.host_present():
        return None
    from mmengine.runner import checkpoint

    return None if isinstance(checkpoint.torch, _SafeTorch) else "MMEngine's torch.load and load_url"


def mend_load() -> None:
    """Every path of MMEngine's CheckpointLoader: files, addresses, model zoos, object stores."""
    from mmengine.runner import checkpoint

    stock = checkpoint.load_url

    def load_url(url: str, *args: Any, **options: Any) -> Any:
        try:
            return stock(url, *args, **{**options, 'weights_only': True})
        except pickle.UnpicklingError as error:
            raise _unsafe(url, error) from None

    checkpoint.torch, checkpoint.load_url = _SafeTorch(), load_url
