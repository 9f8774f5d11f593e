"""Write the videos of lists anew for training: small, short groups of pictures, no B frames, no sound.

    python tools/data/transcode.py data/k400/train.txt data/k400/val.txt --root data/k400/videos --out data/k400_256
    python tools/data/transcode.py train.txt --root videos --out small --short-side 182 --processes 32
    python tools/data/transcode.py train.txt --root videos --out small --short-side 182 --every 6 --gop 4

Videos go to OUT/videos, as .mp4 under the paths that they have below --root; lists of the same names, labels and
order, but the new paths, go to OUT. Originals are only read. A run that was killed goes on where it was when started
again: every file is written whole or not at all, and OUT/transcode.jsonl holds one line for each (path, and frames,
size and bytes, or the reason why not). A file that failed is tried again. OUT is one run's at a time, and belongs to
one set of options.

A video that cannot be read to its end is reported, and left out of the new lists (--keep-bad keeps its line; training
then names and skips it). The pixels change: train and test on files of the same kind, and compare with published
figures on the originals. --every N leaves frames out, which a pipeline without target_fps has to be told
(frame_interval / N; docs/data.md).

Exit status: 0 if all were written, 1 if some were not, 2 for a bad option, 3 for a disk that is full or may not be
written (the same command goes on).
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.datasets.file_jobs import Progress, run_jobs
from mmnas_video.datasets.transcode import PRESETS, Recipe, transcode
from mmnas_video.datasets.video_list import Line, read_lines
from mmnas_video.errors import ConfigError
from mmnas_video.space import write_text_atomic

MANIFEST = 'transcode.jsonl'
HELP = {
    'short_side': 'pixels of the shorter side; smaller videos, and all with 0, keep their size',
    'gop': 'most frames of the new file from one key frame to the next',
    'every': 'N: keep the frames 0, N, 2N … alone; 1 keeps all',
    'crf': 'quality, 0 (lossless) to 51',
    'preset': 'of x264: ' + ', '.join(PRESETS),
    'fast_decode': "x264's tune fastdecode (--no-fast-decode: smaller files, slower)",
}
#: The trap: a pipeline that is left as it was runs, on clips that are N times as long.
EVERY = (
    'One frame of {0} was kept. SampleFrames without target_fps: divide frame_interval by {0}. With target_fps: leave '
    'it (frame_interval x fps / target_fps has to be more than {0}). docs/data.md says more.'
)


@dataclass(frozen=True)
class Job:
    """Writes one video; what :func:`run_jobs` calls with the path of a source."""

    root: str
    out: str
    recipe: Recipe

    def source(self, path: str) -> str:
        """Where the video is that a list calls ``path``; MMAction2 adds a missing suffix too."""
        return os.path.join(self.root, path if os.path.splitext(path)[1] else f'{path}.mp4')

    def target(self, path: str) -> str:
        """Where the new one goes."""
        return os.path.join(self.out, 'videos', new_path(path))

    def __call__(self, source: str) -> dict[str, int]:
        written = transcode(source, self.target(os.path.relpath(source, self.root)), self.recipe)
        return {**written, 'source_bytes': os.path.getsize(source)}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; one option per field of :class:`Recipe`."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        epilog=__doc__.split('\n\n', 1)[1],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument('lists', nargs='+', metavar='LIST', help="lines 'path label'")
    parser.add_argument('--root', required=True, help='folder that the paths start from')
    parser.add_argument('--out', required=True, help='folder for the new videos and lists')
    for field in fields(Recipe):
        kind = {'action': argparse.BooleanOptionalAction} if field.type is bool else {'type': field.type}
        text = f'{HELP[field.name]} ({field.default})'
        parser.add_argument('--' + field.name.replace('_', '-'), default=field.default, help=text, **kind)
    parser.add_argument('--processes', type=int, default=os.cpu_count(), help='(one for each core)')
    parser.add_argument('--timeout', type=float, default=1800.0, help='seconds for one video (1800)')
    parser.add_argument('--keep-bad', action='store_true', help='keep the lines of videos that could not be written')
    parser.add_argument('--delimiter', help='between path and label, if not blanks; as VideoDataset.delimiter')
    return parser.parse_args(argv)


def new_path(path: str) -> str:
    """Path of the new video: that of the old, as .mp4."""
    return str(Path(path).with_suffix('.mp4'))


def check(args: argparse.Namespace) -> dict[Path, list[Line]]:
    """New list → lines of the old one.

    Raises:
        ConfigError: an option or a list is wrong, or two videos would become one file.
    """
    root, out = Path(args.root), Path(args.out)
    if args.processes < 1 or args.timeout <= 0:
        raise ConfigError(f'--processes, --timeout: found {args.processes}, {args.timeout}, expected positive numbers.')
    if not root.is_dir():
        raise ConfigError(f"--root: found no folder '{root}', expected the one that the paths start from.")
    if (out / 'videos').resolve() == root.resolve():
        raise ConfigError(f"--out: found '{out}', expected another folder than that of the originals.")
    lists = {out / Path(place).name: read_lines(place, 'LIST', args.delimiter) for place in args.lists}
    if len(lists) < len(args.lists) or any(new.exists() and new.samefile(old) for new in lists for old in args.lists):
        raise ConfigError('LIST: found lists of one name, or in the folder --out; expected new lists to have a place.')
    taken: dict[str, str] = {}
    for line in (line for lines in lists.values() for line in lines):
        parts = Path(line.path).parts
        if Path(line.path).is_absolute() or '..' in parts:
            raise ConfigError(f"LIST: found the path '{line.path}', expected paths below --root.")
        other = taken.setdefault(new_path(line.path), line.path)
        if other != line.path:
            raise ConfigError(f"LIST: found '{other}' and '{line.path}', expected names that differ without suffix.")
    return lists


def read_manifest(out: Path, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """What earlier runs did: path → its last line. A line that a kill cut off is no line.

    Raises:
        ConfigError: the folder was filled with other options.
    """
    place, found = out / MANIFEST, {}
    if not place.is_file():
        write_text_atomic(place, json.dumps({'recipe': asdict(recipe)}) + '\n')
        return found
    everything = place.read_text(encoding='utf-8', errors='replace')  # a line may be cut off within a letter
    if not everything.endswith('\n'):
        with place.open('a', encoding='utf-8') as manifest:
            manifest.write('\n')
    for text in everything.split('\n'):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        made = {**asdict(Recipe()), **line.get('recipe', asdict(recipe))}  # an option that is newer had its default
        if made != asdict(recipe):
            raise ConfigError(f'--out: found videos made with {made} in it, expected {asdict(recipe)}.')
        if 'path' in line:
            found[line['path']] = line
    return found


def is_done(job: Job, path: str, line: Mapping[str, Any] | None) -> bool:
    """Whether the new video stands, whole, and was made from the file that is there now."""
    try:
        new, old = os.path.getsize(job.target(path)), os.path.getsize(job.source(path))
    except OSError:
        return False
    return line is not None and (line.get('bytes'), line.get('source_bytes')) == (new, old)


def write_videos(job: Job, paths: Sequence[str], args: argparse.Namespace) -> dict[str, str]:
    """Write what is missing; path → reason of what could not be written."""
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    known = read_manifest(out, job.recipe)
    todo = {job.source(path): path for path in paths if not is_done(job, path, known.get(path))}
    if len(todo) < len(paths):
        print(f'{len(paths) - len(todo)} of {len(paths)} videos are there already')
    progress, bad = Progress(len(todo)), {}
    with (out / MANIFEST).open('a', encoding='utf-8') as manifest:
        for outcome in run_jobs(job, todo, args.processes, args.timeout):
            path = todo[outcome.path]
            line = {'path': path, **(outcome.value or {'reason': outcome.reason})}
            manifest.write(json.dumps(line) + '\n')
            manifest.flush()
            if outcome.reason is not None:
                bad[path] = outcome.reason
            progress.step(outcome.reason is not None)
    return bad


def run(args: argparse.Namespace) -> int:
    """Write videos and lists; returns 0 or 1.

    Raises:
        ConfigError: an option or a list is wrong.
        RunError: nothing more can be written.
    """
    job = Job(args.root, args.out, Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)}))
    lists = check(args)
    paths = list(dict.fromkeys(line.path for lines in lists.values() for line in lines))
    bad = write_videos(job, paths, args)
    for place, lines in lists.items():
        kept = [line for line in lines if args.keep_bad or line.path not in bad]
        write_text_atomic(place, ''.join(f'{new_path(line.path)}{line.labels}\n' for line in kept))
        print(f'{place}: {len(kept)} of {len(lines)} clips')
    for path, reason in bad.items():
        print(f'{path}: {reason}')
    if job.recipe.every > 1:
        print(EVERY.format(job.recipe.every))
    return int(bool(bad))


def main(argv: Sequence[str] | None = None) -> int:
    """Write videos and lists; returns the exit status."""
    return run_tool(lambda: run(parse_args(argv)), AGAIN)


if __name__ == '__main__':
    sys.exit(main())
