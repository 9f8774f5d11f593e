"""What an annotation list says, read once however many datasets of a process look at it.

A search sees its training list through several: the part that trains, the held-out part, that part once more through
the pipeline that scores, and what statistics are calibrated on. Four lists of VIM-NAS are two million lines.
"""

import copy
import os
import weakref
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from mmnas_video.errors import ConfigError

from .checks import check_not_empty, check_some_exist, is_local
from .held_out import PARTS, HeldOut
from .labels import LABEL_KEYS, check_range, label_ends, listed_labels
from .video_ids import hashes, video_id

#: Where MMAction2's datasets keep a sample's path.
PATH_KEYS = ('filename', 'frame_dir', 'img_path', 'audio_path')
_READ: 'weakref.WeakSet[Listing]' = weakref.WeakSet()


class Listing:
    """The list of a dataset.

    Args:
        dataset: reads it here, if it has not yet.
        key: config key of the dataset, for messages.
        part: that is asked for first (:meth:`rows`).
        source: what else reads the same list; see :func:`listing_of`.

    Raises:
        ConfigError: it cannot be read, is empty, names none of the files that are there, or has a class too many.
    """

    def __init__(self, dataset: BaseDataset, key: str, part: HeldOut | None = None, source: Any = None) -> None:
        self.dataset, self.key, self.source = dataset, key, source
        _full_init(dataset, key)
        several = None
        if getattr(dataset, 'multi_class', False):
            several = label_ends(listed_labels(dataset))
            check_range(several, dataset, key, dataset.num_classes, f'{key}.num_classes')
        paths, labels = self._columns()
        check_not_empty({key: paths})
        check_some_exist(paths, key)
        #: The classes that the list names.
        self.labels = frozenset(labels)
        #: The smallest and the largest of them; None where they are no numbers.
        self.label_ends = several or label_ends(labels)
        #: Hash of each line's video, (lines,) uint64. An array: a list would be copied into each worker, bit by bit.
        self.ids = hashes([video_id(path) for path in paths])
        self._held: dict[HeldOut, np.ndarray] = {}
        self._files: np.ndarray | None = None
        if part is not None:
            self._files = _file_hashes(paths)
            self._split(part, paths, labels)

    def seen_by(self, dataset: BaseDataset) -> BaseDataset:
        """``dataset``, whose list is this one, without reading it: only its pipeline is its own."""
        twin = copy.copy(self.dataset)
        twin.pipeline = dataset.pipeline
        return twin

    @property
    def files(self) -> np.ndarray:
        """Hash of each line's absolute path, (lines,) uint64."""
        if self._files is None:
            self._files = _file_hashes(self._columns()[0])
        return self._files

    def rows(self, part: HeldOut | None) -> np.ndarray:
        """The lines of one part, in order; None means all."""
        if part is None:
            return np.arange(len(self.ids))
        held = self._held.get(_held_out(part))
        if held is None:
            held = self._split(part, *self._columns())
        return np.flatnonzero(held == (part.part == _held_out(part).part))

    def _split(self, part: HeldOut, paths: list[str], labels: list[Hashable]) -> np.ndarray:
        """Of each line whether it is held out, whichever part is asked for."""
        part, names = _held_out(part), self._relative(paths)
        held = self._held[part] = np.zeros(len(names), bool)
        held[part.indices([video_id(name) for name in names] if part.by == 'video' else names, labels)] = True
        return held

    def path_of(self, info: Mapping[str, Any]) -> str:
        """The file that a line names, as the dataset opens it.

        Raises:
            ConfigError: the dataset keeps it under another name than those of MMAction2 and mmpretrain.
        """
        for name in PATH_KEYS:
            if name in info:
                return str(info[name])
        raise ConfigError(
            f'{self.key}: found samples with the keys {sorted(info)}, expected one of {", ".join(PATH_KEYS)}.'
        )

    def prefixes(self) -> list[str]:
        """Local folders that the paths start with."""
        return [p for p in (self.dataset.data_prefix or {}).values() if p and is_local(p)]

    def _columns(self) -> tuple[list[str], list[Hashable]]:
        infos = (self.dataset.get_data_info(row) for row in range(len(self.dataset)))
        pairs = [(self.path_of(info), _label(info)) for info in infos]
        return [path for path, _ in pairs], [label for _, label in pairs]

    def _relative(self, paths: list[str]) -> list[str]:
        """Paths below the data prefix, so that a split does not depend on where the data lies."""
        prefixes = self.prefixes()
        return list(_below(prefixes[0], paths)) if prefixes else paths


def listing_of(dataset: BaseDataset, cfg: Mapping[str, Any], key: str, part: HeldOut | None) -> Listing:
    """The list of ``dataset``: one that a dataset of this process holds already, or read now.

    Args:
        dataset: as made of ``cfg``, its list not read yet.
        cfg: lists are one if their datasets' configs are equal but for the pipelines, and the file has not changed.
        key: config key of the dataset, for messages.
        part: that is asked for first.

    Raises:
        ConfigError: as of :class:`Listing`.
    """
    file = _signature(dataset.ann_file)
    source = (type(dataset), file, {name: value for name, value in cfg.items() if name != 'pipeline'})
    found = next((one for one in _READ if file is not None and _equal(one.source, source)), None)
    if found is None:
        found = Listing(dataset, key, part, source)
        _READ.add(found)
    return found


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays in a config
        return False


def _held_out(part: HeldOut) -> HeldOut:
    """The same split, seen from the part that is held out."""
    return replace(part, part=PARTS[1])


def _signature(path: str | None) -> tuple[int, ...] | None:
    """What changes when a file does; None for what is no file of this machine."""
    if not path or not is_local(path) or not os.path.isfile(path):
        return None
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _below(prefix: str, paths: list[str]) -> Iterator[str]:
    """Each path from ``prefix`` on, as ``os.path.relpath``, which asks for the working directory twice a path."""
    start = os.path.join(prefix, '')
    for path in paths:
        rest = path.removeprefix(start)
        plain = path.startswith(start) and not rest.startswith(('/', '..')) and os.path.normpath(rest) == rest
        yield rest if plain else os.path.relpath(path, prefix) if is_local(path) else path


def absolute(paths: Iterable[str]) -> Iterator[str]:
    """Each path as ``os.path.abspath``, which asks for the working directory at each; addresses as they are."""
    here = os.getcwd()
    return (os.path.normpath(os.path.join(here, path)) if is_local(path) else path for path in paths)


def _file_hashes(paths: Iterable[str]) -> np.ndarray:
    return hashes(absolute(paths))


def _label(info: Mapping[str, Any]) -> Hashable:
    label = next((info[name] for name in LABEL_KEYS if name in info), 0)
    if isinstance(label, torch.Tensor):  # of MMAction2's multi_class: 1 for each class of the video
        return tuple(label.nonzero().flatten().tolist())
    return label if isinstance(label, int) else str(label)


def _full_init(dataset: BaseDataset, key: str) -> None:
    """Read the annotation list, which ``lazy_init`` has put off, so that its errors can be told from
    others."""
    try:
        dataset.full_init()
    except (AssertionError, IndexError, ValueError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"{key}.ann_file: cannot read '{dataset.ann_file}' as the list of a {type(dataset).__name__} "
            f"({error}), expected lines 'path label' (videos) or 'folder frames label' (raw frames)."
        ) from error
