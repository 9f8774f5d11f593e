"""FineTuneHook: a training that starts from the weights of a found or a pretrained network, all of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor, nn

from mmnas_video.entangle import bare_model
from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS
from mmnas_video.runner_state import is_resuming, is_training, weights_to_load

from .extraction import check_weights, read_checkpoint
from .key_maps import check_keys, renamed


@HOOKS.register_module()
class FineTuneHook(Hook):
    """Demand that ``load_from`` holds the weights of this network, but for what is meant to be new.

    MMEngine loads what fits and leaves the rest as it was initialised, with a warning: a wrong ``arch`` would train,
    and end as a network from scratch does. A resumed training has its weights from its own checkpoint, and a test its
    network's from the file that it names: this acts only where a training begins.

    Args:
        new: patterns of parameters and buffers that keep their initialisation, whatever the file has under these
            names, such as ``'cls_head.*'``.
        unused: patterns of what the file may hold beyond the network, such as heads of other datasets.
        keys: whose network the file is of, where it is not of ours: ``'mmpretrain.VisionTransformer'`` (ViT, DeiT) or
            ``'mmaction.X3D'``; see :data:`~mmnas_video.search.key_maps.KEY_MAPS`.

    Raises:
        ConfigError: unknown ``keys``; in ``before_run`` where there is no such file, where a pattern of ``new`` fits
            nothing, for weights that are missing, have no place or have another shape; and for a resume without a
            checkpoint.
    """

    priority = 'VERY_HIGH'  # before EMA copies what has been read

    def __init__(self, new: Sequence[str] = (), unused: Sequence[str] = (), keys: str | None = None) -> None:
        check_keys(keys, 'FineTuneHook.keys')
        self.new, self.unused, self.keys = tuple(new), tuple(unused), keys

    def before_run(self, runner: Runner) -> None:
        """Look at the weights before anything is trained."""
        if not is_training(runner):
            return  # a validation or a test
        if is_resuming(runner):
            if weights_to_load(runner) is None and find_latest_checkpoint(runner.work_dir) is None:
                raise ConfigError(
                    f'resume: found no checkpoint in {runner.work_dir!r}, expected one: this fine-tuning has not '
                    'begun; start it without resume=True'
                )
            return
        path = weights_to_load(runner)
        if not path or not Path(path).is_file():
            raise ConfigError(
                f'load_from: found {"none" if not path else f"no file {str(path)!r}"}, expected the weights that are '
                'fine-tuned; a search leaves them at WORK_DIR/search/extracted.pth'
            )
        self._fitted(bare_model(runner.model), read_checkpoint(path), str(path))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Give the Runner the file's weights, with those that are new as they were initialised."""
        if begins(runner):
            checkpoint['state_dict'] = self._fitted(bare_model(runner.model), checkpoint, str(weights_to_load(runner)))

    def _fitted(self, model: nn.Module, checkpoint: Mapping[str, Any], path: str) -> dict[str, Tensor]:
        """The state dict that the network starts from."""
        own, found = model.state_dict(), checkpoint.get('state_dict', checkpoint)
        if self.keys is not None:
            found = renamed(found, self.keys, model, 'FineTuneHook.keys', path)
        for pattern in self.new:
            if not fnmatch.filter(own, pattern):
                raise ConfigError(
                    f'FineTuneHook.new: found the pattern {pattern!r}, which fits no parameter, expected one that '
                    f'does, such as {next(reversed(own))!r}'
                )
        kept = {
            name: value
            for name, value in found.items()
            if not fits(name, self.new) and (name in own or not fits(name, self.unused))
        }
        state = {**{name: value for name, value in own.items() if fits(name, self.new)}, **kept}
        check_weights(model, {'state_dict': state}, path)
        return state


def begins(runner: Runner) -> bool:
    """Whether a training begins: one that goes on, a validation and a test have the weights of what they load."""
    return is_training(runner) and not is_resuming(runner)


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is meant by one of some shell-style patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
