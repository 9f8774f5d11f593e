"""ForwardClock: how much of the time a search that only scores spends in forward passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class ForwardClock:
    """Seconds in the forward passes of a module, and seconds in all.

    On an accelerator it waits for the device before and after each pass: scoring waits for it anyway, and otherwise a
    pass would only count as long as it takes to be queued.

    Args:
        model: the module.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.restart()

    def restart(self) -> None:
        """Both counts from zero, from now."""
        self.forward = 0.0
        self._since = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the last restart."""
        return time.perf_counter() - self._since

    @property
    def overhead(self) -> float:
        """Share of the time that was not spent in forward passes."""
        return 1 - self.forward / self.total

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the passes within a block."""
        started: list[float] = []

        def before(*_: object) -> None:
            started.append(self._now())

        def after(*_: object) -> None:
            self.forward += self._now() - started.pop()

        handles = self.model.register_forward_pre_hook(before), self.model.register_forward_hook(after)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _now(self) -> float:
        if next(self.model.parameters()).is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()
