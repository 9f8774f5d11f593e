"""The iterator of an ``IterBasedTrainLoop`` that goes on at a step, without decoding what lies before it."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from .joint_sampler import JointBatchSampler
from .workers import close_workers


class StepIterator:
    """Batches without end from ``step`` on, for MMEngine's ``IterBasedTrainLoop``.

    On a resume the loop asks for, and throws away, as many batches as iterations lie behind ("Advance
    dataloader"). These are answered at once, with None; only then the data begins, at its place.

    Args:
        loader: the loop's DataLoader.
        sampler: its batch sampler.
        step: iterations that lie behind.
        started: the loop's own iterator, which has begun at step 0 when the loop was made.
    """

    def __init__(self, loader: DataLoader, sampler: JointBatchSampler, step: int, started: Any) -> None:
        self._loader, self._sampler, self._step, self._skip = loader, sampler, step, step
        self._iterator: Iterator[Any] | None = getattr(started, '_iterator', None)
        if step:  # what its workers have begun to fetch is not wanted
            close_workers(loader, self._iterator)
            self._iterator = None

    def __iter__(self) -> 'StepIterator':
        return self

    def __next__(self) -> Any:
        """The next batch; None for each of those that lie behind."""
        if self._skip:
            self._skip -= 1
            return None
        while True:
            if self._iterator is None:
                self._sampler.go_to(self._step)
                self._iterator = iter(self._loader)
            try:
                batch = next(self._iterator)
            except StopIteration:  # the end of an epoch; workers that persist take the next one up
                if not self._loader.persistent_workers:
                    close_workers(self._loader, self._iterator)
                self._iterator = None
                continue
            self._step += 1
            return batch
