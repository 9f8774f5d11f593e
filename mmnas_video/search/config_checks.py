"""What a search cannot run with, said before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmnas_video.datasets import check_drawn_anew
from mmnas_video.entangle import bare_model, find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODEL_WRAPPERS, OPTIMIZERS, class_of
from mmnas_video.runner_state import counts_iterations, loop_of, weights_to_load

from .accumulation import check_accumulation
from .checkpoint import AtomicCheckpointHook
from .preemption import goes_on_within

if TYPE_CHECKING:
    from .base import SearchHook


def check_config(hook: SearchHook, runner: Runner) -> None:
    """Look at the parts of a config that all methods depend on.

    Raises:
        ConfigError: names the key.
    """
    if not isinstance(runner, Runner):
        raise ConfigError(
            f'runner_type: found {type(runner).__name__}, expected none, or a Runner: it loads a checkpoint before a '
            'search is set up, so that a resume would begin the search anew with the weights of the old one'
        )
    if not runner.cfg.get('train_dataloader'):
        raise ConfigError(
            'Runner: found one that was built without its config (Runner(model=..., ...)), expected '
            'Runner.from_cfg(cfg): a search reads train_dataloader, randomness and more in it'
        )
    _check_keys(runner.cfg)
    _check_wrapper(runner.cfg)
    if hook.warmup_epochs and counts_iterations(runner):
        raise ConfigError(
            f'{type(hook).__name__}.warmup_epochs: found {hook.warmup_epochs} with a train_cfg that counts '
            'iterations, expected 0, or train_cfg=dict(by_epoch=True, max_epochs=...): there the first epoch never '
            'ends, and α would never move'
        )
    check_warm_up(hook, getattr(loop_of(runner, 'train'), 'max_epochs', None))
    if hook.trains_weights:
        check_accumulation(runner)
        _check_saved(runner)
    check_drawn_anew(runner.train_dataloader)
    _check_within_epoch(runner)
    name, searchable = find_searchable(bare_model(runner.model))
    if not searchable.space.open:
        raise ConfigError(
            f'model.{name or "model"}: found a network with nothing to choose (arch is set), expected a '
            'supernet; remove arch, or remove the search hook'
        )


def _check_keys(cfg: Mapping[str, Any]) -> None:
    """Refuse values with which a training runs, and a search does not."""
    if cfg.get('compile') not in (None, False):  # an empty dict is on, too
        raise ConfigError(
            f'compile: found {cfg.compile!r}, expected False in a search: each architecture would be a graph of its '
            'own, compiled for minutes and seldom drawn again; compile the found network, when it is trained by its '
            'config'
        )
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if optimizer.get('fused') and class_of(optimizer, OPTIMIZERS) is torch.optim.SGD:
        raise ConfigError(
            'optim_wrapper.optimizer.fused: found True with SGD, expected False: torch 2.11 fails where a weight '
            'has its first gradient later than others, as in a search; a fused AdamW does not'
        )
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('max_keep_ckpts') == 1:
        raise ConfigError(
            'default_hooks.checkpoint.max_keep_ckpts: found 1, expected at least 2 (or -1 for all): a search killed '
            'while it writes its only checkpoint would lose everything'
        )
    randomness = cfg.get('randomness') or {}
    if randomness.get('diff_rank_seed'):
        raise ConfigError(
            'randomness.diff_rank_seed: found True, expected it left out: the ranks of a search draw the same '
            'architectures from one seed, and MMEngine gives its samplers none beside it (ranks have clips of their '
            'own, and with ReproducibleHook dropout masks, in any case)'
        )
    if randomness.get('seed') is None:
        raise ConfigError(
            'randomness: found no seed, expected randomness=dict(seed=...): without it neither the '
            'result nor a resume can be repeated'
        )


def _check_wrapper(cfg: Mapping[str, Any]) -> None:
    """Refuse a wrapper that shards the weights: steps do not go through it."""
    wrapper = class_of(cfg.get('model_wrapper_cfg'), MODEL_WRAPPERS)
    if isinstance(wrapper, type) and not issubclass(wrapper, torch.nn.parallel.DistributedDataParallel):
        raise ConfigError(
            f'model_wrapper_cfg: found {wrapper.__name__}, expected none, or MMDistributedDataParallel: a search runs '
            'the network inside of the wrapper, where each rank must have all weights'
        )


def _check_saved(runner: Runner) -> None:
    """Refuse checkpoints without what a resume goes on with; MMEngine begins that anew, with no word."""
    for hook in runner.hooks:
        for key in ('save_optimizer', 'save_param_scheduler') if isinstance(hook, CheckpointHook) else ():
            if not getattr(hook, key):
                raise ConfigError(
                    f'default_hooks.checkpoint.{key}: found False, expected True in a search: resumed, it would go on '
                    'with other updates than one that was never stopped; what is to be given away is extracted.pth'
                )


def _check_within_epoch(runner: Runner) -> None:
    """Refuse checkpoints within an epoch from which it could only be begun again."""
    loader = runner.train_dataloader
    goes_by_itself = getattr(loader.batch_sampler, 'resumes_within_epoch', False)
    if goes_by_itself or counts_iterations(runner):
        return
    sampler = type(loader.sampler).__name__
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook) or hook.by_epoch or hook.interval <= 0:
            continue
        if not isinstance(hook, AtomicCheckpointHook) or not goes_on_within(loader):
            raise ConfigError(
                f'default_hooks.checkpoint.by_epoch: found False ({type(hook).__name__}, {sampler}) in a training that '
                'counts epochs, expected True, or AtomicCheckpointHook with SeededSampler: a resume from another '
                'checkpoint within an epoch would do its first steps again'
            )


def check_warm_up(hook: Any, epochs: int | None, place: str = 'train_cfg.max_epochs') -> None:
    """Demand a warm-up that is shorter than the training.

    Args:
        hook: of a search, or any.
        epochs: of the training; None if it counts none.
        place: config key of these.

    Raises:
        ConfigError: it is not.
    """
    warm_up = getattr(hook, 'warmup_epochs', 0)
    if epochs is not None and 0 < epochs <= warm_up:
        raise ConfigError(
            f'{type(hook).__name__}.warmup_epochs: found {warm_up} with {place}={epochs}, expected fewer: in a warm-up '
            'only the weights learn, and α would never move'
        )


def check_loaded(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Demand that ``load_from`` holds weights of the network in which is searched: MMEngine warns, and searches on from
    random ones.

    Raises:
        ConfigError: not one of the file's tensors has the name and the shape of one of that network's.
    """
    prefix, searchable = find_searchable(bare_model(runner.model))
    state = {name.removeprefix('module.'): value for name, value in checkpoint.get('state_dict', checkpoint).items()}
    for name, value in searchable.state_dict(prefix=f'{prefix}.' if prefix else '').items():
        if getattr(state.get(name), 'shape', None) == value.shape:
            return
    raise ConfigError(
        f'load_from: found {str(weights_to_load(runner))!r} with {len(state)} tensors, such as '
        f'{next(iter(state), None)!r}; none is of the {type(searchable).__name__} that is searched in. Expected '
        'weights of this supernet, or, with '
        "dict(type='InheritHook', keys=..., arch=...), of a network that it contains"
    )
