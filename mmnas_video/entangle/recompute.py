"""Activation checkpointing where other weights may stand in the place of a layer's parameters."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .norm import kept_statistics


def recomputed(layer: nn.Module, *args: Any) -> Any:
    """``layer(*args)``, computed again in the backward pass instead of kept, then with the weights of now.

    A backward pass comes when :class:`~.local.LocalWeights` have been taken away again. Running statistics have moved
    by then, and do not move a second time.
    """
    if torch.compiler.is_compiling():  # a graph has the weights and the statistics of its forward pass as they were
        return checkpoint(layer, *args, use_reentrant=False)
    return checkpoint(layer, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _AsOfNow(layer)))


class _AsOfNow:
    """A module with the parameters (or what stands in their place) that it has when this is made, for a block that
    leaves its running statistics alone. Entered once for every backward pass through the same graph.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._now = [(m._parameters, dict(m._parameters)) for m in layer.modules() if m._parameters]
        self._later: list[dict[str, Any]] = []
        self._block = ExitStack()

    def __enter__(self) -> None:
        self._block.enter_context(kept_statistics(self._layer))
        self._later = [dict(place) for place, _ in self._now]
        for place, weights in self._now:
            place.update(weights)

    def __exit__(self, *error: object) -> None:
        for (place, _), weights in zip(self._now, self._later, strict=True):
            place.update(weights)
        self._block.close()
