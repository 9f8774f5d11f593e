"""Batch samplers of a joint dataset: every batch from one of its datasets, the same one on all ranks.

They stand in the DataLoader's ``batch_sampler``, beside a ``SeededSampler``, which MMEngine tells the seed and
the epoch, and yield (task, epoch, index), so that each sample is drawn under its own seed.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmnas_video.errors import ConfigError, check_number
from mmnas_video.registry import DATA_SAMPLERS
from mmnas_video.runner_state import whole_dataset

from .joint_dataset import JointDataset
from .seed import derive_seed
from .seeded_sampler import SeededSampler
from .task_schedule import TaskSchedule, check_task_names, check_task_weights

Batch = list[tuple[str, int, int]]
#: What the length of the time in which one dataset comes alone may be given in.
UNITS = ('share', 'epochs', 'steps')


@DATA_SAMPLERS.register_module()
class JointBatchSampler(Sampler):
    """Draw each training step's dataset with probability p_i, and its batch in the dataset's own shuffled order.

    The n-th batch of a dataset is a function of (seed, name, n): pass n // steps_i over its clips, in an order of
    that pass. A pass leaves out what does not fill a batch of all ranks together. So the state is the number of
    steps, and a resume decodes nothing; ``JointHook`` tells it that number.

    An epoch of MMEngine is ``steps_per_epoch`` steps, whatever they draw, also while one dataset comes first. With
    ``num_batch_per_epoch`` in the DataLoader's config (a trial run) the datasets take turns, each at least once.

    Args:
        sampler: the ``SeededSampler``; with ``shuffle=False`` each dataset keeps its list's order.
        batch_size: clips of a batch on one rank.
        batch_sizes: name → the same for one dataset.
        weights: name → p_i, summing to 1. By default p_i = steps_i / Σ steps (VIM-NAS, Sec. 3.2), where steps_i
            are the batches of one pass over dataset i.
        first: ``dict(dataset='in1k', share=1/3)``, ``dict(dataset='in1k', epochs=166)`` or ``dict(dataset='in1k',
            steps=1000)``: this dataset alone gives the batches of the first part of all steps (which follows
            ``train_cfg.max_epochs``), of the first epochs (a fraction is rounded to steps) or steps. Shorter than the
            training. ``JointHook`` tells how long that is; for a loop that counts iterations say ``steps``.
        steps_per_epoch: by default Σ steps_i.

    Raises:
        ConfigError: a sampler or dataset of another kind, a name that no dataset has, weights that do not sum to
            1, a dataset with fewer clips than a batch; in :meth:`of_steps` a ``first`` that takes all of the training,
            and at the first batch a ``share`` where no hook has told its length.
    """

    reproducible = True
    resumes_within_epoch = True  # what ReproducibleHook asks: masks are then a function of the iteration

    def __init__(
        self,
        sampler: SeededSampler,
        batch_size: int,
        batch_sizes: Mapping[str, int] | None = None,
        weights: Mapping[str, float] | None = None,
        first: Mapping[str, Any] | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.sampler = sampler
        dataset, trial = _joint(sampler, type(self).__name__)
        key = f'{dataset.key.rsplit(".", 1)[0]}.batch_sampler'
        self.rank, self.world_size = get_dist_info()
        self.clips = {task: len(part) for task, part in dataset.parts.items()}
        self.batches = _batch_sizes(batch_size, batch_sizes, dataset.tasks, self.world_size, f'{key}.batch_sizes')
        self.passes = {task: self.clips[task] // size for task, size in self.batches.items()}
        for task, steps in self.passes.items():
            if not steps:
                raise ConfigError(
                    f'{dataset.key}.datasets.{task}: found {self.clips[task]} clips, expected at least the '
                    f'{self.batches[task]} of a batch on {self.world_size} rank(s); set {key}.batch_sizes.{task}.'
                )
        total = sum(self.passes.values())
        shares = {task: steps / total for task, steps in self.passes.items()}
        self.weights = shares if weights is None else check_task_weights(weights, dataset.tasks, f'{key}.weights')
        whole = total if steps_per_epoch is None else _positive(steps_per_epoch, f'{key}.steps_per_epoch')
        seed, turns = sampler.order.seed, trial is not None
        self._first, self._first_key = None if turns else first, f'{key}.first'
        check_first(first, dataset.tasks, self._first_key)
        name, steps = (self._first or {}).get('dataset'), first_steps(self._first, whole)
        self.schedule = TaskSchedule(self.weights, seed, name, steps or 0, turns)
        self._told = steps is not None
        self._length = max(trial // (batch_size * self.world_size), len(dataset.tasks)) if turns else whole
        self._begin = (0, 0)  # (epoch, steps of it that lie behind)
        self._orders: dict[str, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """The batches of this rank from where :meth:`go_to` has set it to the end of that epoch; else of the whole
        epoch that the sampler was told."""
        if not self._told:
            raise ConfigError(
                f'{self._first_key}.share: found {self._first["share"]}, and nothing that says of how many steps; '
                "expected default_hooks=dict(joint=dict(type='JointHook')) and a train_cfg with max_epochs, or "
                f'{self._first_key}=dict(dataset=…, steps=…)'
            )
        epoch, done = self.sampler.epoch, self.begun
        steps = islice(self.schedule.walk(epoch * len(self) + done), len(self) - done)
        return (self._batch(task, number) for task, number in steps)

    @property
    def begun(self) -> int:
        """Steps of the epoch that lie behind where its iteration begins."""
        return self._begin[1] if self._begin[0] == self.sampler.epoch else 0

    def of_steps(self, total: int, trains: bool = True) -> None:
        """Say how many steps the whole run has, before it begins, and whether they train anything.

        Raises:
            ConfigError: the time of the first dataset alone would leave none of a training to the others.
        """
        self.schedule.first_steps = first_steps(self._first, len(self), total, self._first_key, trains)
        self._told = True

    def go_to(self, step: int, epoch: int | None = None) -> None:
        """Begin the next iteration after ``step`` steps of the run.

        Args:
            step: how many lie behind.
            epoch: the one that is to be finished; after its last step, an iteration of it is empty.

        Raises:
            ConfigError: the step does not lie in that epoch: the steps of an epoch have changed.
        """
        epoch = step // len(self) if epoch is None else epoch
        done = step - epoch * len(self)
        if not 0 <= done <= len(self):
            raise ConfigError(
                f'resume: found step {step} in epoch {epoch}, expected {epoch * len(self)} to '
                f'{(epoch + 1) * len(self)}: clips, batch sizes, ranks or steps_per_epoch are not those of the '
                'run that is resumed.'
            )
        self._begin = (epoch, done)
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """What the schedule is a function of, besides the step; the batch sizes are those of all ranks together."""
        return {
            'seed': self.sampler.order.seed,
            'clips': dict(self.clips),
            'batch': dict(self.batches),
            'weights': dict(self.weights),
            'first': [self.schedule.first, self.schedule.first_steps],
            'steps_per_epoch': len(self),
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Demand that a checkpoint's schedule is this one.

        Raises:
            ConfigError: names the first thing that differs.
        """
        for name, expected in self.state_dict().items():
            if state.get(name) != expected:
                raise ConfigError(
                    f'resume: found a checkpoint whose joint schedule has {name} = {state.get(name)}, expected '
                    f'{expected}: with other clips, batch sizes (over all ranks), weights, seed, or, where first has a '
                    'share, length (say its steps) it would not go on.'
                )

    def _batch(self, task: str, number: int) -> Batch:
        number, place = divmod(number, self.passes[task])
        size = self.batches[task]
        rows = self._order(task, number)[place * size : (place + 1) * size][self.rank :: self.world_size]
        return [(task, number, index) for index in rows.tolist()]

    def _order(self, task: str, number: int) -> np.ndarray:
        """The clips of pass ``number`` of one dataset, on all ranks the same; the pass at hand is kept."""
        if not self.sampler.order.shuffle:
            return np.arange(self.clips[task])
        kept = self._orders.get(task)
        if kept is None or kept[0] != number:
            rng = np.random.default_rng(derive_seed(self.sampler.order.seed, 'order', task, number))
            kept = self._orders[task] = (number, rng.permutation(self.clips[task]))
        return kept[1]


@DATA_SAMPLERS.register_module()
class TaskByTaskBatchSampler(Sampler):
    """Every clip once, dataset after dataset, no batch of two: for validation and test.

    Ranks share each dataset's clips without repeating any, so one rank may have a clip more than another;
    ``JointAccMetric`` counts them all.

    Args:
        sampler: the ``SeededSampler``, with ``shuffle=False``.
        batch_size: clips of a batch on one rank.
        batch_sizes: name → the same for one dataset.
    """

    reproducible = True

    def __init__(self, sampler: SeededSampler, batch_size: int, batch_sizes: Mapping[str, int] | None = None) -> None:
        self.sampler = sampler
        dataset, trial = _joint(sampler, type(self).__name__)
        key = f'{dataset.key.rsplit(".", 1)[0]}.batch_sampler.batch_sizes'
        rank, world_size = get_dist_info()
        sizes = _batch_sizes(batch_size, batch_sizes, dataset.tasks, 1, key)
        self._batches = [
            (task, rows[low : low + sizes[task]])
            for task, part in dataset.parts.items()
            for rows in [range(rank, len(part), world_size)]
            for low in range(0, len(rows), sizes[task])
        ]
        if trial is not None:  # a few batches of each dataset
            few = max(1, trial // (batch_size * world_size))
            self._batches = [
                batch for task in dataset.tasks for batch in [b for b in self._batches if b[0] == task][:few]
            ]

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of (task, 0, index)."""
        return ([(task, 0, index) for index in rows] for task, rows in self._batches)


def _joint(sampler: Any, name: str) -> tuple[JointDataset, int | None]:
    """The joint dataset under ``sampler``, and its length if ``num_batch_per_epoch`` cuts it for a trial run."""
    given = getattr(sampler, 'dataset', None)
    dataset = whole_dataset(given)
    trial = None if dataset is given else len(given)
    if not isinstance(sampler, SeededSampler):
        raise ConfigError(
            f"sampler: found {type(sampler).__name__}, expected dict(type='SeededSampler') with a {name}."
        )
    if not isinstance(dataset, JointDataset):
        raise ConfigError(f'dataset: found {type(dataset).__name__}, expected a JointDataset with a {name}.')
    return dataset, trial


def _batch_sizes(
    size: int, own: Mapping[str, int] | None, tasks: tuple[str, ...], ranks: int, key: str
) -> dict[str, int]:
    """Clips of a batch over ``ranks`` ranks, for each dataset."""
    check_task_names(own or {}, tasks, key)
    return {task: ranks * _positive((own or {}).get(task, size), f'{key}.{task}') for task in tasks}


def _positive(value: Any, key: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f'{key}: found {value!r}, expected a whole number of at least 1.')
    return value


def check_first(first: Mapping[str, Any] | None, tasks: tuple[str, ...], key: str) -> None:
    """Look at the option that says which dataset comes alone at first, and how long.

    Raises:
        ConfigError: names what it lacks, or a name or number that is none.
    """
    if first is None:
        return
    units = [unit for unit in UNITS if unit in first]
    if len(units) != 1 or set(first) != {'dataset', units[0]}:
        raise ConfigError(
            f'{key}: found {dict(first)}, expected dict(dataset=…, share=…), dict(dataset=…, epochs=…) or '
            'dict(dataset=…, steps=…).'
        )
    check_task_names({first['dataset']: None}, tasks, f'{key}.dataset')
    check_number(f'{key}.{units[0]}', first[units[0]], whole=False)


def first_steps(
    first: Mapping[str, Any] | None,
    epoch: int,
    total: int | None = None,
    key: str = 'train_dataloader.batch_sampler.first',
    trains: bool = True,
) -> int | None:
    """Steps in which one dataset comes alone; None for a share of steps that are not known.

    Args:
        first: as :func:`check_first` accepts it.
        epoch: steps of an epoch.
        total: of the whole training, if that is known.
        key: where ``first`` stands in the config, for messages.
        trains: whether the steps train anything; those of an evolution do not look at the batches.

    Raises:
        ConfigError: as many as the training has, or more.
    """
    if first is None:
        return 0
    (unit,) = (unit for unit in UNITS if unit in first)
    if unit == 'share' and total is None:
        return None
    steps = round(first[unit] * {'share': total, 'epochs': epoch, 'steps': 1}[unit])
    if trains and total is not None and steps >= max(total, 1):
        raise ConfigError(
            f'{key}.{unit}: found {first[unit]:g}, {steps:,} steps of {first["dataset"]} alone in a training of '
            f'{total:,}; expected fewer: nothing else would be trained (share=1/3 follows train_cfg.max_epochs)'
        )
    return steps
