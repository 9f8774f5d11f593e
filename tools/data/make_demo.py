"""Make the demo data: real mp4 files and JPEG folders with annotation lists, from a seed, nothing downloaded.

    python tools/data/make_demo.py    # data/demo/{motion,scene,image}, 10 s on one core; lists of motion_scene
    python tools/data/make_demo.py --sets motion --min-frames 16 --max-frames 32 --seed 7

A set that was made with the same options is left alone. What the sets are stands in
mmnas_video/datasets/demo.py.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.datasets.demo import SETS, DemoOptions, make_demo
from mmnas_video.datasets.demo_join import join_demo

JOINED = ('motion', 'scene')  # the video sets
HELP = {
    'seed': 'every pixel is a function of the seed and the options',
    'height': 'pixels, even',
    'width': 'pixels, even',
    'min_frames': 'shortest clip',
    'max_frames': 'longest clip; lengths are uniform between the two',
    'fps': 'frames a second, as written into the files',
    'noise': 'standard deviation in grey levels (0 to 255), new in every frame',
    'motion_classes': 'even: time-reversed pairs',
    'scene_classes': 'classes of the scene and the image set',
    'motion_clips': 'clips per class in train, val and test',
    'scene_clips': 'clips per class in train, val and test',
    'image_clips': 'images per class in train, val and test',
}


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option, and the example as it stands."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; one option per field of :class:`DemoOptions`."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], epilog=__doc__.split('\n\n', 1)[1], formatter_class=Help
    )
    parser.add_argument('--out', default='data/demo', help='folder of the sets')
    parser.add_argument('--sets', nargs='+', choices=SETS, default=list(SETS), help='which sets to make')
    for field in fields(DemoOptions):
        many = {'nargs': 3, 'metavar': ('TRAIN', 'VAL', 'TEST')} if field.name.endswith('_clips') else {}
        kind = int if many else type(field.default)
        flag = '--' + field.name.replace('_', '-')
        parser.add_argument(flag, type=kind, default=field.default, help=HELP[field.name], **many)
    return parser.parse_args(argv)


def make(args: argparse.Namespace) -> None:
    """Make the sets.

    Raises:
        ConfigError: a bad option.
    """
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in vars(args).items()}
    out, sets = options.pop('out'), options.pop('sets')
    make_demo(out, DemoOptions(**options), sets, report=lambda line: print(line, flush=True))
    # Also where one was made before: the union's lists name its clips.
    if {*JOINED} & {*sets} and all((Path(out) / name / 'classes.txt').is_file() for name in JOINED):
        print(f'lists of the union of both video sets: {join_demo(out)}')


def main(argv: Sequence[str] | None = None) -> int:
    """Make the sets; returns the exit status (2 for a bad option)."""
    return run_tool(lambda: make(parse_args(argv)), AGAIN)


if __name__ == '__main__':
    sys.exit(main())
