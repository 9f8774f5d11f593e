"""A joint search of images and videos at its real sizes, on generated data in the published layouts.

    python tools/benchmarks/joint_run.py                             configs/vimnas/base_joint.py: 224 x 224, 64 frames
    python tools/benchmarks/joint_run.py --config configs/vimnas/tiny_joint.py --steps 4
    python tools/benchmarks/joint_run.py --data-only --root data     only the data: ImageNet, Kinetics-400 and -600 and
                                                                     Something-Something-V2 as they lie on a disk

Two epochs, the first on images alone as the config has it, with a checkpoint and validation on all four sets, through
tools/train.py with nothing but --cfg-options. What is changed: folders, batch size 1, no workers, few steps, and α is
read off at the end (no selection by perturbation, which runs every candidate). Prints the loss of every step, time and
the most memory that the run took. How long a step takes depends on the tubes that are drawn: seconds to many minutes
on a CPU.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from common import add_json, show

from mmnas_video.datasets import DemoOptions, make_demo

ROOT = Path(__file__).parents[2]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
FOLDERS = {'in1k': 'imagenet', 'k400': 'kinetics400', 'k600': 'kinetics600', 'ssv2': 'sthv2'}


def make_layouts(root: Path, train: int, val: int) -> None:
    """ImageNet's, Kinetics-400's and -600's and Something-Something-V2's folders and lists, as each names its files.

    So many files each, of two classes; the last clip of Kinetics-600's training list is a video of Kinetics-400's
    validation list.
    """
    options = DemoOptions(height=120, width=160, motion_classes=2, motion_clips=(2, 1, 1), min_frames=64, max_frames=80)
    make_demo(root / 'source', options, sets=('motion',), report=lambda text: None)
    sources = sorted((root / 'source/motion/videos').glob('*.mp4'))
    rng = np.random.default_rng(0)
    for split, count in (('train', train), ('val', val)):
        lines = []
        for n in range(count):
            file = root / f'imagenet/{split}/n{n:08d}/n{n:08d}_{n}.JPEG'
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), rng.integers(0, 255, (240, 320, 3)).astype(np.uint8))
            lines.append(f'n{n:08d}/n{n:08d}_{n}.JPEG {n % 2}\n')
        (root / 'imagenet/meta').mkdir(exist_ok=True)
        (root / f'imagenet/meta/{split}.txt').write_text(''.join(lines))

    def videos(folder: str, prefix: str, listing: str, names: list[str]) -> None:
        (root / folder / prefix).mkdir(parents=True, exist_ok=True)
        for n, name in enumerate(names):
            (root / folder / prefix / name).unlink(missing_ok=True)
            (root / folder / prefix / name).symlink_to(sources[n % len(sources)].resolve())
        (root / folder / listing).write_text(''.join(f'{name} {n % 2}\n' for n, name in enumerate(names)))

    def youtube(letter: str, count: int) -> list[str]:
        return [f'{letter * 8}{n:03d}_000003_000013.mp4' for n in range(count)]

    lists = {}
    for number, letters in ((400, 'AB'), (600, 'CD')):
        for split, letter, count in (('train', letters[0], train), ('val', letters[1], val)):
            lists[number, split] = youtube(letter, count)
    lists[600, 'train'][-1] = lists[400, 'val'][0].replace('000013', '000014')  # another cut of one video
    for (number, split), names in lists.items():
        videos(f'kinetics{number}', f'videos_{split}', f'kinetics{number}_{split}_list_videos.txt', names)
    videos('sthv2', 'videos', 'sthv2_train_list_videos.txt', [f'{n}.mp4' for n in range(train)])
    videos('sthv2', 'videos', 'sthv2_val_list_videos.txt', [f'{n}.mp4' for n in range(train, train + val)])


def options(root: Path, steps: int) -> list[str]:
    """``--cfg-options`` that point a joint config at ``root`` and make its run short."""
    words: dict[str, object] = {}
    for loader in LOADERS:
        words |= {f'{loader}.batch_size': 1, f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False}
        for task, folder in FOLDERS.items():
            words[f'{loader}.dataset.datasets.{task}.data_root'] = f'{root}/{folder}/'
    for task in ('k400', 'k600', 'ssv2'):
        listing = f'{root}/{FOLDERS[task]}/{FOLDERS[task]}_val_list_videos.txt'
        words[f'train_dataloader.dataset.validation.{task}'] = listing
    words |= {
        'train_dataloader.batch_sampler.first.share': 0.5,
        'train_dataloader.batch_sampler.steps_per_epoch': steps,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 2,
        'param_scheduler.0.end': 1,
        'param_scheduler.1.begin': 1,
        'param_scheduler.1.end': 2,
        'param_scheduler.1.T_max': 1,
        'default_hooks.logger.interval': 1,
        'custom_hooks.0.selection': 'argmax',
        'custom_hooks.0.warmup_epochs': 0,
        'custom_hooks.0.score_batches': 1,
        'custom_hooks.0.calibration_clips': 2,
    }
    return [f'{key}={value}' for key, value in words.items()]


def losses(work_dir: Path) -> list[tuple[int, float, float | None]]:
    """(step, loss, loss of α's step) as the run's own log has them."""
    rows = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in map(json.loads, file.read_text().splitlines()):
            if 'loss' in line:
                rows.append((line['step'], line['loss'], line.get('arch_loss')))
    return rows


def main() -> int:
    """Make the data, train on it, print what came out; returns the exit status of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--config',
        default='configs/vimnas/base_joint.py',
        help='a joint search (default: configs/vimnas/base_joint.py)',
    )
    parser.add_argument('--root', type=Path, help='folder of the data and the work dir (default: a temporary one)')
    parser.add_argument('--steps', type=int, default=4, help='steps of each of the two epochs')
    parser.add_argument('--clips', type=int, default=20, help='training clips of each set; a tenth is held out for α')
    parser.add_argument('--data-only', action='store_true', help='write the data and stop')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help="more of them, e.g. 'custom_hooks.0.drawn.tube*=2'",
    )
    add_json(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (args.root or Path(temporary)).resolve()
        make_layouts(root, args.clips, 2)
        if args.data_only:
            print(f'{root}: {", ".join(FOLDERS.values())}')
            return 0
        start, work_dir = time.perf_counter(), root / 'work_dir'
        command = [sys.executable, 'tools/train.py', args.config, '--work-dir', str(work_dir), '--cfg-options']
        code = subprocess.run([*command, *options(root, args.steps), *args.cfg_options], cwd=ROOT).returncode
        if code:
            return code
        rows = [[step, f'{loss:.3f}', '' if arch is None else f'{arch:.3f}'] for step, loss, arch in losses(work_dir)]
        show(f'Joint search at size: {args.config}', ['step', 'loss', 'loss of the mixture'], rows, args.out)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f'{time.perf_counter() - start:.0f} s, {memory:.1f} GiB at most')
    return 0


if __name__ == '__main__':
    sys.exit(main())
