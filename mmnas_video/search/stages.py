"""A staged (progressive) search as data: which part of a space is searched when.

``stages = [dict(name='sparse', opens=['sparse.*'], fixes={'*.attention': 'none'}, epochs=800, ...), ...]`` in a config.
Every stage is an ordinary search in which a part of the space is pinned: what earlier stages chose, and what no stage
has opened yet. So it works for any space and any method.

Source: Auto-TSNet (Gong et al., ICCV 2021), Sec. 4.2.
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mmengine.config import Config

from mmnas_video.errors import ConfigError, check_number, refuse_unknown
from mmnas_video.space import SearchSpace, Value

from .hook_configs import search_hook_index

#: Short keys of a stage, and what they override in the config; ``{hook}`` is the number of the search hook.
OVERRIDES = {
    'epochs': 'train_cfg.max_epochs',
    'lr': 'optim_wrapper.optimizer.lr',
    'budget': 'custom_hooks.{hook}.budget',
    'arch_lr': 'custom_hooks.{hook}.arch_optimizer.lr',
}


@dataclass(frozen=True)
class Stage:
    """One stage of a search.

    Attributes:
        name: of its folder, ``WORK_DIR/<number>_<name>``.
        opens: patterns of the choices that are searched; all of them are chosen at the stage's end.
        fixes: pattern to value, for choices that no stage has opened yet. It holds until a stage opens them.
        start: pattern to value, for choices that the stage before did not have: where the network is the one before.
            By default their first (smallest) value.
        epochs, lr, arch_lr, budget: see :data:`OVERRIDES`; None leaves the config's own. A learning rate schedule
            without ``T_max`` and ``end`` follows the epochs.
        cfg_options: anything else to override in the config for this stage (``{'model.backbone.streams': ...}``).
        previous: folder of a finished stage that this one goes on from; for the first stage of a config only.
        note: shown beside the size of the stage's space.
    """

    name: str
    opens: tuple[str, ...]
    fixes: Mapping[str, Value] = field(default_factory=dict)
    start: Mapping[str, Value] = field(default_factory=dict)
    epochs: int | None = None
    lr: float | None = None
    arch_lr: float | None = None
    budget: Mapping[str, Any] | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    previous: str | None = None
    note: str = ''


@dataclass(frozen=True)
class Pins:
    """What is settled before a stage.

    Attributes:
        chosen: choice to value, as earlier stages chose; for a plan made before they have run, their names alone count.
        waiting: choice to value, pinned until a stage opens it.
    """

    chosen: Mapping[str, Value | None] = field(default_factory=dict)
    waiting: Mapping[str, Value] = field(default_factory=dict)


def read_stages(cfg: Config) -> list[Stage]:
    """The stages of a config, their form checked.

    Raises:
        ConfigError: not a list of dicts, an unknown key, a name twice, nothing opened, or a ``previous`` that is not
            the first's.
    """
    found = cfg.get('stages')
    if not isinstance(found, (list, tuple)) or not found or not all(isinstance(stage, Mapping) for stage in found):
        raise ConfigError(f"stages: found {found!r}, expected a list such as [dict(name='backbone', opens=['*'])]")
    stages = [_read_stage(dict(stage), f'stages[{i}]') for i, stage in enumerate(found)]
    for i, stage in enumerate(stages):
        if stage.name in [other.name for other in stages[:i]]:
            raise ConfigError(f'stages[{i}].name: found {stage.name!r} twice, expected a name of its own')
        if i and stage.previous:
            raise ConfigError(
                f'stages[{i}].previous: found {stage.previous!r}, expected none: this stage goes on from '
                f'{stages[i - 1].name!r}'
            )
    return stages


def _read_stage(stage: dict[str, Any], key: str) -> Stage:
    refuse_unknown(key, stage, [f.name for f in fields(Stage)])
    name, opens = stage.get('name'), stage.get('opens')
    if not isinstance(name, str) or not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_-]*', name):
        raise ConfigError(f'{key}.name: found {name!r}, expected letters, digits, - and _: it names a folder')
    if not isinstance(opens, (list, tuple)) or not opens or not all(isinstance(pattern, str) for pattern in opens):
        raise ConfigError(f"{key}.opens: found {opens!r}, expected patterns of choices such as ['*.kernel']")
    if stage.get('epochs') is not None:
        check_number(f'{key}.epochs', stage['epochs'], 1)
    for option in ('fixes', 'start', 'cfg_options'):
        if not isinstance(stage.get(option, {}), Mapping):
            raise ConfigError(f'{key}.{option}: found {stage[option]!r}, expected a dict')
    return Stage(**{**stage, 'opens': tuple(opens)})


def stage_config(cfg: Config, stage: Stage, key: str) -> Config:
    """The config of one stage as an ordinary search, before anything is pinned in it.

    Raises:
        ConfigError: ``arch_lr`` for a search hook without an ``arch_optimizer`` to set it in.
    """
    made = copy.deepcopy(cfg)
    for name in ('stages', 'retrain'):
        made.pop(name, None)
    hook = search_hook_index(cfg)
    if stage.arch_lr is not None and 'arch_optimizer' not in made.custom_hooks[hook]:
        raise ConfigError(
            f'{key}.arch_lr: found {stage.arch_lr}, but no custom_hooks[{hook}].arch_optimizer; expected one such as '
            "dict(type='Adam', lr=0.02, weight_decay=0)"
        )
    options = {path.format(hook=hook): getattr(stage, name) for name, path in OVERRIDES.items()}
    made.merge_from_dict({path: copy.deepcopy(value) for path, value in options.items() if value is not None})
    made.merge_from_dict(copy.deepcopy(dict(stage.cfg_options)))
    return made


def opened(stage: Stage, key: str, space: SearchSpace, pins: Pins) -> tuple[tuple[str, ...], dict[str, Value]]:
    """Which choices a stage searches, and where all others wait.

    Args:
        stage: the stage.
        key: where it stands in the config, for messages.
        space: of the stage's network, with the config's own ``fixed`` alone.
        pins: what is settled before.

    Returns:
        Names of the open choices in the space's order; choice to value of all that are neither open nor chosen.

    Raises:
        ConfigError: a pattern that fits nothing or only what is fixed, a choice that an earlier stage chose, one that
            has no value here, or one that earlier stages chose and this stage's network lacks.
    """
    lost = [name for name in pins.chosen if name not in space.names]
    if lost:
        raise ConfigError(
            f'{key}: found a network without the choice {lost[0]!r}, which an earlier stage has chosen; expected the '
            'space of the stages before, or a wider one'
        )
    fixes = space.match(stage.fixes, f'{key}.fixes')
    names: set[str] = set()
    for pattern in stage.opens:
        fits = set(space.match({pattern: None}, f'{key}.opens')) - set(fixes)
        _refuse_chosen(f'{key}.opens', sorted(fits & set(pins.chosen)), pins)
        fits = {name for name in fits if not space[name].single}
        if not fits:
            raise ConfigError(f'{key}.opens: the pattern {pattern!r} fits only choices that are fixed; expected others')
        names |= fits
    _refuse_chosen(f'{key}.fixes', sorted(set(fixes) & set(pins.chosen)), pins)
    waiting = {name: value for name, value in pins.waiting.items() if name in space.names and name not in names}
    waiting.update(fixes)
    homeless = [c.name for c in space.open if c.name not in names and c.name not in waiting | dict(pins.chosen)]
    if homeless:
        raise ConfigError(
            f'{key}: found no value for {homeless[0]!r}'
            + (f' and {len(homeless) - 1} other choices' if len(homeless) > 1 else '')
            + f', expected each choice in opens, or with a value in fixes such as {{{homeless[0]!r}: '
            f'{space[homeless[0]].values[0]!r}}}'
        )
    space.fix(waiting)
    return tuple(name for name in space.names if name in names), waiting


def _refuse_chosen(key: str, names: Sequence[str], pins: Pins) -> None:
    if names:
        value = pins.chosen[names[0]]
        raise ConfigError(
            f'{key}: found {names[0]!r}, which an earlier stage has chosen'
            + ('' if value is None else f' ({value!r})')
            + '; expected choices that no stage before opens'
        )


def start_values(stage: Stage, key: str, space: SearchSpace, before: Mapping[str, Value]) -> dict[str, Value]:
    """Where in ``space`` the network is the one before: its own values, and for choices that are new ``stage.start``.

    Args:
        stage: the stage.
        key: where it stands in the config, for messages.
        space: of the stage's network.
        before: the network of the stage before; all of its choices are taken over.

    Raises:
        ConfigError: a pattern of ``start`` that fits no new choice, or a value that is not offered.
    """
    new = SearchSpace(space.name, [choice for choice in space if choice.name not in before])
    wrong = [pattern for pattern in stage.start if not fnmatch.filter(new.names, pattern)]
    if wrong:
        raise ConfigError(
            f'{key}.start: the pattern {wrong[0]!r} fits none of the choices that are new in this stage '
            f'({", ".join(new.names[:4]) or "there are none"})'
        )
    return {**new.fix(new.match(stage.start, f'{key}.start')).smallest, **before}
