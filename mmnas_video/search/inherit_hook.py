"""InheritHook: a search that starts from the network that another search has chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.entangle import bare_model, inherit
from mmnas_video.registry import HOOKS
from mmnas_video.space import Value


@HOOKS.register_module()
class InheritHook(Hook):
    """Puts the weights of ``load_from`` where ``arch`` has them in the supernet; a staged search adds it.

    It acts when the Runner has read the file and before it loads it: initialisation, loading and EMA stay MMEngine's. A
    resumed search has its weights from its checkpoint: then nothing is done.

    Args:
        arch: the architecture of the supernet at which it is the network of ``load_from``.
        grown: the supernet has parts that this network lacks, see :func:`~mmnas_video.entangle.inherit`.
    """

    priority = 'VERY_HIGH'  # before EMA copies what has been read

    def __init__(self, arch: Mapping[str, Value], grown: bool = False) -> None:
        self.arch, self.grown = dict(arch), grown

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Give the Runner the supernet's weights in the place of the small network's."""
        if runner._resume:
            return
        model = bare_model(runner.model)
        new = inherit(model, checkpoint['state_dict'], self.arch, self.grown)
        checkpoint['state_dict'] = model.state_dict()
        runner.logger.info(
            f'Weights inherited from {runner._load_from}'
            + (f'; {len(new)} parameters and buffers are new, such as {new[0]}' if new else '')
        )
