"""The optimiser of α, whose learning rate follows the batch size as that of the weights does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from mmnas_video.registry import OPTIMIZERS
from mmnas_video.runner_state import training_batch_size


def build_alpha_optimizer(cfg: Mapping[str, Any], alpha: Tensor, runner: Runner) -> Optimizer:
    """Build the optimiser of α.

    With ``auto_scale_lr`` (``--auto-scale-lr``) MMEngine scales the weights' rate with the clips of a step on all
    ranks. α's is scaled alike: on an eighth of the GPUs an epoch has eight times the steps, in which α would else go
    eight times as far.

    Args:
        cfg: its config.
        alpha: the parameters.
        runner: of the search.
    """
    optimizer = OPTIMIZERS.build({**cfg, 'params': [alpha]})
    scaling = runner.auto_scale_lr or {}
    if scaling.get('enable'):
        for group in optimizer.param_groups:
            group['lr'] *= runner.world_size * training_batch_size(runner) / scaling['base_batch_size']
    return optimizer
