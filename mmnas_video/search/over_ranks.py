"""Sums and means over the ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_backend, get_world_size
from torch import Tensor, nn


def average_over_ranks(tensors: Sequence[Tensor | None]) -> None:
    """Make each tensor its mean over the ranks, in place and in one flat all-reduce; None stays None."""
    grads = [tensor for tensor in tensors if tensor is not None]
    if not grads or get_world_size() == 1:
        return
    flat = torch.cat([grad.flatten() for grad in grads])
    all_reduce(flat)
    flat /= get_world_size()
    done = 0
    for grad in grads:
        grad.copy_(flat[done : done + grad.numel()].view_as(grad))
        done += grad.numel()


def fill_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Zeros for the gradients that this rank lacks and another has: before an average of ranks that ran different
    architectures."""
    if not parameters or get_world_size() == 1:
        return
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=parameters[0].device)
    all_reduce(there)
    for parameter, count in zip(parameters, there.tolist(), strict=True):
        if count and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def sum_over_ranks(values: Sequence[float], device: torch.device | str = 'cpu') -> list[float]:
    """Sum of a few numbers over the ranks, in float64."""
    if get_world_size() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=device if get_backend() == 'nccl' else 'cpu')
    all_reduce(total)
    return total.tolist()
