"""Timing the blocks of networks while the whole networks run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

#: Runs of a network before the first that counts: memory, kernels and clocks settle.
WARM_UP = 2


class Timed(NamedTuple):
    """One run of a network: milliseconds of all of it, and of its blocks."""

    ms: float
    blocks: tuple[float, ...]


class Clock:
    """A clock of one device: :meth:`now` while it runs, :meth:`ms` between two of these when it is done.

    Where torch has one CPU thread, that thread's own time counts: the turns that other processes have do not.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._cuda = device, device.type == 'cuda'
        self._seconds = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter

    def now(self) -> Any:
        """A moment; on a GPU that at which its queue reaches it."""
        if not self._cuda:
            return self._seconds()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))  # of the current device it would be, by default
        return event

    def wait(self) -> None:
        """Until the device has done everything."""
        if self._cuda:
            torch.cuda.synchronize(self._device)

    def ms(self, start: Any, end: Any) -> float:
        """Milliseconds between two moments."""
        return start.elapsed_time(end) if self._cuda else 1e3 * (end - start)


class TimedNetwork:
    """A network, an input, and the blocks in it.

    Args:
        run: one pass of the network.
        modules: the blocks; one that a pass does not come by takes no time.
        device: where it runs.
    """

    def __init__(self, run: Callable[[], object], modules: Sequence[nn.Module], device: torch.device) -> None:
        self._run, self._modules, self._clock = run, tuple(modules), Clock(device)

    def __call__(self) -> Timed:
        """Time one pass."""
        self._clock.wait()
        with self._watched() as moments:
            start = self._clock.now()
            self._run()
            end = self._clock.now()
        self._clock.wait()
        spans = (moments.get(i, ()) for i in range(len(self._modules)))
        blocks = tuple(sum(self._clock.ms(*span) for span in found) for found in spans)
        return Timed(self._clock.ms(start, end), blocks)

    @contextmanager
    def _watched(self) -> Iterator[Mapping[int, list[tuple[Any, Any]]]]:
        """Per block the moments when it begins and ends."""
        begun: dict[int, Any] = {}
        moments: dict[int, list[tuple[Any, Any]]] = {}

        def begin(i: int) -> Callable[..., None]:
            return lambda *_: begun.__setitem__(i, self._clock.now())

        def end(i: int) -> Callable[..., None]:
            return lambda *_: moments.setdefault(i, []).append((begun[i], self._clock.now()))

        handles = []
        for i, module in enumerate(self._modules):
            handles += [module.register_forward_pre_hook(begin(i)), module.register_forward_hook(end(i))]
        try:
            yield moments
        finally:
            for handle in handles:
                handle.remove()


def fastest_runs(
    networks: Sequence[TimedNetwork], repeats: int, report: Callable[[int], object] = lambda _: None
) -> list[Timed]:
    """Of each network the fastest of ``repeats`` passes, whole, so that its blocks add up.

    The networks take turns: what disturbs the machine for a while disturbs all of them, and each in few of its passes.

    Args:
        networks: are timed.
        repeats: passes of each.
        report: called after every round with the number of rounds so far.
    """
    for network in networks:
        for _ in range(WARM_UP):
            network()
    rounds = []
    for done in range(1, repeats + 1):
        rounds.append([network() for network in networks])
        report(done)
    return [min(runs, key=lambda timed: timed.ms) for runs in zip(*rounds, strict=True)]
