"""The labels of annotation lists, held against the classes of the head that learns them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmaction.evaluation import AccMetric
from mmengine.dataset import BaseDataset
from mmengine.evaluator import DumpResults
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.entangle import bare_model
from mmnas_video.errors import ConfigError
from mmnas_video.registry import METRICS, class_of
from mmnas_video.runner_state import MODES, loop_of

#: Where MMAction2's and mmpretrain's datasets keep a sample's class.
LABEL_KEYS = ('label', 'gt_label')


class Label(NamedTuple):
    """A label, and the row of the list that has it (the first from 0)."""

    value: int
    row: int


def label_ends(labels: Iterable[Any]) -> tuple[Label, Label] | None:
    """The smallest and the largest label of a list; None where one is no whole number, or there is none.

    Args:
        labels: of each row its label, or several.
    """
    flat, rows = [], []
    for row, label in enumerate(labels):
        for one in label if isinstance(label, Sequence) and not isinstance(label, str) else (label,):
            if not isinstance(one, int):
                return None
            flat.append(one)
            rows.append(row)
    if not flat:
        return None
    low, high = int(np.argmin(flat)), int(np.argmax(flat))
    return Label(flat[low], rows[low]), Label(flat[high], rows[high])


def listed_labels(dataset: BaseDataset) -> Iterator[Any]:
    """What each row of a list has as label. One of several classes is the dataset's own vector of zeros and ones later,
    in which −1 is the last class and a number too large an IndexError: here it is what the list says. Other datasets
    read a file for each row (skeletons)."""
    for row in range(len(dataset)):
        info = BaseDataset.get_data_info(dataset, row)
        yield next((info[name] for name in LABEL_KEYS if name in info), None)


def check_range(
    ends: tuple[Label, Label] | None, dataset: BaseDataset, key: str, classes: int, classes_key: str
) -> None:
    """Demand labels from 0 to ``classes`` − 1.

    Args:
        ends: of the list.
        dataset: that has read it.
        key: config key of the dataset.
        classes: how many there are.
        classes_key: config key that says so.

    Raises:
        ConfigError: names the list, its line, the label and both keys.
    """
    wrong = next((end for end in ends or () if not 0 <= end.value < classes), None)
    if wrong is not None:
        missing = ' (that of a line without one)' if wrong.value == -1 else ''
        raise ConfigError(
            f'{key}.ann_file: found the label {wrong.value}{missing} in {_place(dataset, wrong.row)} of '
            f"'{dataset.ann_file}', whose labels go from {ends[0].value} to {ends[1].value}; expected 0 to "
            f'{classes - 1}: {classes_key} is {classes}'
        )


def _place(dataset: BaseDataset, row: int) -> str:
    """Where a row stands in its list, which may be another file than one of lines."""
    try:
        texts = Path(dataset.ann_file).read_text(encoding='utf-8', errors='replace').split('\n')
    except OSError:
        texts = []
    lines = [f'line {number} ({text.strip()!r})' for number, text in enumerate(texts, 1) if text.strip()]
    return lines[row] if len(lines) == len(dataset) else f'entry {row + 1}'


def check_labels(head: Any, datasets: Mapping[str, Any]) -> None:
    """Demand a class for every label of the lists.

    Args:
        head: the recognizer's ``cls_head``, or its config. One that says no ``num_classes`` is passed over.
        datasets: config key → dataset. Of a ``JointDataset`` each has its own head; those that are none of MMEngine's
            are passed over.

    Raises:
        ConfigError: what :func:`check_range` refuses.
    """
    classes = _classes(head)
    for key, dataset in datasets.items():
        for task, place, ends, part in _lists(dataset, key):
            if task in classes:
                check_range(ends() if callable(ends) else ends, part, place, *classes[task])


def _classes(head: Any) -> dict[str, tuple[int, str]]:
    """Name of a dataset ('' where one head is for all) → classes of its head, and the config key that says so."""

    def get(part: Any, name: str) -> Any:
        return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)

    heads, key = get(head, 'heads'), 'model.cls_head'
    named = {'': (head, key)} if heads is None else {name: (one, f'{key}.heads.{name}') for name, one in heads.items()}
    found = {name: (get(one, 'num_classes'), f'{key}.num_classes') for name, (one, key) in named.items()}
    return {name: (count, key) for name, (count, key) in found.items() if isinstance(count, int)}


def _lists(dataset: Any, key: str, task: str = '') -> Iterator[tuple[str, str, Any, BaseDataset]]:
    """Of each list in a dataset: its name in a joint one, its config key, ends of its labels (or what finds them), and
    the dataset that has read it."""
    if hasattr(dataset, 'label_ends'):  # a SeededDataset, which has looked at them
        yield task, key if task else f'{key}.dataset', dataset.label_ends, dataset.dataset
    elif isinstance(dataset, BaseDataset):
        yield task, key, lambda: label_ends(listed_labels(dataset)), dataset
    elif isinstance(getattr(dataset, 'parts', None), Mapping):  # a JointDataset
        for name, part in dataset.parts.items():
            yield from _lists(part, f'{key}.datasets.{name}', name)
    else:
        for name in ('_dataset', 'dataset'):
            if hasattr(dataset, name):
                yield from _lists(getattr(dataset, name), key if name == '_dataset' else f'{key}.{name}', task)
                return
        for place, part in enumerate(getattr(dataset, 'datasets', None) or ()):
            yield from _lists(part, f'{key}.datasets.{place}', task)


def only_written(evaluator: Any) -> bool:
    """Whether the results of a loop with this evaluator's config are written and not compared: it needs no labels."""
    metrics = evaluator.get('metrics', evaluator) if isinstance(evaluator, Mapping) else evaluator
    kinds = [class_of(one, METRICS) for one in ([metrics] if isinstance(metrics, Mapping) else metrics or ())]
    return bool(kinds) and all(kind is DumpResults for kind in kinds)


def check_averaged(head: Any, metrics: Sequence[Any], key: str) -> None:
    """Demand one row of scores for each video of a head whose answers MMAction2's AccMetric counts. Of others it
    makes a top-1 of 8, or an error after the first validation.

    Args:
        key: of the evaluator.

    Raises:
        ConfigError: the head hands on every clip's scores; names ``average_clips``.
    """
    if getattr(head, 'average_clips', 'prob') is None and any(isinstance(metric, AccMetric) for metric in metrics):
        raise ConfigError(
            "model.cls_head.average_clips: found None, expected 'prob' or 'score': AccMetric, of the "
            f'{key}, takes a row of scores for each video, not for each of its clips'
        )


class LabelHook(Hook):
    """Holds the labels of every list of a run against the head's classes before its first step, and what the head
    answers against what counts it.

    A label without a class ends a training at the step that meets it, by an IndexError that names no list; in a
    validation or a test it counts as a wrong answer.

    Raises:
        ConfigError: in ``before_run``, what :func:`check_range` and :func:`check_averaged` refuse.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Look at the lists of the loops that have been built. A test whose results are only written needs no label."""
        loops = {mode: loop_of(runner, mode) for mode in MODES}
        found, head = {}, getattr(bare_model(runner.model), 'cls_head', None)
        for mode, loop in loops.items():
            metrics = getattr(getattr(loop, 'evaluator', None), 'metrics', None) or ()
            check_averaged(head, metrics, f'{mode}_evaluator')
            if metrics and all(isinstance(metric, DumpResults) for metric in metrics):
                continue
            if hasattr(loop, 'dataloader'):
                found[f'{mode}_dataloader.dataset'] = loop.dataloader.dataset
        check_labels(head, found)
