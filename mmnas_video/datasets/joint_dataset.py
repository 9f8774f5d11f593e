"""Several datasets under their names, as one that a DataLoader takes."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmnas_video.errors import ConfigError, check_dataset_names
from mmnas_video.registry import DATASETS, class_of

from .bad_sample import BadSample
from .checks import HOW, check_not_empty
from .redraw import add_redrawn
from .seed import derive_seed
from .seeded_dataset import SeededDataset
from .video_ids import among, hashes, is_image, read_list, video_id

OVERLAP = ('error', 'drop')
Key = tuple[str, int, int]


@DATASETS.register_module()
class JointDataset(Dataset):
    """Join named datasets, each with its own list, pipeline and classes; a batch comes from one of them.

    ``JointBatchSampler`` draws the batches in training, ``TaskByTaskBatchSampler`` in validation. Every sample
    says in ``data_samples.task`` which dataset it is of, and in ``.draw`` under which seed it was drawn. Its
    ``inputs`` are views × C × T × H × W, with T = 1 for an image (``ImageAsClip``), so one recognizer takes all.

    Args:
        datasets: name → config of a dataset of MMAction2 or mmpretrain, or of a ``SeededDataset`` around it; or a
            list of such configs, each with a ``name``. A config may hold a ``held_out`` of its own.
        held_out: as in ``SeededDataset``, for all datasets; a dataset's own entries win. Here a file is named by
            its video (``by='video'``), so that two datasets which share videos hold out nearly the same ones.
        validation: name → annotation list whose videos may not be in this dataset. For training data: the
            official validation lists. An image is the same if its path below ``data_prefix`` is: leave out lists of
            sets that number their images anew for validation.
        overlap: what to do with clips whose video stands in a list of ``validation``, or is held out in another
            of ``datasets``: ``'error'`` or ``'drop'`` (the log says how many).
        seed: of the samples; None takes that of the sampler, which is the run's. Each dataset gets a seed of
            its own from it.
        config_key: where this stands in the config, for messages.

    Raises:
        ConfigError: two datasets of one name, a dataset that is missing or has no clip, overlapping lists.
    """

    reproducible = True

    def __init__(
        self,
        datasets: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        held_out: Mapping[str, Any] | None = None,
        validation: Mapping[str, str] | None = None,
        overlap: str = 'error',
        seed: int | None = None,
        config_key: str = 'train_dataloader.dataset',
    ) -> None:
        self.key, self.overlap = config_key, overlap
        if overlap not in OVERLAP:
            raise ConfigError(f'{config_key}.overlap: found {overlap!r}, expected one of {", ".join(OVERLAP)}.')
        named = named_configs(datasets, f'{config_key}.datasets')
        #: Name → the dataset of that name.
        self.parts = {name: _part(cfg, held_out, f'{config_key}.datasets.{name}') for name, cfg in named.items()}
        self._own_seed = {name: part.seed is not None for name, part in self.parts.items()}
        self.seed = seed
        self._keep_apart(validation or {})
        check_not_empty({part.key: range(len(part)) for part in self.parts.values()})

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names, in the order of the config."""
        return tuple(self.parts)

    def alone(self, task: str) -> 'JointDataset':
        """One dataset of them, by itself, without the clips that the others keep from it; a seed of its own."""
        view = copy.copy(self)
        view.parts = {task: self.parts[task]}
        return view

    @property
    def seed(self) -> int | None:
        """Seed of the samples; the sampler sets it where the config gives none."""
        return self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        self._seed = seed
        for name, part in self.parts.items():
            if not self._own_seed[name]:
                part.seed = None if seed is None else derive_seed(seed, 'task', name)

    def __len__(self) -> int:
        """Clips of all datasets."""
        return sum(len(part) for part in self.parts.values())

    def __getitem__(self, key: Key | tuple[int, int]) -> Any:
        """Return sample ``index`` of dataset ``task`` as ``epoch`` draws it, or a :class:`BadSample`.

        Args:
            key: (task, epoch, index); where one dataset is joined also (epoch, index).
        """
        task, epoch, index = self._read(key)
        part = self.parts[task]
        sample = part[(epoch, index)]
        if isinstance(sample, BadSample):
            return sample
        _check_sample(sample, part.dataset_key)
        sample['data_samples'].set_metainfo({'task': task, 'draw': part.sample_seed(epoch, index)})
        return sample

    def __getitems__(self, keys: Sequence[Key | tuple[int, int]]) -> list[Any]:
        """A batch, as torch's DataLoader asks for it; see :meth:`SeededDataset.__getitems__`. What is drawn is of the
        same dataset."""
        samples = [self[key] for key in keys]
        task, epoch, index = self._read(keys[0])
        part = self.parts[task]
        if part.dataset.test_mode:
            return samples
        return add_redrawn(samples, lambda key: self[(task, *key)], part.seed, epoch, index, len(part))

    @property
    def metainfo(self) -> dict[str, Any]:
        """The names, and each dataset's own meta information under its name."""
        return {'tasks': self.tasks, **{name: part.metainfo for name, part in self.parts.items()}}

    def full_init(self) -> None:
        """Do nothing: the lists were read when this was made (MMEngine calls it on every dataset)."""

    def file_ids(self) -> list[str]:
        """Absolute paths of all files, for :func:`check_disjoint`."""
        return [path for part in self.parts.values() for path in part.file_ids()]

    def file_hashes(self) -> np.ndarray:
        """Hash of each of :meth:`file_ids`, (samples,) uint64."""
        return np.concatenate([part.file_hashes() for part in self.parts.values()])

    def ids(self) -> np.ndarray:
        """Hash of each sample's video, dataset after dataset, (samples,) uint64."""
        return np.concatenate([part.ids() for part in self.parts.values()])

    def _read(self, key: Any) -> Key:
        if isinstance(key, tuple) and len(key) == 3:
            return key
        if len(self.parts) == 1 and isinstance(key, tuple):
            return (self.tasks[0], *key)
        loader = self.key.rsplit('.', 1)[0]
        raise ConfigError(
            f"{loader}.batch_sampler: found none that names a dataset, expected dict(type='JointBatchSampler') in "
            "training or dict(type='TaskByTaskBatchSampler') in validation: a batch comes from one dataset."
        )

    def _keep_apart(self, validation: Mapping[str, str]) -> None:
        """Refuse or drop what validation lists, or the held-out parts of the other datasets, have too."""
        listed = {
            f'the validation list {name}': {video_id(one) for one in read_list(path, f'{self.key}.validation.{name}')}
            for name, path in validation.items()
        }
        held = {
            name: part.other_ids()
            for name, part in self.parts.items()
            if part.held_out is not None and part.held_out.part == 'train'
        }
        for name, part in self.parts.items():
            others = {f'the held-out part of {other}': ids for other, ids in held.items() if other != name}
            barred = {what: hashes([*names, *part.placed(filter(is_image, names))]) for what, names in listed.items()}
            for what, ids in {**barred, **others}.items():
                self._bar(part, ids, what)

    def _bar(self, part: SeededDataset, ids: np.ndarray, what: str) -> None:
        before = len(part)
        shared = np.flatnonzero(among(part.ids(), ids))
        if not len(shared):
            return
        name = part.key
        if part.held_out is not None and part.held_out.part == 'held_out':
            name += ', held-out part'  # a search holds it out of the training's list, under the same key
        if self.overlap == 'error':
            first = ', '.join(part.file_of(int(index)) for index in shared[:3])
            raise ConfigError(
                f'{name}: found {len(shared)} of {before} clips whose video is also in {what} ({first}'
                f"{', …' if len(shared) > 3 else ''}), expected none. Set {self.key}.overlap='drop' to leave them "
                'out, or write clean lists with python tools/data/check_overlap.py.'
            )
        part.drop(ids)
        text = f'{name}: dropped {len(shared)} of {before} clips whose video is also in {what}'
        print_log(text, 'current', logging.WARNING)


def are_named(datasets: Any) -> bool:
    """Whether what stands under ``datasets`` is a ``JointDataset``'s, and no unnamed list as a ``ConcatDataset``'s."""
    return isinstance(datasets, Mapping) or any('name' in cfg for cfg in datasets or ())


def named_configs(datasets: Mapping[str, Any] | Sequence[Mapping[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """The configs of ``JointDataset.datasets`` by name; in a list of them a name can stand twice.

    Args:
        datasets: name → config, or configs with a ``name``.
        key: where they stand in the config, for messages.

    Raises:
        ConfigError: no dataset, two of one name, a name that is none or that a metric or loss cannot have.
    """
    if isinstance(datasets, Mapping):
        pairs = [(name, dict(cfg)) for name, cfg in datasets.items()]
    else:
        pairs = [(cfg.get('name'), {k: v for k, v in cfg.items() if k != 'name'}) for cfg in datasets]
    names = [name for name, _ in pairs]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f'{key}: found two datasets of the name {", ".join(twice)}, expected a name for each.')
    if not pairs:
        raise ConfigError(f'{key}: found no dataset, expected at least 1. {HOW}')
    check_dataset_names(key, names)
    return dict(pairs)


def merged_held_out(common: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The ``held_out`` of one of several datasets: what all have in common, and the entries of its own before these."""
    for given in (common, own):
        if not isinstance(given, Mapping | None):
            return given  # is refused where it is read
    if not common and 'part' not in (own or {}):  # an own fraction says nothing where nothing is split
        return None
    return {'by': 'video', **(common or {}), **(own or {})}


def _part(cfg: Mapping[str, Any], held_out: Mapping[str, Any] | None, key: str) -> SeededDataset:
    cfg = copy.deepcopy(dict(cfg))
    held = merged_held_out(held_out, cfg.pop('held_out', None))
    if class_of(cfg, DATASETS) is SeededDataset:
        return DATASETS.build({**cfg, 'held_out': held, 'config_key': key})
    return SeededDataset(cfg, held_out=held, config_key=key, dataset_key=key)


def _check_sample(sample: Any, key: str) -> None:
    inputs = sample.get('inputs') if isinstance(sample, dict) else None
    if 'data_samples' not in (sample or ()) or getattr(inputs, 'ndim', 0) != 5:
        shape = tuple(inputs.shape) if hasattr(inputs, 'shape') else type(inputs).__name__
        raise ConfigError(
            f'{key}.pipeline: found a sample whose inputs are {shape}, expected views x C x T x H x W and a '
            "data_samples: end the pipeline with FormatShape(input_format='NCTHW') and PackActionInputs, and put "
            'ImageAsClip before them if it loads images.'
        )
