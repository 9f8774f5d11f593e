"""Checks of a joint run that need more than one of its parts: heads against labels, lists against lists."""

import logging
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from torch import nn

from mmnas_video.entangle import Searchable
from mmnas_video.errors import ConfigError
from mmnas_video.models.heads import MultiTaskHead

from .bad_sample import BadSample
from .joint_dataset import JointDataset
from .labels import check_range
from .video_ids import among


def check_classes(head: Any, dataset: JointDataset, training: bool, logger: logging.Logger) -> None:
    """Demand a head for each dataset, with room for all labels of its list; a head with room to spare is warned of.

    Args:
        head: the recognizer's ``cls_head``.
        dataset: of one of the run's loops.
        training: whether it is the training data, by which spare classes are judged.
        logger: takes the warning.

    Raises:
        ConfigError: a head of another kind, a dataset without head, a label that its head has no class for.
    """
    if not isinstance(head, MultiTaskHead):
        raise ConfigError(
            f'model.cls_head: found {type(head).__name__}, expected MultiTaskHead with a head for each of '
            f'{", ".join(dataset.tasks)}.'
        )
    for task, part in dataset.parts.items():
        key = f'model.cls_head.heads.{task}'
        if task not in head.heads:
            raise ConfigError(f'{key}: found none ({", ".join(head.heads)}), expected a head for {part.key}.')
        classes = head.heads[task].num_classes
        labels = [label for label in part.labels if isinstance(label, int)]
        check_range(part.label_ends, part.dataset, part.key, classes, f'{key}.num_classes')
        if training and labels and max(labels) + 1 < classes:
            logger.warning(
                f'{key}.num_classes: found {classes}, but the labels of {part.key} end at {max(labels)}: '
                f'{classes - max(labels) - 1} classes have no clip'
            )


def check_clips(model: nn.Module, dataset: JointDataset) -> None:
    """Demand that a clip of each dataset fits every architecture of the network: one is loaded of each.

    A dataset may come late (VIM-NAS begins with a third of all steps on images), and its first clip later still.

    Args:
        model: the bare recognizer.
        dataset: of one of the run's loops.

    Raises:
        ConfigError: names the dataset's pipeline, what it gives, and what is needed.
    """
    searchable = next((module for module in model.modules() if isinstance(module, Searchable)), None)
    for task, part in dataset.parts.items() if searchable is not None else ():
        sample = dataset[task, 0, 0]
        if isinstance(sample, BadSample):  # of those another hook keeps count
            continue
        try:
            searchable.check_clip(tuple(sample['inputs'].shape[-3:]))
        except ConfigError as error:
            raise ConfigError(f'{part.key}.pipeline: {error}') from None


def check_videos_apart(parts: Mapping[str, Any]) -> None:
    """Demand that the first part shares no video (by id, not by path) with the later ones.

    For training data against validation and test; between other parts sharing is no leak. Parts that know no ids
    (stock datasets) are passed over.

    Args:
        parts: config key → dataset (``JointDataset`` or ``SeededDataset``), training data first.

    Raises:
        ConfigError: names the two parts and how many clips of the first the other one has too.
    """
    known = {key: dataset.ids() for key, dataset in parts.items() if hasattr(dataset, 'ids')}
    for (one, ids), (other, others) in combinations(known.items(), 2):
        if one != next(iter(parts)):
            continue
        shared = int(among(ids, others).sum())
        if shared:
            raise ConfigError(
                f'{one} and {other}: found {shared} of {len(ids)} clips of the first whose video the second has too, '
                f"expected none. List the second's annotation files in {one}.validation and set {one}.overlap='drop', "
                'or write clean lists with python tools/data/check_overlap.py.'
            )
