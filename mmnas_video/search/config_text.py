"""A config as Python text that a person reads: what fits on a line stands on one, in the order that the config has.

MMEngine's own ``pretty_text`` sorts the keys, and its formatter takes seconds for a config of ours.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

WIDTH, INDENT = 120, 4


def config_text(cfg: Config) -> str:
    """The text of a config file whose content is ``cfg``; MMEngine reads it back as it is.

    A class in the place of a type's name is written as ``'module.Name'``, by which MMEngine's registries find it.
    """
    return ''.join(f'{key} = {_text(value, 0, len(key) + 3)}\n' for key, value in cfg.to_dict().items())


def unformatted(cfg: Config) -> Config:
    """``cfg`` itself, once MMEngine's formatter is turned off for it.

    MMEngine writes a config's text into every checkpoint, and its formatter takes seconds each time. The argument
    ``format_python_code`` that is meant for this does not reach a classic config.
    """
    object.__setattr__(cfg, '_format_python_code', False)
    return cfg


def _text(value: Any, indent: int, used: int) -> str:
    """A value after ``used`` characters of a line that begins with ``indent`` blanks; a comma may follow."""
    line = _line(value)
    parts = _parts(value)
    if parts is None or not parts[1] or indent + used + len(line) < WIDTH:
        return line
    left, named, right = parts
    inner = indent + INDENT
    lines = (f'{" " * inner}{name}{_text(item, inner, len(name))},\n' for name, item in named)
    return f'{left}\n{"".join(lines)}{" " * indent}{right}'


def _line(value: Any) -> str:
    parts = _parts(value)
    if parts is not None:
        left, named, right = parts
        comma = ',' if isinstance(value, tuple) and len(named) == 1 else ''
        return f'{left}{", ".join(name + _line(item) for name, item in named)}{comma}{right}'
    if isinstance(value, type):
        return repr(f'{value.__module__}.{value.__qualname__}')
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str] | None:
    """Brackets of a container, and its items with what stands before each; None of anything else."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value):
            return 'dict(', [(f'{key}=', item) for key, item in value.items()], ')'
        return '{', [(f'{key!r}: ', item) for key, item in value.items()], '}'
    for kind, left, right in ((list, '[', ']'), (tuple, '(', ')')):
        if isinstance(value, kind):
            return left, [('', item) for item in value], right
    return None
