"""Whether a worker that decodes for days grows: resident memory after 1,000 and 10,000 decodes in one process.

    python tools/benchmarks/decode_memory.py                          # decord, then torchcodec; minutes
    python tools/benchmarks/decode_memory.py --decodes 100 300        # a smoke run

Bound: at the last count at most 5 % more than at the first; otherwise the status is 1. It counts where the first count
is at least 1,000: before, a worker is still filling its caches. One persistent worker of a DataLoader reads a
SeededDataset through MMAction2's own steps, whole clips of different lengths and sizes; what is measured is the
worker's own memory.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import add_json, resident, show, verdict
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.datasets import EndlessSampler, SeededDataset, close_workers, skip_bad_collate
from mmnas_video.datasets.demo_video import write_video
from mmnas_video.datasets.ffmpeg_libs import load_torchcodec
from mmnas_video.datasets.file_jobs import Progress
from mmnas_video.errors import StackError

#: Most that memory may grow by (last ÷ first), and decodes from which it counts.
MOST, LEAST = 1.05, 1000
VIDEOS = 32
SIZES = ((112, 148, 23), (120, 160, 31), (144, 190, 47), (90, 126, 61))  # height, width, frames


def make_videos(folder: Path) -> Path:
    """Videos of several sizes and lengths; returns their list."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(VIDEOS):
        height, width, frames = SIZES[number % len(SIZES)]
        still = rng.integers(0, 256, (height, width, 3), np.uint8)
        clip = np.stack([np.roll(still, (t, 2 * t), (0, 1)) for t in range(frames)])
        write_video(folder / f'{number}.mp4', clip, fps=25)
        lines.append(f'{number}.mp4 0\n')
    (folder / 'list.txt').write_text(''.join(lines))
    return folder / 'list.txt'


def measure(videos: Path, reader: str, decodes: list[int]) -> list[float]:
    """MiB of the worker after so many decodes."""
    steps = [dict(type=f'{reader}Init'), dict(type='SampleFrames', clip_len=13, frame_interval=2, num_clips=1)]
    steps += [dict(type=f'{reader}Decode'), dict(type='Resize', scale=(-1, 96)), dict(type='RandomCrop', size=80)]
    steps += [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
    prefix = dict(video=str(videos.parent))
    dataset = SeededDataset(dict(type='VideoDataset', ann_file=str(videos), data_prefix=prefix, pipeline=steps))
    loader = DataLoader(
        dataset,
        batch_size=1,
        num_workers=1,
        persistent_workers=True,
        sampler=EndlessSampler(dataset),
        collate_fn=skip_bad_collate,
    )
    batches, found, progress = iter(loader), [], Progress(max(decodes), f'decodes with {reader.lower()}')
    for number in range(1, max(decodes) + 1):
        next(batches)
        progress.step(bad=False)
        if number in decodes:
            found.append(resident(batches._workers[0].pid))
    close_workers(loader, batches)
    return found


def main() -> int:
    """Measure both readers; the status is 1 if one grows by more than :data:`MOST` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--decodes',
        type=int,
        nargs='+',
        default=[1000, 2000, 5000, 10000],
        help='counts at which memory is read (default: 1000 2000 5000 10000)',
    )
    add_json(parser)
    args = parser.parse_args()
    keep_freed_memory()  # as our tools do, whose workers inherit it
    init_default_scope('mmaction')
    readers = ['Decord']
    try:
        load_torchcodec()
        readers.append('Torchcodec')
    except StackError as error:
        print(f'without torchcodec: {error}')
    decodes, rows, growth = sorted(set(args.decodes)), [], {}
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder))
        for reader in readers:
            found = measure(videos, reader, decodes)
            growth[reader] = (0.0, found[-1] / found[0], MOST)
            rows.append((reader, *(f'{x:.1f}' for x in found), f'{found[-1] / found[0]:.3f}'))
    header = ('reader', *(f'MiB after {count:,}' for count in decodes), 'last ÷ first')
    show('Resident memory of a worker that decodes', header, rows, args.out)
    return verdict(growth, decodes[0], LEAST, 'decodes before the first count')


if __name__ == '__main__':
    sys.exit(main())
