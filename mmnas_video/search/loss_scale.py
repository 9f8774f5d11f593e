"""What stands on a loss when it is differentiated: its share of an accumulated batch, and a GradScaler's factor."""

from __future__ import annotations

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor


def batch_part(optim_wrapper: OptimWrapper) -> tuple[float, bool]:
    """The share that the coming batch has in an accumulated one, and whether it is the last of it."""
    return float(optim_wrapper.scale_loss(torch.ones(()))), optim_wrapper.should_sync()


def scaled_loss(loss: Tensor, optim_wrapper: OptimWrapper) -> Tensor:
    """The loss times the GradScaler's factor under AMP: what ``OptimWrapper.backward`` does, without its counting."""
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    return loss if scaler is None else scaler.scale(loss)
