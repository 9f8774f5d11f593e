"""Updates that leave alone what no sampled architecture used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmnas_video.cost import output_readers
from mmnas_video.entangle import Searchable, unused_parts
from mmnas_video.space import Arch


@contextmanager
def frozen_unsampled(
    model: Searchable, archs: Sequence[Arch], optimizer: torch.optim.Optimizer, whole: nn.Module | None = None
) -> Iterator[None]:
    """Keep the unsampled slices of weights and of the optimiser's buffers bit-identical over a step.

    A slice of a super-weight that no architecture used has a gradient of zero, not none: momentum and weight decay
    would still move it. So has a column of a head that reads an output channel which no architecture has. A parameter
    of which nothing was used has no gradient here, so that optimisers pass it by.

    Args:
        model: the searchable module.
        archs: the architectures that were sampled since the last step.
        optimizer: the weights' optimiser.
        whole: the model around it, whose readers of a narrower output are kept as well.
    """
    assert isinstance(model, nn.Module)
    parameters, (never, partly) = dict(model.named_parameters()), unused_parts(model, archs)
    for name in never:
        parameters[name].grad = None
    masks = {parameters[name]: mask for name, mask in partly.items()}
    with frozen_entries({**masks, **_reader_masks(whole, model, archs)}, optimizer):
        yield


@contextmanager
def frozen_entries(masks: Mapping[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Keep some entries of parameters and of their buffers bit-identical over a step.

    Args:
        masks: parameter to the entries that stay, a boolean tensor of its shape.
        optimizer: whose step is made meanwhile.
    """
    # Whole copies: picking entries by a mask takes twenty times as long as copying all of them, and on a GPU it waits.
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for parameter, mask in masks.items():
        for tensor in (parameter.data, *_buffers(optimizer, parameter)):
            kept.append((tensor, mask, tensor.clone()))
    known = {id(tensor) for tensor, _, _ in kept}
    yield
    with torch.no_grad():
        for tensor, mask, before in kept:
            torch.where(mask, before, tensor, out=tensor)
        for parameter, mask in masks.items():  # buffers that the step has created: start from nothing
            for tensor in _buffers(optimizer, parameter):
                if id(tensor) not in known:
                    tensor.masked_fill_(mask, 0)


def _reader_masks(whole: nn.Module | None, model: Searchable, archs: Sequence[Arch]) -> dict[Tensor, Tensor]:
    """Weight of each reader of the output to the columns that no architecture fills."""
    readers = {} if whole is None else output_readers(whole, model)
    masks: dict[Tensor, Tensor] = {}
    for reader in readers.values():
        unread = torch.ones(reader.weight.shape[1], dtype=torch.bool)  # on the host, which need not wait to look at it
        for window in map(model.output, archs):
            for start, length in window.spans():
                unread[start : start + length] = False
        if unread.any():
            masks[reader.weight] = unread.to(reader.weight.device, non_blocking=True).expand_as(reader.weight)
    return masks


def _buffers(optimizer: torch.optim.Optimizer, parameter: Tensor) -> list[Tensor]:
    state = optimizer.state.get(parameter, {})
    return [v for v in state.values() if isinstance(v, Tensor) and v.shape == parameter.shape]
