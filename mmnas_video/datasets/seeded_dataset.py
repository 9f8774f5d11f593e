"""A dataset whose samples are functions of (seed, epoch, index), and which names what it cannot read."""

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATASETS

from .bad_sample import MISTAKES, BadSample, bad_reason
from .checks import check_exact_frames, check_sources
from .files_in_work import FilesInWork
from .held_out import HeldOut, read_held_out
from .labels import Label
from .listing import Listing, absolute, listing_of
from .redraw import add_redrawn
from .seed import derive_seed, seeded
from .video_ids import among
from .workers import give_memory_back, outlive_sigterm


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Wrap a MMAction2 / MMEngine dataset: samples that can be repeated, held-out parts, bad files named.

    MMAction2's transforms draw from the global generators, whose state depends on which worker met which
    samples before. Here each sample is drawn under its own seed, and the generators are given back, so a
    sample is the same with any number of workers, in any order, before and after a resume. Workers are processes: the
    generators are a process's own, and threads that read at once disturb one another's samples.

    Args:
        dataset: config of (or) the dataset: ``VideoDataset``, ``RawframeDataset``, or any other with a
            ``pipeline``.
        seed: of the samples; None takes that of the sampler, which is the run's (0 without
            ``SeededSampler``, which training needs: ``check_drawn_anew``).
        held_out: ``dict(fraction=0.2, part='train' or 'held_out', seed=0)`` gives one part of the list; see
            ``HeldOut``. A ``pipeline`` beside these is what a search scores candidates through on the held-out clips.
        config_key: where this stands in the config, for messages.
        dataset_key: where ``dataset`` stands, if not under ``config_key``.

    Raises:
        ConfigError: the data is not there or cannot be listed: which path, which key, how to prepare it; or the
            pipeline decodes other frames than the sampled ones.
    """

    reproducible = True  # what ReproducibleHook asks of a dataset, a sampler and a batch sampler

    def __init__(
        self,
        dataset: dict[str, Any] | BaseDataset,
        seed: int | None = None,
        held_out: dict[str, Any] | None = None,
        config_key: str = 'train_dataloader.dataset',
        dataset_key: str | None = None,
    ) -> None:
        self.seed = seed
        self._in_work = FilesInWork(config_key)
        self.key, self.dataset_key = config_key, dataset_key or f'{config_key}.dataset'
        self.held_out = read_held_out(held_out, config_key)
        self.dataset = _build(dataset, self.dataset_key) if isinstance(dataset, dict) else dataset
        if not isinstance(self.dataset, BaseDataset):
            raise ConfigError(
                f'{self.dataset_key}: found a {type(self.dataset).__name__}, expected a dataset with a pipeline of its '
                'own. Lists of the same classes are joined in one ann_file, others in a JointDataset.'
            )
        check_exact_frames(self.dataset.pipeline.transforms, self.dataset_key)
        if self.held_out is not None and held_out.get('pipeline') and isinstance(dataset, dict):
            scored = _build({**dataset, 'pipeline': held_out['pipeline']}, f'{config_key}.held_out')
            check_exact_frames(scored.pipeline.transforms, f'{config_key}.held_out')
        if isinstance(dataset, dict):
            self.listing = listing_of(self.dataset, dataset, self.dataset_key, self.held_out)
            self.dataset = self.listing.seen_by(self.dataset)
        else:
            self.listing = Listing(self.dataset, self.dataset_key, self.held_out)
        self._rows = self._part(self.held_out)

    @property
    def labels(self) -> frozenset[Hashable]:
        """The classes that the list names."""
        return self.listing.labels

    @property
    def label_ends(self) -> tuple[Label, Label] | None:
        """The smallest and the largest of them; None where they are no numbers."""
        return self.listing.label_ends

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: int | tuple[int, int]) -> Any:
        """Return sample ``index`` as ``epoch`` draws it, or a :class:`BadSample` if its file cannot be read.

        Args:
            key: (epoch, index) as :class:`SeededSampler` yields it, or an index alone for epoch 0.
        """
        outlive_sigterm()
        give_memory_back()
        epoch, index = key if isinstance(key, tuple) else (0, key)
        index = range(len(self))[index]  # IndexError, and -1 for the last
        with seeded(self.sample_seed(epoch, index)):
            return self._load(int(self._rows[index]))

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[Any]:
        """A batch, as torch's DataLoader asks for it. If none of its files can be read, one more clip is drawn, from
        the seed; not in a dataset with ``test_mode``, where it would count twice."""
        samples = [self[key] for key in keys]
        if self.dataset.test_mode or not keys:
            return samples
        epoch, index = keys[0] if isinstance(keys[0], tuple) else (0, keys[0])
        return add_redrawn(samples, self.__getitem__, self.seed, epoch, index, len(self))

    def sample_seed(self, epoch: int, index: int) -> int:
        """The seed under which ``epoch`` draws sample ``index``."""
        return derive_seed(self.seed or 0, 'sample', epoch, index)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Meta information of the wrapped dataset."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Do nothing: the list was read when this was made (MMEngine calls it on every dataset)."""

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return the annotation of sample ``index`` of this part."""
        return self.dataset.get_data_info(int(self._rows[index]))

    def file_ids(self) -> list[str]:
        """Return what identifies each sample's file, for :func:`check_disjoint`: its absolute path."""
        return list(absolute(self.file_of(index) for index in range(len(self))))

    def file_hashes(self) -> np.ndarray:
        """Hash of each of :meth:`file_ids`, (samples,) uint64: kept, where paths are put together anew."""
        return self.listing.files[self._rows]

    def file_of(self, index: int) -> str:
        """Path of sample ``index``, as listed."""
        return self.listing.path_of(self.get_data_info(index))

    def ids(self) -> np.ndarray:
        """Hash of each sample's :func:`video_id`, (samples,) uint64: equal in every dataset that has the video."""
        return self.listing.ids[self._rows]

    def other_ids(self) -> np.ndarray:
        """As :meth:`ids`, of the listed clips that are not in this part: those of the other part, if it is split."""
        return np.delete(self.listing.ids, self._rows)

    def placed(self, names: Iterable[str]) -> list[str]:
        """Files of another list, as this dataset would name them: below its data prefix."""
        prefixes = self.listing.prefixes()
        return [os.path.join(*prefixes[:1], name) for name in names]

    def drop(self, ids: np.ndarray) -> int:
        """Leave out the samples whose video is among ``ids`` (hashes); returns how many. Before any sampler is made."""
        keep = ~among(self.ids(), ids)
        self._rows = self._rows[keep]
        return int((~keep).sum())

    def _part(self, part: HeldOut | None) -> np.ndarray:
        rows = self.listing.rows(part)
        if not len(rows):
            raise ConfigError(
                f"{self.key}.held_out: found part '{part.part}' of {len(self.listing.ids)} clips empty, expected "
                'at least 1 clip. A class needs 2 clips to be split.'
            )
        return rows

    def _load(self, row: int) -> Any:
        """Run the pipeline step by step: an error before there are pictures is the file's, a later one is
        not."""
        sample: Any = self.dataset.get_data_info(row)
        path = self.listing.path_of(sample)
        steps = self.dataset.pipeline.transforms
        if type(self.dataset).prepare_data is not BaseDataset.prepare_data:
            steps = [lambda _: self.dataset.prepare_data(row)]  # its own way of loading is one step
        with self._in_work.on(path):
            return _run(steps, sample, path)


def _run(steps: Sequence[Callable[[Any], Any]], sample: Any, path: str) -> Any:
    for step in steps:
        try:
            sample = step(sample)
        except MISTAKES:
            raise
        except Exception as error:  # decord's own errors derive from nothing narrower
            if 'imgs' in sample or 'img' in sample:
                raise
            return BadSample(path, bad_reason(path, error))
        if sample is None:
            return BadSample(path, f'{type(step).__name__} gave no sample')
    return sample


def _build(cfg: dict[str, Any], key: str) -> Any:
    check_sources(cfg, key)
    lazy = {'lazy_init': True} if 'ann_file' in cfg or 'split' in cfg else {}
    return DATASETS.build({**cfg, **lazy})
