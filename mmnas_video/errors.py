"""The three errors of this package, and how a value stands in a message.

Each takes one plain message, so that it survives the trip from a data loader's worker process, which rebuilds
an exception from its type and its text.
"""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

#: Longest message of a ConfigError (characters): what it refuses may be a megabyte, and be quoted.
MOST = 2500


class ConfigError(ValueError):
    """Something that a person wrote is wrong: a config key, a file, an argument.

    The message names the key or file first, then what was found, what was expected, and what to do::

        train_dataloader.dataset.ann_file: found no file at 'data/k400/train.txt', expected an annotation
        list. Prepare it as docs/data.md says, or set the key.

    Of a message without end, because it quotes a value without end, beginning and end are kept.
    """

    def __init__(self, message: str = '') -> None:
        whole = len(message) <= MOST
        super().__init__(message if whole else f'{message[: MOST // 2]} [...] {message[-MOST // 2 :]}')


class StackError(RuntimeError):
    """The installed software cannot run this package, and only the person at the keyboard can change that.

    Not an ``ImportError``: MMEngine's ``custom_imports`` replaces every ``ImportError`` by a text about
    ``sys.path``, under which the advice would be lost.
    """


class RunError(RuntimeError):
    """Something befell a run that was well configured: the disk is full, the losses are no numbers any more.

    What had been saved is intact, and the run goes on from there (``--resume``) once the cause is mended.
    """


def unknown_key(where: str, key: object, known: Iterable[str]) -> ConfigError:
    """The error for a key that nothing reads, with the nearest one that something does."""
    offered = sorted(known)
    near = difflib.get_close_matches(str(key), offered, 1)
    hint = f'. Did you mean {near[0]!r}?' if near else ''
    expected = f'one of {offered}' if offered else 'none'
    return ConfigError(f'{where}: found the unknown key {shown(key)}, expected {expected}{hint}')


def refuse_unknown(where: str, given: Mapping[Any, object] | None, known: Collection[str]) -> None:
    """Look at the keys of a part of a config; None is a part that is not there.

    Raises:
        ConfigError: the part has no keys, or the first one that nothing reads, with the nearest that something does.
    """
    if given is None:
        return
    if not isinstance(given, Mapping):
        offered = ', '.join(f'{key}=...' for key in known)
        raise ConfigError(f'{where}: found {shown(given)}, expected dict({offered}), or some of these')
    for key in given:
        if key not in known:
            raise unknown_key(where, key, known)


def check_number(where: str, value: object, least: int = 0, whole: bool = True, why: str = '') -> None:
    """Look at a number of a config.

    Args:
        where: its key.
        value: as the config has it.
        least: the smallest that it may be.
        whole: whether it may have no fraction.
        why: for the message, after the expected range.

    Raises:
        ConfigError: something else than a number, which True and False are not, one below ``least``, NaN or infinity.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < math.inf:
        raise ConfigError(f'{where}: found {shown(value)}, expected a {"whole " * whole}number from {least}{why}')


def check_one_of(where: str, value: object, offered: Collection[object]) -> None:
    """Look at an option of a config that has a few values.

    Raises:
        ConfigError: something else; True is no 1.
    """
    if isinstance(value, bool) or value not in offered:
        raise ConfigError(f'{where}: found {shown(value)}, expected one of {list(offered)}')


def shown(value: object, most: int = 80) -> str:
    """``repr`` of what a file or config holds, for a message: of a value without end its beginning."""
    if isinstance(value, str) and len(value) > most:
        return f'{value[:most]!r}... ({len(value):,} characters)'
    try:
        text = repr(value)
    except Exception:  # Python prints no integer of more than 4,300 digits, and a repr may be anything
        return f'a {type(value).__name__} that cannot be printed'
    return text if len(text) <= 2 * most else f'{text[: 2 * most]}...'


def named(path: str | Path) -> str:
    """A path for a message: with the folder that it starts from, which may be another one than the user thinks."""
    return f"'{path}'" if Path(path).is_absolute() else f"'{path}' in the folder {Path.cwd()}"


def check_dataset_names(key: str, names: Iterable[object]) -> None:
    """Demand names that a dataset's head, losses and metrics can have.

    Raises:
        ConfigError: a name that is no identifier, or that has ``loss`` in it.
    """
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f'{key}: found the name {name!r}, expected letters, digits and _, such as k400.')
        if 'loss' in name:
            raise ConfigError(
                f"{key}: found the name {name!r}, expected one without 'loss' in it: MMEngine adds every value of "
                'such a name, accuracies too, to the loss.'
            )
