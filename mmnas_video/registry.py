"""MMAction2's registries, filled.

Everything of ours registers here and nowhere else, so ``type='X3D'`` and ``type='SuperMBConv3D'`` are found
in the same place. Import them from here, not from MMAction2: this import repairs the stack first.
"""

from collections.abc import Mapping
from typing import Any

from mmnas_video import compat

compat.apply()  # before anything of mmaction; again does nothing

from mmaction.registry import (  # noqa: E402
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    FUNCTION,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)

FUNCTIONS = FUNCTION  # MMEngine says FUNCTIONS, MMAction2 FUNCTION


def hook_class(hook: Mapping[str, Any]) -> Any:
    """The class that a hook config names, by its registered name or as it is; None for an unknown name."""
    return HOOKS.get(hook['type']) if isinstance(hook['type'], str) else hook['type']


__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'EVALUATOR',
    'FUNCTION',
    'FUNCTIONS',
    'HOOKS',
    'LOG_PROCESSORS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'MODEL_WRAPPERS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'RUNNERS',
    'TASK_UTILS',
    'TRANSFORMS',
    'VISBACKENDS',
    'VISUALIZERS',
]
