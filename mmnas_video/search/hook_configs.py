"""Hooks as a config has them: which of them searches, what it is called, and one built by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS, hook_class

from .base import SearchHook


def build_hook(hook: Mapping[str, Any]) -> Any:
    """A hook of a config by itself. Its ``priority`` is for the Runner that registers it."""
    return HOOKS.build({key: value for key, value in hook.items() if key != 'priority'})


def is_named(hook: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether a hook config names one of these classes, as a class or by name, with its scope or without."""
    return getattr(hook_class(hook), '__name__', None) in names


def is_search_hook(hook: Mapping[str, Any]) -> bool:
    """Whether a hook config names a search."""
    found = hook_class(hook)
    return isinstance(found, type) and issubclass(found, SearchHook)


def search_hooks_of(cfg: Config) -> dict[int, Any]:
    """Number in ``custom_hooks`` to config, of each search hook.

    Raises:
        ConfigError: a hook, of any kind, that is not registered.
    """
    return {i: hook for i, hook in enumerate(cfg.get('custom_hooks') or []) if is_search_hook(hook)}


def search_hook_of(cfg: Config) -> Any | None:
    """The config of the (first) search hook; None where there is none, as in a training.

    Raises:
        ConfigError: as :func:`search_hooks_of`.
    """
    return next(iter(search_hooks_of(cfg).values()), None)


def search_hook_index(cfg: Config) -> int:
    """Number of the one search hook in ``custom_hooks``.

    Raises:
        ConfigError: none, or several.
    """
    found = [*search_hooks_of(cfg)]
    if len(found) != 1:
        hint = '' if found else '. A config without a search hook is a training: tools/train.py CONFIG'
        raise ConfigError(
            f'custom_hooks: found {len(found)} search hooks, expected one such as '
            f"dict(type='PARSECSearchHook', ...){hint}"
        )
    return found[0]
