"""Clips a second on one core: MMAction2's stock pipeline on original videos, and on transcoded ones with both readers.

    python tools/benchmarks/data.py                 # 24 clips of 10 s, a few minutes
    python tools/benchmarks/data.py --smoke         # whether it runs

Goal, on the same content: with decord at least 3.5 times, with torchcodec at least 6 times the clips of the stock
pipeline on the originals. The originals are made here: 10 s, 320 x 240, 30 frames a second, moving texture, x264 at its
defaults (a key frame every 250, B frames). Their transcoded forms are those of tools/data/transcode.py, once at their
own size and once at the short side that X3D-S trains at. The pixels change: the table has the size of the files and the
PSNR against the originals too, at the transcoded size.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import torch
from common import Interleaved, add_json, show
from mmengine.registry import init_default_scope

from mmnas_video.datasets import SeededDataset
from mmnas_video.datasets.ffmpeg_libs import load_torchcodec
from mmnas_video.datasets.transcode import Recipe, transcode
from mmnas_video.errors import StackError

FPS = 30
GOALS = {'Decord': 3.5, 'Torchcodec': 6.0}


def scene(rng: np.random.Generator, frames: int, height: int, width: int) -> Any:
    """Frames of a textured background that a hand-held camera pans over, with textured things moving across it."""
    ground = _texture(rng, height + 96, width + 96)
    things = [_texture(rng, rng.integers(30, 80), rng.integers(30, 80)) for _ in range(5)]
    places, speeds = rng.uniform(0, 1, (5, 2)) * (height, width), rng.normal(0, 2.5, (5, 2))
    sway = np.cumsum(rng.normal(0, 0.5, (frames, 2)), 0) + 48 + 30 * np.sin(np.arange(frames) / 40)[:, None]
    for t in range(frames):
        top, left = np.clip(sway[t], 0, 95).astype(int)
        frame = ground[top : top + height, left : left + width].astype(np.float32)
        for thing, place, speed in zip(things, places, speeds, strict=True):
            h, w = thing.shape[:2]
            y, x = ((place + t * speed) % (height - h, width - w)).astype(int)
            frame[y : y + h, x : x + w] = thing
        noise = rng.normal(0, 3, (height, width, 1)).astype(np.float32)  # a camera's
        yield np.clip(frame + noise, 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several scales, as natural pictures have it: (H, W, 3), uint8."""
    total = np.zeros((height, width, 3), np.float32)
    for scale in (2, 4, 8, 16, 32):
        coarse = rng.normal(0, 1, (height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        total += scale**0.7 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 9 * total, 0, 255).astype(np.uint8)


def make_original(path: Path, seed: int, frames: int) -> None:
    """Write one video with x264's defaults."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = 320, 240, 'yuv420p'
        for frame in scene(np.random.default_rng(seed), frames, 240, 320):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())


def make_folders(root: Path, clips: int, frames: int, short_side: int) -> dict[str, Path]:
    """The originals and their transcoded forms; returns their folders."""
    recipes = {'original': None, 'transcoded, 240': Recipe(), f'transcoded, {short_side}': Recipe(short_side)}
    folders = {name: root / str(number) for number, name in enumerate(recipes)}
    for folder in folders.values():
        folder.mkdir()
        (folder / 'list.txt').write_text(''.join(f'{number}.mp4 0\n' for number in range(clips)))
    for number in range(clips):
        original = folders['original'] / f'{number}.mp4'
        make_original(original, number, frames)
        for name, recipe in recipes.items():
            if recipe:
                transcode(original, folders[name] / original.name, recipe)
        print(f'made {number + 1} of {clips} videos', file=sys.stderr, flush=True)
    return folders


def pipeline_on(folder: Path, reader: str) -> Callable[[], None]:
    """Run every clip of a folder through X3D-S's training pipeline; the same samples each time."""
    steps = [
        dict(type=f'{reader}Init', num_threads=1),
        dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=1),
        dict(type=f'{reader}Decode'),
        dict(type='RandomRescale', scale_range=(182, 228)),
        dict(type='RandomCrop', size=160),
        dict(type='Flip', flip_ratio=0.5),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]
    prefix = dict(video=str(folder))
    dataset = SeededDataset(
        dict(type='VideoDataset', ann_file=str(folder / 'list.txt'), data_prefix=prefix, pipeline=steps)
    )

    def once() -> None:
        for index in range(len(dataset)):
            if tuple(dataset[0, index]['inputs'].shape) != (1, 3, 13, 160, 160):
                raise RuntimeError('a clip of another shape')

    return once


def quality(original: Path, new: Path) -> float:
    """PSNR in dB of some frames, at the new file's size."""
    old, now = (decord.VideoReader(str(path), num_threads=1) for path in (original, new))
    picked = list(range(0, len(now), 23))
    there, here = old.get_batch(picked).asnumpy(), now.get_batch(picked).asnumpy()
    small = [cv2.resize(frame, here.shape[2:0:-1], interpolation=cv2.INTER_AREA) for frame in there]
    return float(10 * np.log10(255**2 / np.square(np.stack(small).astype(float) - here).mean()))


def report(folders: dict[str, Path], readers: list[str], clips: int, rounds: int, out: str | None) -> None:
    """Measure all in turn and print the table."""
    cases = {(folder, reader): pipeline_on(folders[folder], reader) for folder in folders for reader in readers}
    timer = Interleaved({f'{folder} {reader}': work for (folder, reader), work in cases.items()})
    found = timer.run(rounds)
    base, rows = found['original Decord'], []
    for folder, reader in cases:
        seconds, place = found[f'{folder} {reader}'], folders[folder]
        size = sum(file.stat().st_size for file in place.glob('*.mp4')) / clips / 1e3
        same = folder == 'original'
        psnr = '' if same else f'{quality(folders["original"] / "0.mp4", place / "0.mp4"):.1f}'
        goal = '' if same else f'{GOALS[reader]} ×'
        rows.append(
            (
                folder,
                reader,
                f'{size:.0f}',
                psnr,
                f'{clips / seconds:.1f}',
                f'{base / seconds:.2f} ×',
                goal,
                timer.dropped,
            )
        )
    header = ('files', 'reader', 'kB a file', 'PSNR dB', 'clips/s', 'to stock', 'goal', 'rounds dropped')
    show('Clips a second on one core, 13 frames of 10 s videos, whole pipeline', header, rows, out)
    print(f'av {av.__version__}, decord {decord.__version__}, OpenCV {cv2.__version__}')


def main() -> None:
    """Make the videos, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clips', type=int, default=24)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--short-side', type=int, default=182, help='of the smaller transcoded files (182)')
    parser.add_argument('--smoke', action='store_true', help='2 clips of 3 s, 1 round: no figure means anything')
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope('mmaction')
    clips, frames, rounds = (2, 3 * FPS, 1) if args.smoke else (args.clips, 10 * FPS, args.rounds)
    readers = ['Decord']
    try:
        load_torchcodec()
        readers.append('Torchcodec')
    except StackError as error:
        print(f'without torchcodec: {error}')
    with tempfile.TemporaryDirectory() as folder:
        report(make_folders(Path(folder), clips, frames, args.short_side), readers, clips, rounds, args.out)


if __name__ == '__main__':
    main()
