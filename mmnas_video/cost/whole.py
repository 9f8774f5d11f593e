"""Cost of a whole recognizer: the closed form of what is searched, and the rest counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .cost import Cost
from .counter import count


def rest_cost(model: Any, searchable: Any, shape: Sequence[int]) -> Cost:
    """MACs and parameters of everything in ``model`` but ``searchable``, for one clip of ``shape`` (C, T, H, W).

    Neck and head see the searchable part's output, whose shape does not depend on the architecture; so torch's counter
    runs once, on the meta device, and any architecture's total is this plus its closed form.
    """
    if model is searchable:
        return Cost()
    searchable.cost(searchable.space.smallest, tuple(shape))  # says in its own words what is wrong with a shape
    clip = torch.zeros(1, 1, *shape, device='meta')  # (batch, clips, C, T, H, W) as a Recognizer3D takes it

    def forward(twin: Any, x: torch.Tensor) -> Any:
        return twin(x, mode='tensor', stage='head')

    total, _ = count(model, clip, forward=forward)
    inside, _ = count(searchable, clip[0])
    return Cost(total.macs - inside.macs, total.params - inside.params)


def total_cost(model: Any, searchable: Any, arch: Mapping[str, Any], shape: Sequence[int]) -> Cost:
    """Cost of the whole recognizer at ``arch``."""
    return searchable.cost(arch, tuple(shape)) + rest_cost(model, searchable, shape)
