"""ForwardClock: how much of the time a search that only scores spends in forward passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class ForwardClock:
    """Seconds in the forward passes of a module, and seconds in all.

    On a GPU events in its queue tell, since a pass would else only count as long as it takes to be queued; it is waited
    for when the sum is asked for.

    Args:
        model: the module.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.restart()

    def restart(self) -> None:
        """Both counts from zero, from now."""
        self._passes: list[tuple[Any, Any]] = []
        self._since = time.perf_counter()

    @property
    def forward(self) -> float:
        """Seconds in forward passes since the last restart."""
        if (device := self._gpu()) is None:
            return sum(end - start for start, end in self._passes)
        torch.cuda.synchronize(device)
        return sum(start.elapsed_time(end) for start, end in self._passes) / 1e3

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
        started: list[Any] = []

        def before(*_: object) -> None:
            started.append(self._now())

        def after(*_: object) -> None:
            self._passes.append((started.pop(), self._now()))

        handles = self.model.register_forward_pre_hook(before), self.model.register_forward_hook(after)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _now(self) -> Any:
        if (device := self._gpu()) is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        return event

    def _gpu(self) -> torch.device | None:
        device = next(self.model.parameters()).device
        return device if device.type == 'cuda' else None
