"""Which video a file holds: one name for the same clip in every list, and the ids of an annotation list.

Datasets share videos under other paths (the training list of Kinetics-600 holds clips of Kinetics-400's
validation list), so paths do not tell whether training and validation are apart.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mmnas_video.errors import ConfigError

from .checks import HOW, no_list, read_text

KINETICS = re.compile(r'([\w-]{11})_(\d{6})_(\d{6})')  # <youtube id>_<start>_<end>, in seconds, as it is downloaded
IMAGES = frozenset(('jpg', 'jpeg', 'png', 'ppm', 'bmp', 'pgm', 'tif', 'tiff', 'webp'))
LABELS = re.compile(r'(\s+-?\d+)+\s*$')  # after the path: 'label', or 'frames label'
COLUMNS = ('youtube_id', 'time_start', 'time_end')  # of Kinetics' own csv lists


def video_id(path: str) -> str:
    """Return what a file is called whatever list names it.

    - ``<youtube id>_<start>_<end>.mp4`` (Kinetics): youtube id and start. The end is left out: lists of
      different years round it differently.
    - any other video, or folder of frames: the file's name without folder and suffix.
    - an image: its whole path. Image sets number their files anew in each folder, and none is cut from
      another.
    """
    path = path.replace('\\', '/')  # plain string work: millions of paths come by here at every start
    if is_image(path):
        return path
    name = path.rpartition('/')[2]
    stem = name.rpartition('.')[0] or name  # no dot, or only a leading one
    found = KINETICS.fullmatch(stem)
    return f'{found[1]}_{found[2]}' if found else stem


def is_image(path: str) -> bool:
    """Whether a file is one, by its suffix."""
    stem, _, suffix = path.replace('\\', '/').rpartition('/')[2].rpartition('.')
    return suffix.lower() in IMAGES and bool(stem)


def id_hash(name: str) -> int:
    """64 bits of ``name``: millions of ids fit an array, and meet by chance once in 10⁷ tries."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), 'big')


def hashes(names: Iterator[str] | list[str]) -> np.ndarray:
    """``id_hash`` of each name, (names,) uint64."""
    return np.fromiter((id_hash(name) for name in names), dtype=np.uint64)


def among(ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each of ``ids`` is one of ``others``, (ids,) bool: ``np.isin`` looks for equal ones in both first, which
    takes it seconds where ``others`` are millions."""
    if not len(others):
        return np.zeros(len(ids), bool)
    ordered = np.sort(others)
    return ordered[np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)] == ids


def read_list(path: str | Path, key: str) -> list[str]:
    """The paths (or official ids, as paths) that an annotation list names, in its order.

    Args:
        path: text lines ``path label`` or ``folder frames label``; a ``.csv`` as Kinetics publishes it; a
            ``.json`` as Something-Something-V2 does (a list of ``{"id": ...}``).
        key: config key or option that named the list, for messages.

    Raises:
        ConfigError: no such file, no clip in it, text that is not UTF-8, or a format that is none of these.
    """
    place = Path(path)
    if not place.is_file():
        raise no_list(key, place)
    reader = {'.csv': _read_csv, '.json': _read_json}.get(place.suffix.lower(), _read_text)
    names = reader(place, key)
    if not names:
        raise ConfigError(f"{key}: found no clip in '{place}', expected at least 1. {HOW}")
    return names


def _read_text(place: Path, key: str) -> list[str]:
    return [LABELS.sub('', line.strip()) for line in read_text(place, key).split('\n') if line.strip()]


def _read_csv(place: Path, key: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(read_text(place, key)))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise ConfigError(f"{key}: found no column {', '.join(missing)} in '{place}', expected Kinetics' own csv.")
    try:
        return [f'{r[COLUMNS[0]]}_{int(r[COLUMNS[1]]):06d}_{int(r[COLUMNS[2]]):06d}' for r in rows]
    except (TypeError, ValueError):
        raise ConfigError(f"{key}: found a time in '{place}' that is no whole number of seconds.") from None


def _read_json(place: Path, key: str) -> list[str]:
    text = read_text(place, key)
    try:
        return [str(row['id']) for row in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f'{key}: cannot read \'{place}\', expected a list of {{"id": ...}}.') from None


def shared_ids(train: Mapping[str, list[str]], val: Mapping[str, list[str]]) -> dict[tuple[str, str], list[str]]:
    """Per (training list, validation list) the training paths whose video the validation list has too.

    Pairs that share nothing are not in it.
    """
    known = {name: {video_id(path) for path in paths} for name, paths in val.items()}
    found = {
        (one, other): [path for path in paths if video_id(path) in ids]
        for one, paths in train.items()
        for other, ids in known.items()
    }
    return {pair: paths for pair, paths in found.items() if paths}
