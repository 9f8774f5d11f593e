"""InheritHook: a search that starts from the network that another search has chosen, or from a pretrained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmnas_video.entangle import bare_model, find_searchable, inherit
from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS, MODELS
from mmnas_video.runner_state import weights_to_load
from mmnas_video.space import Value

from .extraction import pinned_config, read_checkpoint
from .fine_tune_hook import begins, fits
from .key_maps import check_keys, renamed


@HOOKS.register_module()
class InheritHook(Hook):
    """Puts the weights of ``load_from`` where ``arch`` has them in the supernet; a staged search adds it.

    It acts when the Runner has read the file and before it loads it: initialisation, loading and EMA stay MMEngine's. A
    resumed search has its weights from its checkpoint, and a test from the file that it names: then nothing is done.

    With ``keys`` the file is another library's, such as mmpretrain's DeiT-Tiny for a supernet of VIM-NAS-T::

        load_from = 'deit-tiny.pth'
        custom_hooks = [
            ...,
            dict(
                type='InheritHook',
                keys='mmpretrain.VisionTransformer',
                new=['cls_head.*'],
                arch={
                    'depth': 12, 'embed_dim': 192, 'layer*.heads': 3, 'layer*.qkv': 192, 'layer*.mlp_ratio': 4.0,
                    'tube1.kernel': '1x16x16', 'tube1.stride': '32x16x16', 'tube1.offset': '0x0x0'},
            ),
        ]

    Args:
        arch: the architecture of the supernet at which it is the network of ``load_from``. With ``keys`` names may be
            patterns, and what is not named has its largest value (of the tubes: the largest kernels).
        grown: the supernet has parts that this network lacks, see :func:`~mmnas_video.entangle.inherit`.
        keys: as for :class:`~mmnas_video.search.FineTuneHook`.
        new: patterns of parameters and buffers that keep their initialisation, as for ``FineTuneHook``.

    Raises:
        ConfigError: unknown ``keys``; in ``before_run`` with ``keys`` for no file; when it is loaded for an ``arch``
            that is not of the space, and for weights that do not fit.
    """

    priority = 'VERY_HIGH'  # before EMA copies what has been read

    def __init__(
        self, arch: Mapping[str, Value], grown: bool = False, keys: str | None = None, new: Sequence[str] = ()
    ) -> None:
        check_keys(keys, 'InheritHook.keys')
        self.arch, self.grown, self.keys, self.new = dict(arch), grown, keys, tuple(new)

    def before_run(self, runner: Runner) -> None:
        """Look at a file of another library before anything is trained."""
        if self.keys is not None and begins(runner):
            if not weights_to_load(runner):
                raise ConfigError(f'load_from: found none, expected the weights of a {self.keys} (InheritHook.keys)')
            self._renamed(runner, bare_model(runner.model), read_checkpoint(weights_to_load(runner)))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Give the Runner the supernet's weights in the place of the small network's."""
        if not begins(runner):
            return
        model = bare_model(runner.model)
        found = checkpoint['state_dict'] if self.keys is None else self._renamed(runner, model, checkpoint)
        state = {name: value for name, value in found.items() if not fits(name, self.new)}
        new = inherit(model, state, self._point(model), self.grown or bool(self.new))
        missing = [] if self.grown else [name for name in new if not fits(name, self.new)]
        if missing:
            raise ConfigError(
                f'{weights_to_load(runner)}: found no weights for {len(missing)} parameters or buffers, such as '
                f'{missing[0]}, expected all but those of InheritHook.new'
            )
        checkpoint['state_dict'] = model.state_dict()
        runner.logger.info(
            f'Weights inherited from {weights_to_load(runner)}'
            + (f'; {len(new)} parameters and buffers are new, such as {new[0]}' if new else '')
        )

    def _point(self, model: nn.Module) -> dict[str, Value]:
        """The architecture of the supernet that the file has weights of."""
        if self.keys is None:
            return self.arch
        space = find_searchable(model)[1].space
        return {**space.largest, **space.match(self.arch, 'InheritHook.arch')}

    def _renamed(self, runner: Runner, model: nn.Module, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
        """The file's weights under the names that the network of ``arch`` has."""
        arch = find_searchable(model)[1].canonical(self._point(model), 'InheritHook.arch')
        with torch.device('meta'):  # names and shapes only
            pinned = MODELS.build(pinned_config(runner.cfg, model, arch).model)
        state = checkpoint.get('state_dict', checkpoint)
        return renamed(state, self.keys, pinned, 'InheritHook.keys', str(weights_to_load(runner)))
