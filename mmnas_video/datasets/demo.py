"""The demo data: three small sets in MMAction2's formats, made from a seed, nothing downloaded.

    ROOT/motion/videos/*.mp4     ROOT/motion/{train,val,test}.txt     "name.mp4 label"      (see demo_motion)
    ROOT/scene/videos/*.mp4      ROOT/scene/{train,val,test}.txt      "name.mp4 label"      (see demo_scene)
    ROOT/image/{train,val,test}/CLASS/*.jpg   ROOT/image/meta/{train,val,test}.txt   "CLASS/name.jpg label"

Beside each stands ``classes.txt`` (one name a line, in the order of the labels; the image set's in ``meta``)
and ``manifest.json``, written last: a set whose manifest names the same options is left alone. Every clip
comes from its own generator, seeded by (seed, set, split, class, number): the splits share no clip, and
asking for more clips adds to the ones that were there.

No flip in the pipelines of *motion*: a mirrored clip of ``right`` is a clip of ``left``.
"""

import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mmnas_video.errors import ConfigError

from . import demo_motion, demo_scene
from .demo_video import write_video
from .seed import derive_seed

SETS = ('motion', 'scene', 'image')
SPLITS = ('train', 'val', 'test')
FORMAT = 'mmnas-video/demo@3'  # raise the number when the same options give other pixels
JPEG_QUALITY = 92


@dataclass(frozen=True)
class DemoOptions:
    """What the demo data looks like. Sizes in pixels, lengths in frames, clips per class in each split."""

    seed: int = 0
    height: int = 40
    width: int = 40
    min_frames: int = 16  # a clip's length is uniform in min_frames … max_frames
    max_frames: int = 16
    fps: int = 12
    noise: float = 4.0  # standard deviation in grey levels (0 to 255), new in every frame
    motion_classes: int = 8  # even: classes come in pairs
    scene_classes: int = 8  # of the scene and the image set
    motion_clips: tuple[int, int, int] = (100, 10, 40)
    scene_clips: tuple[int, int, int] = (60, 5, 20)
    image_clips: tuple[int, int, int] = (120, 10, 40)

    def __post_init__(self) -> None:
        for name in ('motion_clips', 'scene_clips', 'image_clips'):
            clips = tuple(getattr(self, name))
            object.__setattr__(self, name, clips)
            _demand(len(clips) == 3 and min(clips) >= 1, name, clips, 'three numbers of clips, each at least 1')
        for name in ('height', 'width'):
            value = getattr(self, name)
            _demand(value >= 16 and value % 2 == 0, name, value, 'an even number of at least 16 pixels')
        _demand(self.min_frames >= 2, 'min_frames', self.min_frames, 'at least 2 frames')
        _demand(self.max_frames >= self.min_frames, 'max_frames', self.max_frames, f'at least {self.min_frames}')
        _demand(self.fps >= 1, 'fps', self.fps, 'at least 1 frame a second')
        _demand(0 <= self.noise <= 128, 'noise', self.noise, '0 to 128 grey levels')
        most = len(demo_motion.CLASSES)
        even = self.motion_classes % 2 == 0 and 2 <= self.motion_classes <= most
        _demand(even, 'motion_classes', self.motion_classes, f'an even number from 2 to {most}')
        most = len(demo_scene.CLASSES)
        _demand(2 <= self.scene_classes <= most, 'scene_classes', self.scene_classes, f'2 to {most}')

    def classes(self, name: str) -> tuple[str, ...]:
        """The class names of the set ``name``, in the order of their labels."""
        if name == 'motion':
            return demo_motion.CLASSES[: self.motion_classes]
        return demo_scene.CLASSES[: self.scene_classes]

    def of_set(self, name: str) -> dict[str, object]:
        """The options that the set ``name`` depends on, as JSON knows them."""
        other = {
            'motion': ('scene', 'image'),
            'scene': ('motion', 'image'),
            'image': ('motion', 'scene_clips'),
        }[name]
        if name == 'image':
            other += ('min_frames', 'max_frames', 'fps')
        return {
            key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items() if not key.startswith(other)
        }


def _demand(holds: bool, key: str, found: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f'{key}: found {found}, expected {expected}.')


def render_clip(options: DemoOptions, name: str, split: str, label: int, number: int) -> np.ndarray:
    """Draw one clip before it is coded, from options alone: T × H × W × 3, uint8, RGB; T = 1 in *image*."""
    rng = np.random.default_rng(derive_seed(options.seed, name, split, label, number))
    frames = int(rng.integers(options.min_frames, options.max_frames + 1)) if name != 'image' else 1
    render = demo_motion.render_motion if name == 'motion' else demo_scene.render_scene
    return render(rng, label, frames, (options.height, options.width), options.noise)


def make_demo(
    root: str | Path,
    options: DemoOptions | None = None,
    sets: tuple[str, ...] = SETS,
    report: Callable[[str], None] = print,
) -> dict[str, bool]:
    """Make the demo sets under ``root``; what was already made with the same options is left alone.

    A set is written beside its place and renamed when complete, so a killed run leaves no half of one.

    Args:
        root: folder of the sets, made if need be.
        options: see :class:`DemoOptions`.
        sets: which of ``motion``, ``scene``, ``image``.
        report: takes one line of progress at a time.

    Returns:
        Whether each set was made (True) or found (False).

    Raises:
        ConfigError: an unknown set, or something else than demo data stands where a set would go.
    """
    options, root = options or DemoOptions(), Path(root)
    for name in sets:
        _demand(name in SETS, 'sets', repr(name), f'some of {", ".join(SETS)}')
    return {name: _make_set(root, name, options, report) for name in sets}


def _make_set(root: Path, name: str, options: DemoOptions, report: Callable[[str], None]) -> bool:
    place, manifest = root / name, _manifest(name, options)
    home = place.resolve()  # of a link what it names is made anew, where that is
    _remove_left(home)
    if place.exists():
        found = _read_manifest(place)
        if found == manifest and _is_complete(place, name, options):
            report(f'{name}: found in {place}, made with the same options')
            return False
    fresh = home.with_name(f'.{home.name}.{os.getpid()}.new')
    try:
        _write_set(fresh, name, options, report)
        (fresh / 'manifest.json').write_text(json.dumps(manifest, indent=1) + '\n')
        _swap_in(fresh, home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return True


def _remove_left(place: Path) -> None:
    """Remove what runs that were killed have left beside a set: folders named after processes that are gone."""
    for left in place.parent.glob(f'.{glob.escape(place.name)}.*.*'):
        number, _, kind = left.name.removeprefix(f'.{place.name}.').partition('.')
        if kind not in ('new', 'old') or not number.isdigit() or (int(number) != os.getpid() and _lives(int(number))):
            continue
        if left.is_symlink():
            left.unlink()
        else:
            shutil.rmtree(left, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _manifest(name: str, options: DemoOptions) -> dict[str, object]:
    content = {
        'format': FORMAT,
        'set': name,
        'classes': list(options.classes(name)),
        'options': options.of_set(name),
    }
    return {**content, 'hash': hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()}


def _read_manifest(place: Path) -> dict[str, object]:
    """Read the manifest of a set that may be replaced; refuse to touch a folder that is none of ours."""
    try:
        found = json.loads((place / 'manifest.json').read_text())
        ours = str(found.get('format', '')).startswith('mmnas-video/demo@')
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise ConfigError(
            f'{place}: found a folder that is no demo data (no manifest.json of ours), expected demo data or '
            'nothing. Choose another folder, or move it away.'
        )
    return found


def _is_complete(place: Path, name: str, options: DemoOptions) -> bool:
    clips = (path for split in SPLITS for path, *_ in _clips(name, split, options))
    lists = (f'{listed}.txt' for listed in ('classes', *SPLITS))
    return all(path.is_file() for path in (*map(_lists_of(place, name).joinpath, lists), *map(place.joinpath, clips)))


def _lists_of(place: Path, name: str) -> Path:
    """The folder of a set's lists."""
    return place / 'meta' if name == 'image' else place


def _swap_in(fresh: Path, place: Path) -> None:
    old = place.with_name(f'.{place.name}.{os.getpid()}.old')
    if place.exists():
        os.replace(place, old)
    os.replace(fresh, place)
    shutil.rmtree(old, ignore_errors=True)


def _clips(name: str, split: str, options: DemoOptions) -> Iterator[tuple[str, str, int, int]]:
    """Yield (path inside the set, path as listed, label, number) of every clip of a split."""
    for label, class_name in enumerate(options.classes(name)):
        for number in range(getattr(options, f'{name}_clips')[SPLITS.index(split)]):
            if name == 'image':
                listed = f'{class_name}/{number:04d}.jpg'
                yield f'{split}/{listed}', listed, label, number
            else:
                listed = f'{split}_{class_name}_{number:04d}.mp4'
                yield f'videos/{listed}', listed, label, number


def _write_set(fresh: Path, name: str, options: DemoOptions, report: Callable[[str], None]) -> None:
    lists = _lists_of(fresh, name)
    lists.mkdir(parents=True)
    (lists / 'classes.txt').write_text(''.join(f'{c}\n' for c in options.classes(name)))
    for split in SPLITS:
        lines = (f'{listed} {label}\n' for _, listed, label, _ in _clips(name, split, options))
        (lists / f'{split}.txt').write_text(''.join(lines))
    todo = [(split, *clip) for split in SPLITS for clip in _clips(name, split, options)]
    start = told = time.monotonic()
    for done, (split, path, _, label, number) in enumerate(todo, 1):
        frames = render_clip(options, name, split, label, number)
        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
        if name == 'image':
            cv2.imwrite(str(fresh / path), frames[0, ..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        else:
            write_video(fresh / path, frames, options.fps)
        now = time.monotonic()
        if done == len(todo):
            report(f'{name}: {done} of {done} clips in {now - start:.1f} s')
        elif now - told > 2:
            told = now
            report(f'{name}: {done} of {len(todo)} clips, {(now - start) / done * (len(todo) - done):.0f} s left')
