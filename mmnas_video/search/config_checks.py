"""What a search cannot run with, said before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from mmengine.runner import IterBasedTrainLoop, Runner

from mmnas_video.datasets import check_drawn_anew
from mmnas_video.errors import ConfigError

from .accumulation import check_accumulation

if TYPE_CHECKING:
    from .base import SearchHook


def check_config(hook: SearchHook, runner: Runner) -> None:
    """Look at the parts of a config that all methods depend on.

    Raises:
        ConfigError: names the key.
    """
    cfg = runner.cfg
    if cfg.get('compile'):
        raise ConfigError(
            'compile: found it on, expected off in a search: torch.compile makes a graph for every '
            'architecture and silently gives up after eight; compile the found network instead'
        )
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if optimizer.get('fused') and optimizer['type'] in ('SGD', torch.optim.SGD):
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
    if hook.warmup_epochs and isinstance(runner._train_loop, IterBasedTrainLoop):
        raise ConfigError(
            f'{type(hook).__name__}.warmup_epochs: found {hook.warmup_epochs} with a train_cfg that counts '
            'iterations, expected 0, or train_cfg=dict(by_epoch=True, max_epochs=...): there the first epoch never '
            'ends, and α would never move'
        )
    epochs = getattr(runner._train_loop, 'max_epochs', None)
    if epochs is not None and 0 < epochs <= hook.warmup_epochs:
        raise ConfigError(
            f'{type(hook).__name__}.warmup_epochs: found {hook.warmup_epochs} with train_cfg.max_epochs={epochs}, '
            'expected fewer: in a warm-up only the weights learn, and α would never move'
        )
    if (cfg.get('randomness') or {}).get('seed') is None:
        raise ConfigError(
            'randomness: found no seed, expected randomness=dict(seed=...): without it neither the '
            'result nor a resume can be repeated'
        )
    if hook.trains_weights:
        check_accumulation(runner)
    check_drawn_anew(runner.train_dataloader)
