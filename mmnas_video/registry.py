"""MMAction2's registries, filled.

Everything of ours registers here and nowhere else, so ``type='X3D'`` and ``type='SuperMBConv3D'`` are found
in the same place. Import them from here, not from MMAction2: this import repairs the stack first.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mmnas_video import compat
from mmnas_video.errors import ConfigError, shown

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


def class_of(part: Any, registry: Any) -> Any:
    """What a part of a config names: by a registered name, with its scope or without, by a path that can be imported,
    or as it is. None of no part, no ``type``, or a name that is unknown, of which building the part will tell.

    Args:
        part: its config.
        registry: in which a name is looked up.
    """
    kind = part.get('type') if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        return kind
    try:
        return registry.get(kind)
    except RuntimeError:  # MMEngine's, of a name with dots that cannot be imported
        return None


def hook_class(hook: Mapping[str, Any], where: str = 'custom_hooks') -> Any:
    """The class that a hook config names, by its registered name or as it is.

    Args:
        hook: its config.
        where: the part of the config that it stands in, for the message.

    Raises:
        ConfigError: no ``type``, or a name that is not registered; with the nearest that is.
    """
    kind = hook.get('type') if isinstance(hook, Mapping) else None
    if kind is None:
        raise ConfigError(f'{where}: found {shown(hook)}, expected dict(type=..., ...) with the name of a hook')
    found = class_of(hook, HOOKS)
    if found is None:
        known = {*HOOKS.module_dict, *HOOKS.parent.module_dict}
        near = difflib.get_close_matches(kind, sorted(known), 1)
        hint = f'. Did you mean {near[0]!r}?' if near else ''
        raise ConfigError(f'{where}: found the type {kind!r}, expected the name of a registered hook{hint}')
    return found


def options_of(kind: Callable) -> set[str] | None:
    """Names that a class's ``__init__`` takes, by itself or handed on to a base (``**kwargs``); None if any name. What
    the base takes and the class does not stands in its ``refused``.

    Of a function those that have a default: the others are what it is called with. Parameters that are called
    ``**unknown`` are there to be refused.
    """
    if not inspect.isclass(kind):
        parameters = inspect.signature(kind).parameters.values()
        any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
        return None if any_name else {p.name for p in parameters if p.default is not p.empty}
    names: set[str] = set()
    for base in kind.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD and p.name != 'unknown' for p in parameters):
            return names - {*getattr(kind, 'refused', ())}
    return None if names else set()


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
