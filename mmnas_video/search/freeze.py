"""Updates that leave alone what no sampled architecture used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmnas_video.entangle import Searchable, unused_masks
from mmnas_video.space import Arch


@contextmanager
def frozen_unsampled(model: Searchable, archs: Sequence[Arch], optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Keep the unsampled slices of weights and of the optimiser's buffers bit-identical over a step.

    A slice of a super-weight that no architecture used has a gradient of zero, not none: momentum and weight decay
    would still move it.

    Args:
        model: the searchable module.
        archs: the architectures that were sampled since the last step.
        optimizer: the weights' optimiser.
    """
    assert isinstance(model, nn.Module)
    masks = unused_masks(model, archs)
    parameters = {name: p for name, p in model.named_parameters() if name in masks}
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for name, parameter in parameters.items():
        for tensor in (parameter.data, *_buffers(optimizer, parameter)):
            kept.append((tensor, masks[name], tensor[masks[name]].clone()))
    known = {id(tensor) for tensor, _, _ in kept}
    yield
    with torch.no_grad():
        for tensor, mask, values in kept:
            tensor[mask] = values
        for name, parameter in parameters.items():  # buffers that the step has created: start from nothing
            for tensor in _buffers(optimizer, parameter):
                if id(tensor) not in known:
                    tensor[masks[name]] = 0


def _buffers(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> list[Tensor]:
    state = optimizer.state.get(parameter, {})
    return [v for v in state.values() if isinstance(v, Tensor) and v.shape == parameter.shape]
