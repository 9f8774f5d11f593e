"""The lines of an annotation list, kept as they are apart from the path."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmnas_video.errors import ConfigError

from .checks import HOW
from .video_ids import LABELS


@dataclass(frozen=True)
class Line:
    """One clip of a list: its path, and what stands behind it (blanks and labels)."""

    path: str
    labels: str


def read_lines(source: str | Path, key: str, delimiter: str | None = None) -> list[Line]:
    """Read a list of lines ``path label...``.

    Args:
        source: the list.
        key: option that named it, for messages.
        delimiter: what stands between path and labels, as ``VideoDataset.delimiter``; None takes blanks before
            whole numbers, so a path may have blanks.

    Raises:
        ConfigError: no such file, no clip in it, or text that is not UTF-8.
    """
    place = Path(source)
    if not place.is_file():
        raise ConfigError(f"{key}: found no file '{place}', expected an annotation list. {HOW}")
    try:
        rows = [row.strip() for row in place.read_text(encoding='utf-8').splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: cannot read '{place}' ({error.reason}), expected text in UTF-8.") from None
    split: Callable[[str], Line] = _blanks if delimiter is None else lambda row: _split(row, delimiter)
    lines = [split(row) for row in rows if row]
    if not lines:
        raise ConfigError(f"{key}: found no clip in '{place}', expected at least 1. {HOW}")
    return lines


def _blanks(row: str) -> Line:
    path = LABELS.sub('', row)
    return Line(path, row[len(path) :])


def _split(row: str, delimiter: str) -> Line:
    path, found, labels = row.partition(delimiter)
    return Line(path, found + labels)
