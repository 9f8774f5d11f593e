"""Keys of a config that no component of ours reads: refused with their place and the nearest name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmnas_video import registry
from mmnas_video.errors import ConfigError, shown, unknown_key
from mmnas_video.registry import options_of

#: What MMEngine takes out of a component's config before it builds it.
HOST = {'type', '_scope_', 'priority'}
REGISTRIES = [getattr(registry, name) for name in registry.__all__]
#: What MMEngine reads at the top of a config beside the arguments of its Runner, and what we read there.
MORE = ('activation_checkpointing', 'auto_scale_lr', 'compile', 'custom_imports', 'find_unused_parameters')
MORE += ('efficient_conv_bn_eval', 'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn')
OURS = ('console', 'cost_shape', 'retrain', 'stages')
#: All that is read there; anything else is a variable of the config's.
SECTIONS = {*inspect.signature(Runner.__init__).parameters, *MORE, *OURS} - {'self', 'cfg'}
#: How like the name of a section a variable has to be to be a slip, by difflib's ratio.
SLIP = 0.85


def check_sections(cfg: Mapping[str, Any]) -> None:
    """Look at the names at the top of a config: one that nearly is a section's is a slip, if the section itself is not
    there, or is (from ``_base_``) and both are dicts, or both lists.

    Raises:
        ConfigError: names both.
    """
    for key, value in cfg.items():
        if key in SECTIONS:
            continue
        meant = [name for name in SECTIONS if name not in cfg or _same_kind(cfg[name], value)]
        near = difflib.get_close_matches(str(key), meant, 1, SLIP)
        if near:
            beside = 'which it has beside it' if near[0] in cfg else 'which it has not'
            raise ConfigError(
                f'config: found {shown(key)}, which nothing reads, expected {near[0]!r}, {beside}; '
                'rename it, also where it is a variable of your own'
            )


def _same_kind(one: Any, other: Any) -> bool:
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in (Mapping, (list, tuple)))


def check_options(options: Iterable[str], cfg: Mapping[str, Any]) -> None:
    """Look at the keys of ``--cfg-options``: each changes something that the config has, or adds a section.

    Raises:
        ConfigError: names the key, and the nearest one that is known.
    """
    known = SECTIONS | {*cfg}
    for option in options:
        if option.partition('.')[0] not in known:
            raise unknown_key('--cfg-options', option.partition('.')[0], known)


def check_keys(cfg: Mapping[str, Any]) -> None:
    """Look at every component of ours in a config: backbones, heads, hooks, datasets, samplers, transforms, ...

    MMEngine's own answer to a key that a class does not take is a TypeError from the depths, and for some hooks one
    at the end of the first epoch.

    Raises:
        ConfigError: names the place, the key and the nearest one that is known.
    """
    for path, part in components(cfg):
        known = known_keys(part['type'])
        if known is None:
            continue
        for key in part:
            if key not in known and key not in HOST:
                raise unknown_key(f'{path} ({name_of(part["type"])})', key, known)


def components(cfg: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of a config that names a type, with its place (``custom_hooks[0].indicator``)."""
    return ((path, part) for path, part in parts(cfg) if 'type' in part)


def parts(cfg: Any, path: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of a config, with its place."""
    if isinstance(cfg, Config):  # which is no Mapping
        cfg = cfg._cfg_dict
    if isinstance(cfg, Mapping):
        yield path or 'config', cfg
        for key, value in cfg.items():
            yield from parts(value, f'{path}.{key}' if path else str(key))
    elif isinstance(cfg, (list, tuple)):
        for i, value in enumerate(cfg):
            yield from parts(value, f'{path}[{i}]')


def name_of(kind: Any) -> str:
    """What a config calls a component."""
    return kind if isinstance(kind, str) else getattr(kind, '__name__', repr(kind))


def found_in_registries(kind: Any) -> list[Any]:
    """What is registered under a name, in all registries and those that they inherit from (torch's optimisers are in
    MMEngine's); the class itself, if it is one."""
    if not isinstance(kind, str):
        return [kind] if callable(kind) else []
    name, found = kind.rpartition('.')[2], []
    for one in REGISTRIES:
        while one is not None and name not in one.module_dict:
            one = one.parent
        if one is not None:
            found.append(one.module_dict[name])
    return list(dict.fromkeys(found))


def known_keys(kind: Any) -> set[str] | None:
    """The options of a component of ours; None for others, and for one that takes any."""
    found = found_in_registries(kind)
    if len(found) != 1 or not str(getattr(found[0], '__module__', '')).startswith('mmnas_video.'):
        return None
    return options_of(found[0])
