"""The lines of an annotation list, kept as they are apart from the path."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmnas_video.errors import ConfigError

from .checks import HOW, no_list, read_text
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
            whole numbers, so a path may have blanks. A backslash and a t, as a shell hands ``'\\t'`` on, are a tab.

    Raises:
        ConfigError: no such file, no clip in it, text that is not UTF-8, or a line without the delimiter.
    """
    place = Path(source)
    if not place.is_file():
        raise no_list(key, place)
    rows = [row.strip() for row in read_text(place, key).split('\n')]
    if delimiter is not None:
        delimiter = delimiter.replace('\\t', '\t')
        _check_delimiter(delimiter, rows, place)
    lines = [_blanks(row) if delimiter is None else _split(row, delimiter) for row in rows if row]
    if not lines:
        raise ConfigError(f"{key}: found no clip in '{place}', expected at least 1. {HOW}")
    return lines


def _check_delimiter(delimiter: str, rows: Sequence[str], place: Path) -> None:
    if not delimiter:
        raise ConfigError("--delimiter: found '', expected what stands between path and label.")
    for number, row in enumerate(rows, 1):
        if row and delimiter not in row:
            raise ConfigError(
                f"--delimiter: found {row!r} in line {number} of '{place}', expected {delimiter!r} between path and "
                'label.'
            )


def _blanks(row: str) -> Line:
    path = LABELS.sub('', row)
    return Line(path, row[len(path) :])


def _split(row: str, delimiter: str) -> Line:
    path, found, labels = row.partition(delimiter)
    return Line(path, found + labels)
