"""What ``--cfg-options KEY=VALUE`` means: MMAction2's syntax, and any Python literal; nothing is lost."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from mmnas_video.errors import ConfigError, shown

#: Opening bracket of a list or tuple to its end and to what it makes.
BRACKETS = {'[': (']', list), '(': (')', tuple)}


class OptionsAction(DictAction):
    """MMEngine's, which loses blanks, cannot take a dict, and never ends on ``f(a, b)``, with our reading of values."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Put the options with those that stand there already.

        Raises:
            ConfigError: a word without ``=``, or a list whose brackets do not match.
        """
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values or ():
            key, equals, text = word.partition('=')
            if not equals or not key:
                raise ConfigError(f'{option_string}: found {shown(word)}, expected KEY=VALUE')
            options[key] = read_value(text, f'{option_string} {key}')
        setattr(namespace, self.dest, options)


def read_value(text: str, where: str) -> Any:
    """The value of an option.

    Args:
        text: a Python literal with quotes or braces (``'a,b'``, ``{'x': [1, 2]}``); a number, ``true``, ``false`` or
            ``None``; a list ``[a,b]`` or ``a,b`` or a tuple ``(a,b)`` of such; or else a string, taken as it is.
        where: for messages.

    Raises:
        ConfigError: a list or tuple whose brackets do not match.
    """
    word = text.strip()
    if set(word) & {*'\'"{'}:
        try:
            value = ast.literal_eval(word)
            return list(value) if isinstance(value, tuple) and word[0] != '(' else value
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            pass
    end, kind = BRACKETS.get(word[:1], ('', list))
    inside = word[1:-1] if end and word.endswith(end) else None
    if inside is None and ',' not in word:
        value = DictAction._parse_int_float_bool(word)
        return text if isinstance(value, str) else value
    words = _split(word if inside is None else inside, where, text)
    if inside is None and len(words) == 1:
        return text  # all commas stand in brackets, as in f(a, b)
    return kind(read_value(one.strip(), where) for one in words if one.strip())


def _split(text: str, where: str, whole: str) -> list[str]:
    """The parts between the commas that stand in no brackets."""
    parts, depth = [''], 0
    for char in text:
        depth += (char in '([') - (char in ')]')
        if depth < 0:
            break
        if char == ',' and not depth:
            parts.append('')
        else:
            parts[-1] += char
    if depth:
        raise ConfigError(
            f'{where}: found {shown(whole)}, whose brackets do not match, expected a list such as [1,2]; a string with '
            'a comma in it needs quotes of its own, as in KEY="\'a,b\'"'
        )
    return parts
