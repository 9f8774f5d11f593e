"""What goes wrong before a run's first step is done: one error that names the part of the config."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .config_keys import REGISTRIES, components, found_in_registries, name_of, parts
from .errors import ConfigError, RunError, StackError, unknown_key
from .registry import options_of

#: Functions of MMEngine that build a part of a config, which is their argument ``cfg``.
BUILDERS = ('build_from_cfg', 'build_model_from_cfg', 'build_runner_from_cfg', 'build_scheduler_from_cfg')
#: What MMEngine calls with options of a config and no registry knows.
CALLED = (DataLoader,)
#: What Python says of an option that a function or a class does not take.
UNEXPECTED = re.compile(r"(\S+?)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")
#: A full disk is no mistake in a config.
FULL = (errno.ENOSPC, errno.EDQUOT)


class FirstStep(Hook):
    """Notes that a step of a training or a test has been done."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.done = False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """It has."""
        self.done = True

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """It has."""
        self.done = True


@contextmanager
def building(cfg: Mapping[str, Any]) -> Iterator[FirstStep]:
    """Build and run in this block; register the hook that it gives.

    Until a step has been done, whatever an option of a config makes MMEngine, MMAction2 or torch raise is a
    ConfigError that says which part of the config was being built. Later errors are not of the config and pass.

    Raises:
        ConfigError: see above; the error that was is its cause.
    """
    step = FirstStep()
    try:
        yield step
    except (ConfigError, StackError, RunError):
        raise
    except Exception as error:
        if step.done or (isinstance(error, OSError) and error.errno in FULL):
            raise
        raise explained(error, cfg) from error


def explained(error: Exception, cfg: Mapping[str, Any]) -> ConfigError:
    """The error that names the part of ``cfg`` that could not be built."""
    part = _part_of(error.__traceback__)
    where = 'config' if part is None else f'{_place_of(part, cfg)} ({name_of(part.get("type"))})'
    text = str(error)
    if found := UNEXPECTED.search(text):
        return _unexpected(found[1].rpartition('.')[2], found[2], part, where, cfg)
    if found := re.match(r"[\"']?(\S+) is not in the \S+ registry", text):
        names = {name for one in REGISTRIES for name in one.module_dict}
        near = difflib.get_close_matches(found[1], sorted(names), 1)
        hint = f'. Did you mean {near[0]!r}?' if near else ''
        return ConfigError(f'{where}.type: found {found[1]!r}, expected the name of a registered component{hint}')
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ConfigError(
        f'{where}: found what cannot be built or run ({type(error).__name__}: {(lines or ["no reason"])[0][:300]}), '
        'expected options that fit together (MMNAS_VIDEO_TRACEBACK=1 in the environment shows where it fails)'
    )


def _unexpected(name: str, key: str, part: Mapping[str, Any] | None, where: str, cfg: Mapping[str, Any]) -> ConfigError:
    """The error for an option that a class or function does not take.

    Not all is built by a registry that stands in the traceback: hooks build optimisers, and MMEngine and torch call
    collate functions and loaders. Then the part is the one that has this option and is of this name.
    """
    kind = part['type'] if part and key in part else name
    where = where if part else name
    for path, one in parts(cfg):
        if key in one and _fits(path, one, {name, _short(kind)}):
            kind = one.get('type', name)
            where = f'{path} ({name_of(kind)})'
            break
    kinds = found_in_registries(kind) or [one for one in CALLED if one.__name__ == kind]
    known = options_of(kinds[0]) if len(kinds) == 1 else None
    if known is None:
        return ConfigError(f'{where}: found the unknown key {key!r}, expected only what {name_of(kind)} takes')
    return unknown_key(where, key, known)


def _fits(path: str, part: Mapping[str, Any], names: set[str]) -> bool:
    """Whether a part of a config is for something of one of these names (a loader's names no type)."""
    if 'type' in part:
        return _short(part['type']) in names
    return path.lower().endswith(tuple(name.lower() for name in names))


def _short(kind: Any) -> str:
    """The name of a component without its scope."""
    return name_of(kind).rpartition('.')[2]


def _part_of(traceback: TracebackType | None) -> Mapping[str, Any] | None:
    """The innermost part of a config that was being built."""
    found = None
    while traceback is not None:
        frame = traceback.tb_frame
        part = frame.f_locals.get('cfg') if frame.f_code.co_name in BUILDERS else None
        found = part if isinstance(part, Mapping) and 'type' in part else found
        traceback = traceback.tb_next
    return found


def _place_of(part: Mapping[str, Any], cfg: Mapping[str, Any]) -> str:
    """Where ``part`` stands in ``cfg``: MMEngine copies it, and takes some keys out before it builds it."""
    same = [(path, other) for path, other in components(cfg) if other['type'] == part['type']]
    same = [one for one in same if all(key in one[1] and _equal(one[1][key], part[key]) for key in part)] or same
    return min(same, key=lambda one: len(one[1]))[0] if same else 'config'


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays, and whatever else a config may hold
        return False
