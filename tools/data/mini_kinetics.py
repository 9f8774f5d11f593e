r"""Make the lists of a smaller Kinetics (Mini-Kinetics-200, 100 classes, ...) from the lists of Kinetics-400.

    # classes given by a file: one name (or label of Kinetics-400) a line
    python tools/data/mini_kinetics.py --train k400_train.txt --val k400_val.txt --classes mini200.txt
    # 100 classes drawn by a seed (not the classes of any paper: they publish lists, not seeds)
    python tools/data/mini_kinetics.py --train k400_train.txt --val k400_val.txt --num-classes 100 --seed 0
    # as S3D (arXiv:1712.04851) describes Mini-Kinetics-200: the 200 largest classes, 400 / 25 clips each
    python tools/data/mini_kinetics.py --train train.csv --val val.csv \
        --num-classes 200 --largest --clips 400 25

A list is either MMAction2's text ('path label', for raw frames 'folder frames label') or the official
csv (columns label, youtube_id, time_start, time_end). Class names of a text list are its folders
('abseiling/x.mp4 0'), or the lines of --label-map. Labels become 0 to n − 1 in the order that they had.
Written into --out, each file at once or not at all:

    NAME_train.txt  NAME_val.txt   'path label' lines
    NAME_classes.txt               class names in the order of the new labels
    NAME_class_map.csv             new label, old label, name
"""

import argparse
import csv
import io
import random
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.datasets.checks import read_text
from mmnas_video.datasets.seed import derive_seed
from mmnas_video.errors import ConfigError
from mmnas_video.space import write_text_atomic

CSV_PATH = '{folder}/{id}_{start:06d}_{end:06d}.mp4'  # as MMAction2's scripts store Kinetics


@dataclass(frozen=True)
class Clip:
    """One line of a list: what stands before the label (a path, or folder and frame count), and the class."""

    head: str
    label: str  # class key: the label as written in a text list, the normalised name in a csv


def normalised(name: str) -> str:
    """A class name as a folder has it: 'Playing  chess' and 'playing_chess' are one class."""
    return '_'.join(name.strip().lower().replace('_', ' ').split())


def read_list(path: Path, key: str) -> list[Clip]:
    """Read a list of either format, which the option ``key`` names.

    Raises:
        ConfigError: no such file, an empty one, text that is not UTF-8, or a line that is neither; names file and line.
    """
    if not path.is_file():
        raise ConfigError(f'{path}: found no file, expected a list of Kinetics-400 (text or csv).')
    file = io.StringIO(read_text(path, key))
    clips = _read_csv(path, csv.DictReader(file)) if path.suffix == '.csv' else _read_text(path, file)
    if not clips:
        raise ConfigError(f'{path}: found no clip, expected at least 1.')
    return clips


def _read_text(path: Path, lines: Iterable[str]) -> list[Clip]:
    clips = []
    for number, line in enumerate(lines, 1):
        head, _, label = line.strip().rpartition(' ')
        if not line.strip():
            continue
        if not head or not label.isdigit():
            raise ConfigError(f"{path}: found {line.strip()!r} in line {number}, expected 'path label'.")
        clips.append(Clip(head, str(int(label))))
    return clips


def _read_csv(path: Path, rows: csv.DictReader) -> list[Clip]:
    missing = sorted({'label', 'youtube_id', 'time_start', 'time_end'} - set(rows.fieldnames or ()))
    if missing:
        raise ConfigError(f'{path}: found no column {", ".join(missing)}, expected the official csv with a header.')
    clips = []
    for row in rows:
        try:
            start, end = int(row['time_start']), int(row['time_end'])
        except (TypeError, ValueError):
            found = f'{row["time_start"]!r} and {row["time_end"]!r}'
            raise ConfigError(f'{path}: found times {found} in line {rows.line_num}, expected whole seconds.') from None
        label = normalised(row['label'])
        folder = row['label'].strip().replace(' ', '_')  # MMAction2's folders keep the case and the brackets
        clips.append(Clip(CSV_PATH.format(folder=folder, id=row['youtube_id'], start=start, end=end), label))
    return clips


def class_names(clips: Sequence[Clip], label_map: Path | None) -> dict[str, str]:
    """Name of every class key in ``clips``, in the order of the labels.

    Without a map the name is the folder of the class's clips, or the label where folders are no classes.

    Raises:
        ConfigError: a label that the map does not name.
    """
    keys = sorted({clip.label for clip in clips}, key=lambda key: (int(key), key) if key.isdigit() else (0, key))
    if label_map is not None:
        lines = read_text(label_map, '--label-map').splitlines() if label_map.is_file() else []
        beyond = [key for key in keys if key.isdigit() and int(key) >= len(lines)]
        if beyond:
            raise ConfigError(
                f'{label_map}: found {len(lines)} names, expected one for every label (up to {beyond[-1]}).'
            )
        return {key: normalised(lines[int(key)]) if key.isdigit() else key for key in keys}
    names: dict[str, str] = {}
    for clip in clips:
        folder = clip.head.split('/')[-2] if clip.label.isdigit() and '/' in clip.head else clip.label
        if names.setdefault(clip.label, normalised(folder)) != normalised(folder):
            return {key: key for key in keys}
    one_each = len(set(names.values())) == len(names)
    return {key: names[key] if one_each else key for key in keys}


def choose_classes(clips: Sequence[Clip], names: dict[str, str], args: argparse.Namespace) -> list[str]:
    """Return the chosen class keys in the order of their labels.

    Raises:
        ConfigError: a class that the list has not, one named twice, or more classes than there are.
    """
    if args.classes is not None:
        return _given_classes(args.classes, names)
    if not 1 <= args.num_classes <= len(names):
        raise ConfigError(f'--num-classes: found {args.num_classes}, expected 1 to {len(names)} (classes in --train).')
    if args.largest:
        count = Counter(clip.label for clip in clips)
        order = {key: place for place, key in enumerate(names)}
        chosen = set(sorted(names, key=lambda key: (-count[key], order[key]))[: args.num_classes])
    else:
        by_name = sorted(names, key=lambda key: (names[key], key))  # not the list's order, which may change
        chosen = set(random.Random(derive_seed(args.seed, 'mini_kinetics')).sample(by_name, args.num_classes))
    return [key for key in names if key in chosen]


def _given_classes(path: Path, names: dict[str, str]) -> list[str]:
    if not path.is_file():
        raise ConfigError(f"--classes: found no file '{path}', expected one class name or label a line.")
    key_of = {name: key for key, name in names.items()}
    lines = [line.strip() for line in read_text(path, '--classes').splitlines() if line.strip()]
    keys = [line if line in names else key_of.get(normalised(line)) for line in lines]
    unknown = [line for line, key in zip(lines, keys, strict=True) if key is None]
    if unknown or not lines:
        found = f'{len(unknown)} unknown classes ({", ".join(unknown[:5])})' if lines else 'no class'
        raise ConfigError(
            f'{path}: found {found}, expected names or labels such as {", ".join(list(key_of)[:3])} '
            '(--label-map gives names).'
        )
    twice = sorted({line for line, key in zip(lines, keys, strict=True) if keys.count(key) > 1})
    if twice:
        raise ConfigError(f'{path}: found classes more than once: {", ".join(twice[:5])}; expected each once.')
    return [key for key in names if key in set(keys)]


def relabelled(clips: Sequence[Clip], keys: Sequence[str], most: int | None, seed: int, source: Path) -> list[str]:
    """Lines 'path label' of the chosen classes, in list order, at most ``most`` clips of each, drawn by a
    hash.

    Raises:
        ConfigError: a chosen class has no clip in this list.
    """
    label_of = {key: label for label, key in enumerate(keys)}
    kept = [clip for clip in clips if clip.label in label_of]
    absent = [key for key in keys if key not in {clip.label for clip in kept}]
    if absent:
        raise ConfigError(f'{source}: found no clip of class {", ".join(absent[:5])}, expected some of every class.')
    if most is not None:
        drawn: set[Clip] = set()
        for key in keys:
            members = [clip for clip in kept if clip.label == key]
            drawn.update(sorted(members, key=lambda clip: derive_seed(seed, 'clip', clip.head))[:most])
        kept = [clip for clip in kept if clip in drawn]
    return [f'{clip.head} {label_of[clip.label]}' for clip in kept]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--train', type=Path, required=True, help='training list of Kinetics-400, text or csv')
    parser.add_argument('--val', type=Path, required=True, help='validation list, in the same format')
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument('--classes', type=Path, help='file that names the classes, one name or old label a line')
    which.add_argument('--num-classes', type=int, help='how many classes to choose, by --seed or --largest')
    parser.add_argument('--largest', action='store_true', help='choose the classes with most training clips')
    parser.add_argument('--seed', type=int, default=0, help='of the choice of classes and of --clips (default 0)')
    parser.add_argument('--clips', type=int, nargs=2, metavar=('TRAIN', 'VAL'), help='most clips per class')
    parser.add_argument('--label-map', type=Path, help="names of Kinetics-400's classes, line n for label n")
    parser.add_argument('--out', type=Path, default=Path('data/kinetics400'), help='folder (default %(default)s)')
    parser.add_argument('--name', help='start of the file names (default mini<number of classes>)')
    return parser.parse_args(argv)


def make_lists(args: argparse.Namespace) -> None:
    """Read, choose, relabel and write; nothing is written before everything has been checked."""
    if args.clips is not None and min(args.clips) < 1:
        raise ConfigError(f'--clips: found {args.clips}, expected two numbers of at least 1.')
    train, val = read_list(args.train, '--train'), read_list(args.val, '--val')
    if {clip.label.isdigit() for clip in train} != {clip.label.isdigit() for clip in val}:
        raise ConfigError(f'--val: found {args.val} in another format than {args.train}, expected the same.')
    names = class_names(train, args.label_map)
    keys = choose_classes(train, names, args)
    most = args.clips or (None, None)
    lists = {
        'train': relabelled(train, keys, most[0], args.seed, args.train),
        'val': relabelled(val, keys, most[1], args.seed, args.val),
    }
    name = args.name or f'mini{len(keys)}'
    old = {key: key if key.isdigit() else str(place) for place, key in enumerate(names)}
    rows = [f'{new},{old[key]},{names[key]}' for new, key in enumerate(keys)]
    files = {f'{split}.txt': lines for split, lines in lists.items()}
    files |= {'classes.txt': [names[key] for key in keys]}
    files |= {'class_map.csv': ['label,kinetics400_label,name', *rows]}
    for end, lines in files.items():
        write_text_atomic(args.out / f'{name}_{end}', ''.join(f'{line}\n' for line in lines))
    counts = ' and '.join(f'{len(lines)} {split}' for split, lines in lists.items())
    print(f'{len(keys)} of {len(names)} classes, {counts} clips: {args.out}/{name}_*')


def main(argv: Sequence[str] | None = None) -> int:
    """Make the lists; returns the exit status (2 for bad input)."""
    return run_tool(lambda: make_lists(parse_args(argv)), AGAIN)


if __name__ == '__main__':
    sys.exit(main())
