"""Which dataset gives the batch of each training step: a function of (seed, step)."""

from collections.abc import Iterator, Mapping

import numpy as np

from mmnas_video.errors import ConfigError

from .seed import derive_seed

BLOCK = 4096  # steps that are drawn together


class TaskSchedule:
    """Draws a dataset for every step, independently, with probability p_i (VIM-NAS, Sec. 3.2).

    Nothing is remembered between steps: any step can be asked for, in a time that hardly grows with its number
    (one million: some 10 ms), and the same on every rank.

    Args:
        weights: name → p_i; they sum to 1.
        seed: the same on all ranks.
        first: the dataset that gives all batches of the first ``first_steps`` steps; None for no such time.
        first_steps: how many those are.
        turns: draw nothing; the datasets take turns (for trial runs of a few steps).
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        seed: int,
        first: str | None = None,
        first_steps: int = 0,
        turns: bool = False,
    ) -> None:
        self.tasks, self.seed, self.turns = tuple(weights), seed, turns
        self.first = first
        self._first = None if first is None else self.tasks.index(first)
        self.first_steps = 0 if first is None else first_steps
        bounds = np.cumsum([weights[task] for task in self.tasks], dtype=np.float64)
        self._bounds = bounds / bounds[-1]  # the last is exactly 1, above every draw

    def task(self, step: int) -> str:
        """The dataset of one step."""
        return next(self.walk(step))[0]

    def counts(self, step: int) -> dict[str, int]:
        """How many batches each dataset has given before ``step``."""
        counts = np.zeros(len(self.tasks), np.int64)
        for low in range(0, step, BLOCK):
            drawn = self._block(low // BLOCK)[: step - low]
            counts += np.bincount(drawn, minlength=len(self.tasks))
        return dict(zip(self.tasks, counts.tolist(), strict=True))

    def walk(self, step: int) -> Iterator[tuple[str, int]]:
        """From ``step`` on without end: the step's dataset, and how many batches that one gave before."""
        counts = self.counts(step)
        while True:
            for index in self._block(step // BLOCK)[step % BLOCK :]:
                task = self.tasks[index]
                yield task, counts[task]
                counts[task] += 1
                step += 1

    def _block(self, number: int) -> np.ndarray:
        """The datasets' numbers for BLOCK steps from ``number * BLOCK`` on."""
        if self.turns:
            return np.arange(number * BLOCK, (number + 1) * BLOCK) % len(self.tasks)
        draws = np.random.default_rng(derive_seed(self.seed, 'tasks', number)).random(BLOCK)
        drawn = np.searchsorted(self._bounds, draws, side='right')
        if self._first is not None:
            drawn[: max(0, self.first_steps - number * BLOCK)] = self._first
        return drawn


def check_task_weights(weights: Mapping[str, float], tasks: tuple[str, ...], key: str) -> dict[str, float]:
    """Demand a weight for each dataset, none negative, summing to 1; returns them in the datasets' order.

    Raises:
        ConfigError: a name that is missing or unknown, a negative weight, another sum.
    """
    check_task_names(weights, tasks, key)
    missing = [task for task in tasks if task not in weights]
    if missing:
        raise ConfigError(f'{key}: found no weight for {", ".join(missing)}, expected one for each dataset.')
    for task, weight in weights.items():
        if not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            raise ConfigError(f'{key}.{task}: found {weight!r}, expected a number from 0 to 1.')
    total = sum(weights.values())
    if abs(total - 1) > 1e-6:
        raise ConfigError(f'{key}: found weights that sum to {total:g}, expected 1.')
    return {task: float(weights[task]) for task in tasks}


def check_task_names(named: Mapping[str, object], tasks: tuple[str, ...], key: str) -> None:
    """Demand that ``named`` names only datasets there are.

    Raises:
        ConfigError: names the first other one.
    """
    for name in named:
        if name not in tasks:
            raise ConfigError(f'{key}: found the name {name!r}, expected one of {", ".join(tasks)}.')
