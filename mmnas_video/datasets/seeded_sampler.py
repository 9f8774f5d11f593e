"""Orders of the data that are functions of (seed, pass): one for epochs, one without end."""

import math
from collections.abc import Iterator, Sized
from itertools import count, islice

import numpy as np
import torch
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler, Subset

from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATA_SAMPLERS
from mmnas_video.runner_state import whole_dataset

from .seed import derive_seed

#: Datasets that take an index alone.
PLAIN = (BaseDataset, Subset, torch.utils.data.ConcatDataset, ConcatDataset, RepeatDataset, ClassBalancedDataset)


class _Order:
    """The order of pass ``number`` on one rank: a permutation of the whole set, dealt out like cards.

    With ``round_up`` the pass is filled up from its own start, so that every rank gets as many samples. Not ``shared``,
    every rank gets all of them.
    """

    def __init__(self, dataset: Sized, shuffle: bool, seed: int | None, round_up: bool, shared: bool = True) -> None:
        _check_takes_pairs(dataset)
        # MMEngine's num_batch_per_epoch says how many samples there are, also where the list is shorter than that.
        self.size = min(len(dataset), len(whole_dataset(dataset)))
        if self.size == 0:
            raise ConfigError('dataset: found no sample to draw from, expected at least 1.')
        self.shuffle, self.seed = shuffle, seed or 0
        _hand_on(self.seed, dataset)
        self.rank, self.world_size = get_dist_info() if shared else (0, 1)
        self.total = math.ceil(self.size / self.world_size) * self.world_size if round_up else self.size

    def __len__(self) -> int:
        return len(range(self.rank, self.total, self.world_size))

    def of_pass(self, number: int) -> list[int]:
        rng = np.random.default_rng(derive_seed(self.seed, 'order', number))
        order = rng.permutation(self.size) if self.shuffle else np.arange(self.size)
        return np.resize(order, self.total)[self.rank :: self.world_size].tolist()


def _check_takes_pairs(dataset: Sized) -> None:
    """Refuse what is known to take an index alone: torch says so at the first batch, in words of its own."""
    dataset = whole_dataset(dataset)
    if getattr(type(dataset), '__getitem__', None) in [kind.__getitem__ for kind in PLAIN]:
        raise ConfigError(
            f'dataset: found a {type(dataset).__name__}, which takes an index alone, expected a SeededDataset itself, '
            'or a JointDataset of several: this sampler yields (epoch, index). Lists of the same classes are joined in '
            'one ann_file; part of a list is held_out=dict(...) of a SeededDataset.'
        )


def _hand_on(seed: int, dataset: Sized) -> None:
    """Give a ``SeededDataset`` without a seed this one: here, because the Runner tells samplers its seed and
    no dataset, and because an iteration-based loop starts its workers before the first hook runs."""
    dataset = whole_dataset(dataset)
    if getattr(dataset, 'seed', seed) is None:
        dataset.seed = seed


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """Yield (epoch, index) once for every sample, in an order that is a function of (seed, epoch).

    The epoch travels with the index because workers that persist never see ``set_epoch``. Sharded over ranks
    as MMEngine's ``DefaultSampler`` does. No generator is kept, so there is nothing to save.

    Args:
        dataset: ``SeededDataset``, ``JointDataset`` or another whose items are asked for by (epoch, index).
        shuffle: False gives the list's own order in every epoch.
        seed: the same on all ranks; the Runner passes its own. None is 0.
        round_up: repeat a few samples so that all ranks get as many.

    Raises:
        ConfigError: an empty dataset, or one of MMEngine's or torch's that takes an index alone.
    """

    reproducible = True

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True) -> None:
        self.dataset = dataset
        self.order = _Order(dataset, shuffle, seed, round_up)
        self.epoch = 0
        self._begin = (0, 0)  # (epoch, samples of it on this rank that lie behind)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        done = self._begin[1] if self._begin[0] == epoch else 0
        return ((epoch, index) for index in self.order.of_pass(epoch)[done:])

    def __len__(self) -> int:
        """Samples of this rank."""
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives; MMEngine calls it."""
        self.epoch = epoch

    def go_to(self, epoch: int, done: int) -> None:
        """Begin the iteration of ``epoch`` after ``done`` samples of this rank: a resume within the epoch."""
        self.epoch, self._begin = epoch, (epoch, done)


@DATA_SAMPLERS.register_module()
class EndlessSampler(Sampler):
    """Yield (pass, index) without end; the order of each pass is a function of (seed, pass).

    For a stream that a hook draws from at its own pace. To resume after n batches of size b set
    ``start = n * b`` before iterating: the stream goes on there, and nothing that was used is decoded again.
    (What the workers had fetched in advance does not count: count the batches that were used.)

    Args:
        dataset: ``SeededDataset``, ``JointDataset`` or another whose items are asked for by (epoch, index).
        shuffle: False gives the list's own order in every pass.
        seed: the same on all ranks; the Runner passes its own. None is 0.
        start: how many samples *of this rank* lie behind, over all passes.
        shared: whether the ranks share the samples of a pass; else each gets all.

    Every pass is filled up to as many samples on every rank. ``len`` is one pass of this rank.

    Raises:
        ConfigError: as of :class:`SeededSampler`.
    """

    reproducible = True

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None, start: int = 0, shared: bool = True
    ) -> None:
        self.order = _Order(dataset, shuffle, seed, round_up=True, shared=shared)
        self.start = start
        self._runs, self._size = None, 1

    def only(self, runs: range | None, size: int = 1) -> None:
        """From the next iteration on give, of what follows ``start``, only the runs of ``size`` samples with these
        numbers, and end after them; None gives everything again."""
        self._runs, self._size = runs, size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if self._runs is None:
            return self._endless()
        found = islice(self._endless(), len(self._runs) and (self._runs[-1] + 1) * self._size)
        return (key for number, key in enumerate(found) if number // self._size in self._runs)

    def _endless(self) -> Iterator[tuple[int, int]]:
        first, skip = divmod(self.start, len(self.order))
        for number in count(first):
            for index in self.order.of_pass(number)[skip:]:
                yield number, index
            skip = 0

    def __len__(self) -> int:
        """Samples of this rank in one pass."""
        return len(self.order)
