"""Clips a second on one core: MMAction2's stock pipeline on original videos, and on transcoded ones with both readers.

    python tools/benchmarks/data.py                              # 24 generated clips of 10 s
    python tools/benchmarks/data.py --originals a.mp4 b.mp4      # your own videos instead
    python tools/benchmarks/data.py --smoke                      # whether it runs

Goal, on the same content: with decord at least 3.5 times, with torchcodec at least 6 times the clips of the stock
pipeline on the originals. The generated originals: 10 s, 320 x 240, 30 frames a second, moving texture, x264 at its
defaults (a key frame every 250, B frames). The transcoded ones are written as tools/data/transcode.py writes them.

This process stays on one core, and all candidates take turns. What counts is the CPU time of the process with all its
threads (decord decodes in one of its own), so other work on the machine changes the ratios little; wall time is shown
beside it. A pass has at least 48 clips; of fewer videos each gives several, with starts of their own. Where files have
every N-th frame alone the pipeline's interval is 6 / N: its clips are some of the original's, those that start at
multiples of N. The pixels change: the table has the size of the files, and the PSNR of what training is fed (frames
scaled to a short side of 205, the middle of X3D-S's 182 to 228) against the same from the originals.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import torch
from common import add_json, show
from mmengine.registry import init_default_scope

from mmnas_video.datasets import SeededDataset
from mmnas_video.datasets.ffmpeg_libs import load_torchcodec
from mmnas_video.datasets.transcode import Recipe, transcode
from mmnas_video.errors import StackError

FPS = 30
GOALS = {'Decord': 3.5, 'Torchcodec': 6.0}
RECIPES = {
    'original': None,
    'default': Recipe(),
    'short side 182': Recipe(182),
    '182, GOP 12': Recipe(182, gop=12),
    '182, GOP 1': Recipe(182, gop=1),
    '182, every 3, GOP 12': Recipe(182, every=3, gop=12),
    '182, every 6, GOP 4': Recipe(182, every=6, gop=4),
    '182, every 6, GOP 4, crf 26': Recipe(182, every=6, gop=4, crf=26),
}
INTERVAL = 6  # frames of the original from one picture of a clip to the next
CLIPS = 48  # of one pass: fewer videos are read several times, each time from another start
SHORT_SIDE = 205  # at which pictures are compared


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


def make_folders(root: Path, originals: list[Path], clips: int, frames: int) -> dict[str, Path]:
    """The originals (copies of ``originals``, or generated) and their transcoded forms; returns their folders."""
    folders = {name: root / str(number) for number, name in enumerate(RECIPES)}
    for folder in folders.values():
        folder.mkdir()
        (folder / 'list.txt').write_text(''.join(f'{number}.mp4 0\n' for number in range(clips)))
    for number in range(clips):
        original = folders['original'] / f'{number}.mp4'
        if originals:
            shutil.copy(originals[number], original)
        else:
            make_original(original, number, frames)
        for name, recipe in RECIPES.items():
            if recipe:
                transcode(original, folders[name] / original.name, recipe)
        print(f'made {number + 1} of {clips} videos', file=sys.stderr, flush=True)
    return folders


def every(name: str) -> int:
    """Of how many frames of the original a row's files have one."""
    recipe = RECIPES[name]
    return recipe.every if recipe else 1


def pipeline_on(folder: Path, reader: str, interval: int, draws: int) -> Callable[[], None]:
    """Run ``draws`` clips of every video of a folder through X3D-S's training pipeline; the same each time."""
    steps = [
        dict(type=f'{reader}Init', num_threads=1),
        dict(type='SampleFrames', clip_len=13, frame_interval=interval, num_clips=1),
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
        for key in product(range(draws), range(len(dataset))):
            if tuple(dataset[key]['inputs'].shape) != (1, 3, 13, 160, 160):
                raise RuntimeError('a clip of another shape')

    return once


def quality(original: Path, new: Path, step: int) -> float:
    """Mean squared error of some frames against every ``step``-th of the original, at the size that training has."""
    old, now = (decord.VideoReader(str(path), num_threads=1) for path in (original, new))
    picked = np.arange(0, len(now), max(1, 23 // step))
    there, here = (
        np.stack([_as_trained(frame) for frame in reader.get_batch(numbers).asnumpy()])
        for reader, numbers in ((old, step * picked), (now, picked))
    )
    return float(np.square(there - here).mean())


def _as_trained(frame: np.ndarray) -> np.ndarray:
    scale = SHORT_SIDE / min(frame.shape[:2])
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)


def measure(cases: dict[Any, Callable[[], None]], rounds: int) -> dict[Any, tuple[float, float]]:
    """Median CPU and wall seconds of each, all in turn, after one pass to warm up."""
    for work in cases.values():
        work()
    taken: dict[Any, list[tuple[float, float]]] = {case: [] for case in cases}
    for number in range(rounds):
        for case, work in cases.items():
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            taken[case].append((time.process_time() - cpu, time.perf_counter() - wall))
        print(f'measured round {number + 1} of {rounds}', file=sys.stderr, flush=True)
    return {
        case: tuple(statistics.median(column) for column in zip(*pairs, strict=True)) for case, pairs in taken.items()
    }


def report(folders: dict[str, Path], readers: list[str], videos: int, draws: int, rounds: int, out: str | None) -> None:
    """Measure all in turn and print the table."""
    cases = {
        (name, reader): pipeline_on(folder, reader, INTERVAL // every(name), draws)
        for name, folder in folders.items()
        for reader in readers
    }
    found = measure(cases, rounds)
    base, clips, rows = found['original', 'Decord'][0], videos * draws, []
    for (name, reader), (cpu, wall) in found.items():
        place, same = folders[name], name == 'original'
        files = [f'{number}.mp4' for number in range(videos)]
        size = sum((place / file).stat().st_size for file in files) / videos / 1e3
        errors = [quality(folders['original'] / file, place / file, every(name)) for file in files]
        psnr = '' if same else f'{10 * np.log10(255**2 / np.mean(errors)):.1f}'
        goal = '' if same else f'{GOALS[reader]} ×'
        speed = (f'{clips / cpu:.1f}', f'{base / cpu:.2f} ×', goal, f'{clips / wall:.1f}')
        rows.append((name, reader, f'{size:.0f}', psnr, *speed))
    header = ('files', 'reader', 'kB a file', 'PSNR dB', 'clips per CPU s', 'to stock', 'goal', 'clips per s')
    show('Clips a second on one core, 13 x 6 frames, whole pipeline', header, rows, out)
    print(f'av {av.__version__}, decord {decord.__version__}, OpenCV {cv2.__version__}')
    print(f'load average {os.getloadavg()[0]:.1f}; the CPU time is that of one process on one core')


def main() -> None:
    """Make the videos, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--originals', nargs='+', type=Path, help='videos to use instead of generated ones')
    parser.add_argument('--clips', type=int, default=24, help='generated videos (24)')
    parser.add_argument(
        '--rounds', type=int, default=7, help='passes over the clips with each reader; the median counts (default: 7)'
    )
    parser.add_argument('--smoke', action='store_true', help='2 clips of 3 s, 1 round: no figure means anything')
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope('mmaction')
    clips, frames, rounds = (2, 3 * FPS, 1) if args.smoke else (args.clips, 10 * FPS, args.rounds)
    clips = len(args.originals) if args.originals else clips
    draws = 1 if args.smoke else -(-CLIPS // clips)
    readers = ['Decord']
    try:
        load_torchcodec()
        readers.append('Torchcodec')
    except StackError as error:
        print(f'without torchcodec: {error}')
    with tempfile.TemporaryDirectory() as folder:
        folders = make_folders(Path(folder), args.originals or [], clips, frames)
        if hasattr(os, 'sched_setaffinity'):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        report(folders, readers, clips, draws, rounds, args.out)


if __name__ == '__main__':
    main()
