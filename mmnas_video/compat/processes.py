"""Several processes on a machine without a GPU, and BatchNorm over all of them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import Any

from . import packages


def probe_cpu_launch() -> str | None:
    """A machine without a GPU."""
    if not packages.is_importable('torch'):
        return None
    import torch

    return None if torch.cuda.is_available() else 'no GPU'


def init_cpu_process_group(timeout: float | None = None) -> bool:
    """Join the gloo group that the launcher's environment describes; call it before the Runner is built.

    MMEngine's ``launcher='pytorch'`` calls ``torch.cuda.set_device`` and so cannot start on a CPU, but it
    leaves alone a group that is there already.

    Args:
        timeout: seconds that a process waits for the others; None is torch's half an hour.

    Returns:
        Whether a group was made: not on a GPU, not without a launcher (``RANK`` is unset), not a second time.
    """
    import torch

    if torch.cuda.is_available() or 'RANK' not in os.environ or torch.distributed.is_initialized():
        return False
    limit = None if timeout is None else datetime.timedelta(seconds=timeout)
    torch.distributed.init_process_group(backend='gloo', timeout=limit)
    return True


def cpu_model_wrapper_cfg(**changes: Any) -> dict[str, Any]:
    """``model_wrapper_cfg`` for MMEngine's Runner on a CPU, where its default names a GPU.

    ``broadcast_buffers`` is off as in the Runner's own default. ``changes`` are further arguments of
    ``MMDistributedDataParallel``, say ``find_unused_parameters=True``.
    """
    return {'type': 'MMDistributedDataParallel', 'device_ids': None, 'broadcast_buffers': False, **changes}


def probe_sync_bn() -> str | None:
    """MMEngine's own conversion is in place."""
    if not packages.host_present():
        return None
    from mmengine.runner import runner

    if runner.convert_sync_batchnorm.__module__ == __name__:
        return None
    return "MMEngine's sync_bn"


#: (model, value of ``sync_bn``, MMEngine's own conversion) to the model: set by the module that has the layers.
convert_norms: Callable[[Any, str, Callable[..., Any]], Any] | None = None


def mend_sync_bn() -> None:
    """Let ``sync_bn='torch'`` use our layers where torch's would fail; elsewhere it stays as it is."""
    from mmengine.runner import runner

    stock = runner.convert_sync_batchnorm

    def convert_sync_batchnorm(module: Any, implementation: str = 'torch') -> Any:
        if convert_norms is None:
            return stock(module, implementation)
        return convert_norms(module, implementation, stock)

    runner.convert_sync_batchnorm = convert_sync_batchnorm
