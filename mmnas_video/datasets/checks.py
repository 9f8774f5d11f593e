"""Checks on data that are made before any long work: missing files, parts that are empty or overlap."""

import shlex
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from mmnas_video.errors import ConfigError, named

HOW = 'docs/data.md says how to prepare the data (python tools/data/make_demo.py makes the demo data).'
PROBED = 64  # files looked for, evenly spread over the list, before it is believed


def read_text(place: Path, key: str) -> str:
    """The text of a list at config key or option ``key``, without the mark that some editors begin UTF-8 with.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return place.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: cannot read '{place}' ({error.reason}), expected text in UTF-8.") from None


def no_list(key: str, path: Path) -> ConfigError:
    """The error for a list, at a config key or option, that is not there."""
    return ConfigError(f'{key}: found no file {named(path)}, expected an annotation list. {HOW}')


def check_not_empty(parts: Mapping[str, Sequence[str]]) -> None:
    """Demand that every part (config key → its files) has a file.

    Raises:
        ConfigError: names the first part that is empty.
    """
    for key, files in parts.items():
        if len(files) == 0:
            raise ConfigError(f'{key}: found no clip, expected at least 1. Look at its ann_file and held_out. {HOW}')


def check_disjoint(parts: Mapping[str, Sequence[str]]) -> None:
    """Demand that no two parts share a file, such as what α is trained on and what gives the final figure.

    Args:
        parts: config key → identifiers of its files; :meth:`SeededDataset.file_ids` gives them as absolute
            paths.

    Raises:
        ConfigError: names the two parts, how many files they share, and up to three of them.
    """
    sets = {key: frozenset(files) for key, files in parts.items()}
    for (one, files), (other, others) in combinations(sets.items(), 2):
        shared = sorted(files & others)
        if shared:
            more = ', …' if len(shared) > 3 else ''
            raise ConfigError(
                f'{one} and {other}: found {len(shared)} files in both ({", ".join(shared[:3])}{more}), '
                'expected none. Give them different lists, or split one list by held_out, with '
                "part='train' and part='held_out'."
            )


def is_local(path: str) -> bool:
    """Whether ``path`` is a plain path of this machine, which can be looked at, and no address of a store."""
    return '://' not in path and not path.startswith('s3:')


def check_sources(cfg: Mapping[str, Any], key: str) -> None:
    """Demand that the list and the folders which a dataset config names are there.

    Args:
        cfg: config of a MMAction2 / MMEngine dataset (``ann_file``, ``data_root``, ``data_prefix``).
        key: config key of that dataset, for the message.

    Raises:
        ConfigError: names the key and the path.
    """
    root = cfg.get('data_root') or ''
    ann_file = cfg.get('ann_file') or ''
    if ann_file and is_local(root) and is_local(ann_file):
        _check_list(Path(root) / ann_file, f'{key}.ann_file')
    prefixes = cfg.get('data_prefix') or cfg.get('split') or {}  # a split is mmpretrain's short name of a prefix
    for name, prefix in ({'img_path': prefixes} if isinstance(prefixes, str) else prefixes).items():
        if prefix and is_local(root) and is_local(prefix) and not (Path(root) / prefix).is_dir():
            place = Path(root) / prefix
            key = f'{key}.data_prefix.{name}'
            raise ConfigError(f'{key}: found no folder {named(place)}, expected the data in it. {HOW}')


def _check_list(path: Path, key: str) -> None:
    if not path.is_file():
        raise no_list(key, path)
    with path.open('rb') as lines:
        if lines.read(len(BOM_UTF8)) == BOM_UTF8:  # to MMAction2 a part of the first path
            raise ConfigError(
                f"{key}: found a byte order mark at the beginning of '{path}', expected UTF-8 without one: "
                f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(str(path))} removes it."
            )
        lines.seek(0)
        if not any(line.strip() for line in lines):
            raise ConfigError(f"{key}: found no clip in '{path}', expected at least 1. {HOW}")


def check_exact_frames(steps: Sequence[Any], key: str) -> None:
    """Demand that a pipeline decodes the frames that it has sampled.

    Raises:
        ConfigError: a reader in the mode that gives the key frames nearby instead.
    """
    for step in steps:
        if getattr(step, 'mode', None) == 'efficient':
            raise ConfigError(
                f"{key}.pipeline: found {type(step).__name__}(mode='efficient'), which gives key frames instead of the "
                "sampled frames; expected mode='accurate'. docs/data.md (Faster decoding) says what is faster."
            )


def check_some_exist(files: Sequence[str], key: str) -> None:
    """Demand that one of a few files, evenly spread over the list, is there: else the path is bad.

    Raises:
        ConfigError: names the key and the first file that was looked for.
    """
    probed = [path for path in files[:: max(1, len(files) // PROBED)] if is_local(path)]
    if probed and not any(_found(path) for path in probed):
        raise ConfigError(
            f"{key}: found none of the {len(probed)} listed files looked for (the first: '{probed[0]}'), "
            f'expected the paths of the list below its data_prefix. {HOW}'
        )


def _found(path: str) -> bool:
    return Path(path).exists() or Path(path + '.mp4').exists()  # MMAction2's decord reader adds a missing .mp4
