"""Held-out data of a search: which loader it is, and that nothing in it is trained on or tested with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mmaction.datasets.transforms import SampleFrames
from mmengine.runner import Runner

from mmnas_video.datasets import check_disjoint, check_labels, check_not_empty, check_videos_apart, only_written
from mmnas_video.datasets.video_ids import among
from mmnas_video.entangle import bare_model
from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATASETS, HOOKS, TRANSFORMS, class_of
from mmnas_video.runner_state import has_validation

from .stream import BatchStream
from .task_streams import TaskStreams, is_joint, workers_of_each

if TYPE_CHECKING:
    from .base import SearchHook


def open_held_out(hook: SearchHook, runner: Runner) -> tuple[BatchStream | TaskStreams, dict[str, Any]]:
    """The stream of a search's held-out data, and the DataLoader config with which candidates are scored on it.

    Raises:
        ConfigError: see :func:`held_out_config` and :func:`check_parts`; also a ``JointDataset`` for a method that
            takes none.
    """
    source = f'{type(hook).__name__}.arch_dataloader'
    args = runner.cfg.train_dataloader, hook.arch_dataloader or {}, hook.held_out_clips, source
    loader, scoring = held_out_config(*args), held_out_config(*args, scored=True)
    joint = is_joint(loader)
    if joint and not hook.takes_joint_data:
        able = [kind.__name__ for kind in HOOKS.module_dict.values() if getattr(kind, 'takes_joint_data', False)]
        raise ConfigError(
            f'{source}: found a JointDataset, expected one dataset: this method cannot score one α on several; '
            f'those that take joint data are {", ".join(able)}'
        )
    stream = (TaskStreams if joint else BatchStream)(loader, hook.seed, 'held-out', source, hook.max_bad_share)
    check_parts(runner, stream.dataset, joint, source)
    return stream, scoring


def held_out_config(
    train: Mapping[str, Any], given: Mapping[str, Any], clips: int | None, source: str, scored: bool = False
) -> dict[str, Any]:
    """A DataLoader config of the held-out data.

    Args:
        train: the training DataLoader's config.
        given: what the user wants of it; without a ``dataset``, the held-out part of the training list.
        clips: of each video; None leaves the pipeline's own.
        source: config key that errors name.
        scored: whether candidates are to be scored on it: through ``held_out.pipeline``, where there is one.

    Raises:
        ConfigError: no held-out part, or no pipeline that ``clips`` could be set in.
    """
    made = dict(given)
    if 'dataset' not in made:
        made = {**held_out_part(train, source), **made}
        if made['dataset'].get('datasets'):  # what a message advises is to be done where the training's list stands
            made['dataset'].setdefault('config_key', 'train_dataloader.dataset')
    # Workers of its own load ahead while the training batch is worked on; without any, each batch is waited for.
    for key in ('num_workers', 'persistent_workers', 'pin_memory'):
        if key in train and 'num_workers' not in given:
            made.setdefault(key, train[key])
    sets = made['dataset'].get('datasets')
    if sets and not scored and 'num_workers' not in given:
        # Together they give one batch a step, as the training's loader does.
        made['num_workers'] = workers_of_each(made.get('num_workers', 0), len(sets))
    if not made.get('num_workers') and 'persistent_workers' not in given:
        made.pop('persistent_workers', None)  # the training's
    made = with_pipelines(made) if scored else made
    return made if clips is None else with_clips(made, clips, source)


def check_parts(runner: Runner, held_out: Any, joint: bool, source: str) -> None:
    """Refuse held-out data that is empty, or shares a video with training, validation or test, and in any of these
    lists a label without a class.

    Args:
        runner: has the other DataLoaders.
        held_out: the data set.
        joint: whether it is of several named ones, which may have one video under different paths.
        source: config key that it is called by.

    Raises:
        ConfigError: names both parts and a video, or the list and the label.
    """
    parts = {'train_dataloader': runner.train_dataloader.dataset, source: held_out}
    if has_validation(runner):
        parts['val_dataloader'] = runner.val_dataloader.dataset
    test = runner.cfg.get('test_dataloader')
    if test and test.get('dataset') != (runner.cfg.get('val_dataloader') or {}).get('dataset'):
        parts['test_dataloader'] = DATASETS.build(test['dataset'])
    head = getattr(bare_model(runner.model), 'cls_head', None)
    for key, dataset in parts.items():
        if key == 'test_dataloader' and only_written(runner.cfg.get('test_evaluator')):
            continue
        for part in [stream.dataset for stream in dataset.streams.values()] if joint and key == source else [dataset]:
            check_labels(head, {f'{key}.dataset': part})
    files = {key: dataset.file_hashes() for key, dataset in parts.items() if hasattr(dataset, 'file_hashes')}
    check_not_empty(files)
    for one, other in combinations(files, 2):  # validation and test may be one list, seen through two pipelines
        if one in ('train_dataloader', source) and among(files[one], files[other]).any():
            check_disjoint({key: parts[key].file_ids() for key in (one, other)})
    if joint:
        check_videos_apart({f'{source}.dataset': parts.pop(source), **parts})


def held_out_part(train: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A DataLoader config for the held-out part of the training list.

    Raises:
        ConfigError: the training dataset does not hold a part out.
    """
    held = train['dataset'].get('held_out')
    if not held or held.get('part') != 'train':
        raise ConfigError(
            f'{source}: found none, expected held-out data: name a DataLoader, or let the training dataset '
            "hold a part out (dataset=dict(type='SeededDataset', held_out=dict(part='train', fraction=0.2), "
            'dataset=...))'
        )
    kept = {
        k: v
        for k, v in train.items()
        if k in ('batch_size', 'num_workers', 'persistent_workers', 'pin_memory', 'collate_fn', 'drop_last')
    }
    sizes = (train.get('batch_sampler') or {}).get('batch_sizes')  # of a joint dataset
    kept |= {'batch_sizes': dict(sizes)} if sizes else {}
    return {**kept, 'dataset': {**train['dataset'], 'held_out': {**held, 'part': 'held_out'}}}


def with_pipelines(loader: Mapping[str, Any]) -> dict[str, Any]:
    """A DataLoader config in which each dataset with a ``held_out.pipeline`` has that in the place of its own: views as
    in validation, where steps on held-out data have those of the training."""
    made = copy.deepcopy(dict(loader))
    whole = made['dataset']
    parts = whole.get('datasets') or ()
    for part in (whole, *(parts.values() if isinstance(parts, Mapping) else parts)):
        pipeline = {**(whole.get('held_out') or {}), **(part.get('held_out') or {})}.get('pipeline')
        inner = _inner(part)
        if pipeline and 'pipeline' in inner:
            inner['pipeline'] = pipeline
    return made


def _inner(dataset: Any) -> Any:
    """The config with the pipeline, of a dataset that may be wrapped."""
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def with_clips(loader: Mapping[str, Any], clips: int, source: str) -> dict[str, Any]:
    """A DataLoader config whose pipeline samples so many clips of each video.

    Raises:
        ConfigError: the dataset has no pipeline with a ``SampleFrames`` step.
    """
    made = copy.deepcopy(dict(loader))
    dataset = _inner(made['dataset'])
    steps = [step for step in dataset.get('pipeline') or [] if class_of(step, TRANSFORMS) is SampleFrames]
    if len(steps) != 1:
        raise ConfigError(
            f'{source}: found {len(steps)} SampleFrames steps in the pipeline of the held-out data, expected one to '
            f'set num_clips={clips} in (indicator.num_clips)'
        )
    steps[0]['num_clips'] = clips
    return made
