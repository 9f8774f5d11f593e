"""Activation checkpointing where other weights may stand in the place of a layer's parameters."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, *args: Any) -> Any:
    """``layer(*args)``, computed again in the backward pass instead of kept, then with the weights of now.

    A backward pass comes when :class:`~.local.LocalWeights` have been taken away again.
    """
    return checkpoint(layer, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _WeightsOfNow(layer)))


class _WeightsOfNow:
    """The parameters (or what stands in their place) of a module as they are when this is made, for a block."""

    def __init__(self, layer: nn.Module) -> None:
        self._now = [(m._parameters, dict(m._parameters)) for m in layer.modules() if m._parameters]
        self._later: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        self._later = [dict(place) for place, _ in self._now]
        for place, weights in self._now:
            place.update(weights)

    def __exit__(self, *error: object) -> None:
        for (place, _), weights in zip(self._now, self._later, strict=True):
            place.update(weights)
