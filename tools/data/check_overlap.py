r"""Look for videos that training and validation lists share, by video id, and write training lists without them.

    python tools/data/check_overlap.py --train data/kinetics600/kinetics600_train_list_videos.txt \
        --val data/kinetics400/kinetics400_val_list_videos.txt data/kinetics600/kinetics600_val_list_videos.txt
    python tools/data/check_overlap.py --train A.txt B.txt --val C.txt D.txt --write clean/

Every training list is held against every validation list. A video is known by its file's name without folder and
suffix, one of Kinetics (<youtube id>_<start>_<end>) by youtube id and start, an image by its path. Lists are
MMAction2's and mmpretrain's (lines 'path label'), Kinetics' own .csv or Something-Something-V2's own .json.

Exit status: 0 if nothing is shared, 1 if something is (also when clean lists were written), 2 for a bad option.
JointDataset does the same when a run starts (validation=..., overlap='error' or 'drop'): docs/data.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.datasets import read_list, shared_ids, video_id
from mmnas_video.datasets.checks import read_text
from mmnas_video.errors import ConfigError, check_number
from mmnas_video.space import write_text_atomic


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        epilog=__doc__.split('\n\n', 1)[1],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument('--train', nargs='+', required=True, metavar='LIST', help='training lists')
    parser.add_argument('--val', nargs='+', required=True, metavar='LIST', help='validation and test lists')
    parser.add_argument('--write', metavar='FOLDER', help='write each training list (.txt) without the shared videos')
    parser.add_argument('--examples', type=int, default=3, help='shared clips to name for each pair of lists (3)')
    return parser.parse_args(argv)


def report(found: Mapping[tuple[str, str], Sequence[str]], sizes: Mapping[str, int], examples: int) -> str:
    """One line for each pair of lists, shared or not, with examples."""
    lines = []
    for (one, other), paths in found.items():
        share = 100 * len(paths) / sizes[one]
        line = f'{one} and {other}: {len(paths)} of {sizes[one]} clips ({share:.2f} %)'
        some = ', '.join(paths[:examples])
        lines.append(line + (f', such as {some}' if some else ''))
    return '\n'.join(lines)


def write_clean(folder: Path, train: Sequence[str], val: Mapping[str, Sequence[str]]) -> list[str]:
    """Copy text lists without the lines whose video a validation list has; returns a line on each.

    Raises:
        ConfigError: a list that is no text list, two lists of one file name, or one that would overwrite itself.
    """
    barred = {video_id(path) for paths in val.values() for path in paths}
    targets = {source: folder / Path(source).name for source in train}
    for source, target in targets.items():
        if Path(source).suffix.lower() in ('.csv', '.json'):
            raise ConfigError(f"--write: found '{source}', expected text lists ('path label').")
        if target.exists() and target.samefile(source):
            raise ConfigError(f"--write: found '{folder}', expected another folder than that of '{source}'.")
    if len(set(targets.values())) < len(targets):
        raise ConfigError('--write: found two training lists of one file name, expected different ones.')
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for source, target in targets.items():
        lines = [line for line in read_text(Path(source), '--train').split('\n') if line.strip()]
        names = read_list(source, '--train')
        kept = [line for line, name in zip(lines, names, strict=True) if video_id(name) not in barred]
        write_text_atomic(target, ''.join(f'{line}\n' for line in kept))
        said.append(f'{target}: {len(kept)} of {len(lines)} clips')
    return said


def compare(args: argparse.Namespace) -> int:
    """Compare the lists; returns 1 where they share a video.

    Raises:
        ConfigError: an option or a list is wrong, or a list cannot be read.
    """
    check_number('--examples', args.examples)
    train = {path: read_list(path, '--train') for path in args.train}
    val = {path: read_list(path, '--val') for path in args.val}
    shared = shared_ids(train, val)
    pairs = {(one, other): shared.get((one, other), []) for one in train for other in val}
    print(report(pairs, {path: len(names) for path, names in train.items()}, args.examples))
    if args.write:
        print('\n'.join(write_clean(Path(args.write), list(train), val)))
    return 1 if shared else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the lists; returns the exit status."""
    return run_tool(lambda: compare(parse_args(argv)), AGAIN)


if __name__ == '__main__':
    sys.exit(main())
