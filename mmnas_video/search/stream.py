"""BatchStream: a search's own endless stream of batches beside the training one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner

from mmnas_video.datasets import (
    MAX_SHARE,
    BadSampleCounter,
    close_workers,
    derive_seed,
    outlive_sigterm_from_the_start,
)
from mmnas_video.errors import ConfigError


class BatchStream:
    """Endless batches in an order that is a function of (seed, pass), resumable at any batch.

    With ``num_workers`` batches are loaded ahead (``prefetch_factor`` of each worker, by default 2) while the training
    step runs, across the ends of passes too. Without, each is loaded when it is asked for: a thread beside the training
    would draw from the generators that the training's dropout draws from.

    Args:
        loader: DataLoader config as MMEngine knows it, without a sampler: an ``EndlessSampler`` is put in. Its dataset
            may be a config or a dataset.
        seed: the run's seed.
        purpose: what the stream is for; streams of different purposes have different orders.
        source: config key for errors.
        max_bad_share: share of the clips that may be unreadable; they are skipped and named in the log.
        shared: whether several ranks share the clips; else each gets the batches that one rank alone would get.

    Raises:
        ConfigError: a sampler in the config, or a dataset that is missing or empty.
    """

    def __init__(
        self,
        loader: Mapping[str, Any],
        seed: int,
        purpose: str,
        source: str,
        max_bad_share: float = MAX_SHARE,
        shared: bool = True,
    ) -> None:
        built = {} if isinstance(loader.get('dataset', {}), Mapping) else {'dataset': loader['dataset']}  # not copied
        cfg = ConfigDict({**copy.deepcopy({k: v for k, v in loader.items() if k not in built}), **built})
        if cfg.pop('sampler', None) is not None:
            raise ConfigError(
                f'{source}.sampler: found a sampler, expected none: the search draws from an endless, '
                'resumable one of its own'
            )
        cfg.sampler = dict(type='EndlessSampler', shuffle=True, shared=shared)
        cfg.setdefault('collate_fn', dict(type='skip_bad_collate'))
        self.seed = derive_seed(seed, purpose) % (1 << 31)  # numpy's generators, seeded in the workers, take 32 bits
        self.loader = Runner.build_dataloader(cfg, seed=self.seed)
        # Otherwise starting the workers would draw from the global generator.
        self.loader.generator = torch.Generator().manual_seed(self.seed)
        outlive_sigterm_from_the_start(self.loader)
        if getattr(self.dataset, 'seed', 0) is None:
            self.dataset.seed = self.seed
        self._bad = BadSampleCounter(source, len(self.loader.dataset), max_bad_share)
        self.consumed = 0
        self._batches: Iterator[dict[str, Any]] | None = None

    @property
    def dataset(self) -> Any:
        """The dataset, for checks."""
        return self.loader.dataset

    def __next__(self) -> dict[str, Any]:
        """The next batch, as the DataLoader gives it (not preprocessed)."""
        if self._batches is None:
            self.loader.sampler.start = self.consumed * self.loader.batch_size
            self._batches = iter(self.loader)
        batch = next(self._batches)
        self.count_bad(batch)
        self.consumed += 1
        return batch

    def part(self, numbers: range) -> Iterator[dict[str, Any]]:
        """The batches of these numbers, from the stream's beginning, and none loaded beyond them; unreadable clips are
        still named in them (:meth:`count_bad`). The workers end with the iterator."""
        self.loader.sampler.only(numbers, self.loader.batch_size)
        try:
            self._batches = iter(self.loader)
            yield from self._batches
        finally:
            self.close()
            self.loader.sampler.only(None)

    def count_bad(self, batch: dict[str, Any]) -> None:
        """Take the names of unreadable clips out of a batch of :meth:`part`, and count them.

        Raises:
            ConfigError: they are too many.
        """
        self._bad.take(batch)

    def close(self) -> None:
        """End the workers; the stream can be drawn from again."""
        close_workers(self.loader, self._batches)
        self._batches = None

    def state_dict(self) -> dict[str, int]:
        """How many batches have been consumed."""
        return {'consumed': self.consumed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue after as many batches, without decoding them."""
        self.consumed, self._batches = state['consumed'], None
