r"""Make annotation lists, and the configs of a small search, from your own videos: a folder for each class.

    python tools/data/from_folders.py ~/my_videos --out data/mine    # my_videos/CLASS/**/*.mp4
    python tools/search.py data/mine/search.py                       # on them; leaves work_dirs/mine/search/report.html
    python tools/report.py work_dirs/mine                            # that page anew

The videos stay where they are; links to folders are followed. Written into --out, each file at once or not at all:

    train.txt  val.txt  test.txt   lines of path, tab, label (VideoDataset's delimiter='\t': a path may have blanks)
    classes.txt                    the name of each label, a line each
    search.py  train.py            configs/quickstart/own_videos.py and own_videos_train.py with these lists and classes

Each class is split by itself, by a hash of --seed and each video's path: the same on every machine, and what is added
to one class moves nothing in another. A class needs 2 videos to train on, 1 to validate and 1 to test.

Exit status: 0, or 2 for a wrong option or folder.
"""

import argparse
import math
import os
import shlex
import sys
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.datasets import derive_seed
from mmnas_video.errors import ConfigError
from mmnas_video.space import write_text_atomic
from mmnas_video.visualization.commands import TOOLS, typed

SUFFIXES = ('.mp4', '.avi', '.mkv', '.webm', '.mov', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.3gp', '.ts')
SPLITS = ('train', 'val', 'test')
LEAST = {'train': 2, 'val': 1, 'test': 1}  # videos of a class; of two to train on a search holds one out
CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'quickstart'
BATCH, HELD_OUT = 8, 0.25  # as configs/quickstart has them
STEPS, EPOCHS = 1000, (40, 400)  # a training has so many steps, in at least and at most so many epochs

CONFIG = """\
# {about}.
# Written by tools/data/from_folders.py, and written anew when that is run again: change a copy.
#   python {tool} {place}
_base_ = {base!r}
work_dir = {work_dir!r}
lists = {lists!r}
videos = dict(video={videos!r})
model = dict({arch}cls_head=dict(num_classes={classes}))
train_dataloader = dict(batch_size={batch}, dataset=dict(dataset=dict(data_root=lists, data_prefix=videos)))
val_dataloader = dict(dataset=dict(dataset=dict(data_root=lists, data_prefix=videos)))
test_dataloader = dict(dataset=dict(dataset=dict(data_root=lists, data_prefix=videos)))
train_cfg = dict(max_epochs={epochs})
{more}"""


class Found(NamedTuple):
    """What a folder holds: class name to the paths of its videos below it, and what was left out, by kind."""

    classes: dict[str, list[str]]
    left_out: Counter[str]


def find_videos(root: Path) -> Found:
    """Every video of every class folder, at any depth, in the order of their names.

    Raises:
        ConfigError: no folder, a class without a video, fewer than two classes, or what looks split already.
    """
    if not root.is_dir():
        raise ConfigError(f"ROOT: found no folder '{root}', expected one with a folder of videos for each class.")
    entries = sorted(root.iterdir(), key=lambda path: (_plain(path.name), path.name))
    folders = [path for path in entries if path.is_dir() and not path.name.startswith('.')]
    if folders and {path.name.lower() for path in folders} <= {*SPLITS, 'valid', 'validation'}:
        names = ', '.join(path.name for path in folders)
        raise ConfigError(
            f"ROOT: found '{root}' split already ({names}), expected a folder for each class; put the videos of a "
            'class into one folder, whatever split they are in.'
        )
    left_out = Counter(
        'hidden' if path.name.startswith('.') else 'not in the folder of a class' for path in entries if path.is_file()
    )
    classes = {folder.name: _videos_of(folder, root, left_out) for folder in folders}
    if empty := [name for name, paths in classes.items() if not paths]:
        found = f', but {_counted(left_out)}' if left_out else ''
        raise ConfigError(
            f'ROOT: found no video in {", ".join(map(repr, empty[:5]))}{found}; expected files that end with '
            f'{" ".join(SUFFIXES)} in the folder of every class.'
        )
    if len(classes) < 2:
        raise ConfigError(f"ROOT: found {len(classes)} class folders in '{root}', expected at least 2.")
    return Found(classes, left_out)


def _plain(name: str) -> str:
    """A name as every machine spells it: macOS takes letters with accents apart."""
    return unicodedata.normalize('NFC', name)


def _videos_of(folder: Path, root: Path, left_out: Counter[str]) -> list[str]:
    def refuse(error: OSError) -> NoReturn:
        raise ConfigError(f"ROOT: cannot read '{error.filename}' ({error.strerror}), expected a folder of videos.")

    found = []
    seen = {os.path.realpath(root), *map(str, Path(os.path.realpath(root)).parents)}  # a link to these holds all
    for place, below, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link to where we have been, maybe without end
            left_out['linked folder a second time'] += 1
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith('.'))
        for name in names:
            path = Path(place, name)
            if name.startswith('.'):
                left_out['hidden'] += 1
            elif path.suffix.lower() not in SUFFIXES:
                left_out[path.suffix.lower() or 'no suffix'] += 1
            else:
                found.append(_listable(path.relative_to(root).as_posix()))
    return sorted(found)


def _listable(path: str) -> str:
    """The path, if a line of a list can hold it.

    Raises:
        ConfigError: it cannot.
    """
    odd = '\t' in path or len(path.splitlines()) != 1 or path != path.lstrip()
    if odd or any('\ud800' <= letter <= '\udfff' for letter in path):
        raise ConfigError(
            f'ROOT: found {path!r}, expected names in UTF-8 without tabs and line breaks, and no class folder that '
            'starts with a blank: a line of a list cannot hold it. Rename it.'
        )
    return path


def _counted(left_out: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {kind}' for kind, count in sorted(left_out.items()))


def split(classes: Mapping[str, Sequence[str]], shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Lines of each list: every class in the same shares, at least one video of it in each.

    Args:
        classes: name to paths, in the order of their labels.
        shares: of ``val`` and ``test``.
        seed: of the split.

    Raises:
        ConfigError: a class with too few videos.
    """
    lines: dict[str, list[str]] = {name: [] for name in SPLITS}
    for label, (name, paths) in enumerate(classes.items()):
        ranked = sorted(paths, key=lambda path: (derive_seed(seed, 'from_folders', _plain(path)), path))
        counts = {part: max(LEAST[part], round(share * len(paths))) for part, share in shares.items()}
        counts['train'] = len(paths) - sum(counts.values())
        if counts['train'] < LEAST['train']:
            raise ConfigError(
                f'ROOT: found {len(paths)} videos of the class {name!r}, expected at least '
                f'{LEAST["train"] + len(paths) - counts["train"]}: {counts["val"]} to validate and {counts["test"]} to '
                f'test (--val-share {shares["val"]:g}, --test-share {shares["test"]:g}), and 2 to train on.'
            )
        start = 0
        for part in ('val', 'test', 'train'):
            lines[part] += [f'{path}\t{label}' for path in sorted(ranked[start : start + counts[part]])]
            start += counts[part]
    return lines


def fitted(videos: int) -> tuple[int, int]:
    """Batch size and epochs of a training on so many videos: not more than there are, and steps enough to learn."""
    batch = max(1, min(BATCH, videos))
    return batch, min(max(EPOCHS[0], math.ceil(STEPS / (videos // batch))), EPOCHS[1])


def config_text(name: str, out: Path, root: Path, lines: Mapping[str, Sequence[str]], classes: int) -> str:
    """The config ``search`` or ``train``: the one in configs/quickstart, with these lists."""
    search, work_dir = name == 'search', f'work_dirs/{out.resolve().name}'
    videos = len(lines['train'])
    if search:  # which holds some of each class out for the architecture, as HeldOut does
        held = Counter(line.rpartition('\t')[2] for line in lines['train'])
        videos -= sum(min(max(round(HELD_OUT * count), 1), count - 1) for count in held.values())
    batch, epochs = fitted(videos)
    counts = ', '.join(f'{len(lines[part])} {part}' for part in SPLITS)
    return CONFIG.format(
        about=f'{classes} classes, {counts} videos of {str(root)!r}',
        tool=typed(TOOLS / f'{name}.py'),
        place=typed(out / f'{name}.py'),
        base=str(CONFIGS / ('own_videos.py' if search else 'own_videos_train.py')),
        work_dir=work_dir if search else f'{work_dir}_train',
        lists=str(out.resolve()),
        videos=str(root),
        arch='' if search else f'backbone=dict(arch={work_dir + "/search/arch.json"!r}), ',
        classes=classes,
        batch=batch,
        epochs=epochs,
        # MMEngine writes the folder in here as it is, and a folder's name may have quotes.
        more='retrain = dict(config=r"""{{ fileDirname }}/train.py""")\n' if search else '',
    )


def make_lists(args: argparse.Namespace) -> str:
    """Look, split and write; nothing is written before everything has been looked at. Returns what there is to say.

    Raises:
        ConfigError: an option or the folder is wrong.
    """
    shares = {'val': args.val_share, 'test': args.test_share}
    for part, share in shares.items():
        if not 0 < share < 1:
            raise ConfigError(f'--{part}-share: found {share:g}, expected a number between 0 and 1.')
    root, out = Path(os.path.abspath(args.root)), Path(args.out)
    if out.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"--out: found '{out}' in ROOT, where each folder is a class; expected another place.")
    classes, left_out = find_videos(root)
    lines = split(classes, shares, args.seed)
    for part in SPLITS:
        write_text_atomic(out / f'{part}.txt', ''.join(f'{line}\n' for line in lines[part]))
    write_text_atomic(out / 'classes.txt', ''.join(f'{name}\n' for name in classes))
    for name in ('train', 'search'):
        write_text_atomic(out / f'{name}.py', config_text(name, out, root, lines, len(classes)))
    return told(out, root, lines, len(classes), left_out)


def told(out: Path, root: Path, lines: Mapping[str, Sequence[str]], classes: int, left_out: Mapping[str, int]) -> str:
    """What was found, and how to go on."""
    lists = ' '.join(typed(out / f'{part}.txt') for part in SPLITS)
    return '\n'.join(
        (
            f'{classes} classes, {", ".join(f"{len(lines[part])} {part}" for part in SPLITS)} videos: {out}',
            *([f'left out: {_counted(left_out)} (a video ends with {" ".join(SUFFIXES)})'] if left_out else []),
            '',
            'Can all of them be read? (some minutes for thousands)',
            f'  python {typed(TOOLS / "data/check_videos.py")} {lists} --root {typed(root)}',
            'Search, train what was found, test it:',
            f'  python {typed(TOOLS / "search.py")} {typed(out / "search.py")}',
            'The report, also while the search runs:',
            f'  python {typed(TOOLS / "report.py")} {shlex.quote("work_dirs/" + out.resolve().name)}',
        )
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        epilog=__doc__.split('\n\n', 1)[1],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument('root', metavar='ROOT', help='folder with a folder of videos for each class')
    parser.add_argument('--out', default='data/mine', help='folder for lists and configs (data/mine)')
    parser.add_argument('--val-share', type=float, default=0.15, help='of each class to validate on (0.15)')
    parser.add_argument('--test-share', type=float, default=0.15, help='of each class to test on (0.15)')
    parser.add_argument('--seed', type=int, default=0, help='of the split (0)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the lists; returns the exit status."""
    return run_tool(lambda: print(make_lists(parse_args(argv))), AGAIN)


if __name__ == '__main__':
    sys.exit(main())
