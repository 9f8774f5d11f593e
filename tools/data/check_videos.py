r"""Read a few frames of every video of a list as training would, and name those that cannot be read.

    python tools/data/check_videos.py data/kinetics400/kinetics400_train_list_videos.txt \
        --root data/kinetics400/videos_train --processes 16 --out bad.jsonl --clean clean.txt

A file counts as bad if it cannot be opened, if one of --frames frames (evenly spread, the first and the last among
them) cannot be decoded, if it kills the process that reads it, or takes longer than --timeout. --out gets one JSON
object a line (path, reason), or with the suffix .txt only paths; --clean the list without the bad ones.

Exit status: 0 if all can be read, 1 if some cannot, 2 for a bad option.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import check_work_dir
from mmnas_video.datasets.file_jobs import Progress, run_jobs
from mmnas_video.datasets.video_check import READERS, VideoCheck
from mmnas_video.datasets.video_list import read_lines
from mmnas_video.errors import ConfigError
from mmnas_video.space import write_text_atomic

NAMED = 20  # bad files that are printed, if there is no --out


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        epilog=__doc__.split('\n\n', 1)[1],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument('lists', nargs='+', metavar='LIST', help="lines 'path label'")
    parser.add_argument('--root', default='', help='folder that the paths start from')
    parser.add_argument('--out', help='file for the bad ones: .jsonl with reasons, .txt paths only')
    parser.add_argument('--clean', help='file for the lines of the list (one list only) whose videos can be read')
    parser.add_argument('--frames', type=int, default=5, help='frames to decode of each video, 0 for all (5)')
    parser.add_argument('--reader', choices=list(READERS), default='decord', help='(decord)')
    parser.add_argument('--processes', type=int, default=os.cpu_count(), help='(one for each core)')
    parser.add_argument('--timeout', type=float, default=120.0, help='seconds for one video (120)')
    parser.add_argument('--delimiter', help='between path and label, if not blanks; as VideoDataset.delimiter')
    return parser.parse_args(argv)


def scan(paths: Sequence[str], check: VideoCheck, args: argparse.Namespace) -> dict[str, str]:
    """Path → reason of the bad ones, in the order of ``paths``."""
    progress, bad = Progress(len(paths)), {}
    for outcome in run_jobs(check, paths, args.processes, args.timeout):
        if outcome.reason is not None:
            bad[outcome.path] = outcome.reason
        progress.step(outcome.reason is not None)
    return {path: bad[path] for path in paths if path in bad}


def write_bad(place: str, bad: Mapping[str, str]) -> None:
    """One line for each bad file."""
    if Path(place).suffix == '.txt':
        lines = list(bad)
    else:
        lines = [json.dumps({'path': path, 'reason': reason}, ensure_ascii=False) for path, reason in bad.items()]
    write_text_atomic(place, ''.join(f'{line}\n' for line in lines))


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse, before the videos are read, what could not be written when they have been.

    Raises:
        ConfigError: names the option and the file.
    """
    if args.clean and len(args.lists) > 1:
        raise ConfigError(f'--clean: found {len(args.lists)} lists, expected one.')
    for key, place in (('--out', args.out), ('--clean', args.clean)):
        if not place:
            continue
        if Path(place).is_dir():
            raise ConfigError(f"{key}: found the folder '{place}', expected a file.")
        if Path(place).exists() and any(Path(place).samefile(one) for one in args.lists):
            raise ConfigError(f"{key}: found the list '{place}' itself, expected another file.")
        check_work_dir(Path(place).parent, key)


def run(args: argparse.Namespace) -> int:
    """Check the lists; returns 0 or 1.

    Raises:
        ConfigError: an option or a list is wrong.
    """
    if args.processes < 1 or args.timeout <= 0:
        raise ConfigError(f'--processes, --timeout: found {args.processes}, {args.timeout}, expected positive numbers.')
    if args.root and not Path(args.root).is_dir():
        raise ConfigError(f"--root: found no folder '{args.root}', expected the one that the paths start from.")
    lines = [line for place in args.lists for line in read_lines(place, 'LIST', args.delimiter)]
    check_outputs(args)
    places = {line.path: os.path.join(args.root, line.path) for line in lines}
    bad = scan(list(dict.fromkeys(places.values())), VideoCheck(args.frames, args.reader), args)
    if args.out:
        write_bad(args.out, bad)
    if args.clean:
        kept = [line for line in lines if places[line.path] not in bad]
    if args.clean and kept:
        write_text_atomic(args.clean, ''.join(f'{line.path}{line.labels}\n' for line in kept))
    for path, reason in [] if args.out else list(bad.items())[:NAMED]:
        print(f'{path}: {reason}')
    print(f'{len(bad)} of {len(set(places.values()))} videos cannot be read' + (f': {args.out}' if args.out else ''))
    if args.clean and not kept:
        raise ConfigError(
            f"--clean: found no video that can be read, expected at least 1 for '{args.clean}', which was not written; "
            'look at --root'
        )
    return int(bool(bad))


def main(argv: Sequence[str] | None = None) -> int:
    """Check the lists; returns the exit status."""
    return run_tool(lambda: run(parse_args(argv)), AGAIN)


if __name__ == '__main__':
    sys.exit(main())
