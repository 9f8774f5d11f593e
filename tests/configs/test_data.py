"""The pipelines of configs/autox3d on real files: .mp4, .webm, JPEG folders; and the error where there are
none."""

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from mmnas_video.registry import DATASETS, TRANSFORMS

ROOT = Path(__file__).parents[2]
FRAMES = 47  # of each file: fewer than a clip of 13 x 6 spans, as short videos are


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Four files of one moving square each as .mp4, .webm and JPEG folders, with their lists."""
    root = tmp_path_factory.mktemp('data')
    lists = {'mp4': [], 'webm': [], 'frames': []}
    for number in range(4):
        frames = np.full((FRAMES, 90, 122, 3), 40, np.uint8)
        for t, frame in enumerate(frames):
            frame[20:50, t : t + 30] = (200, 30 * number, 90)
        for suffix, codec in (('mp4', 'libx264'), ('webm', 'libvpx')):
            with av.open(str(root / f'clip{number}.{suffix}'), 'w') as container:
                stream = container.add_stream(codec, rate=30)
                stream.height, stream.width, stream.pix_fmt = 90, 122, 'yuv420p'
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
                container.mux(stream.encode())
            lists[suffix].append(f'clip{number}.{suffix} {number % 2}')
        (root / f'clip{number}').mkdir()
        for t, frame in enumerate(frames, start=1):
            cv2.imwrite(str(root / f'clip{number}' / f'img_{t:05d}.jpg'), frame[..., ::-1])
        lists['frames'].append(f'clip{number} {FRAMES} {number % 2}')
    for kind, lines in lists.items():
        (root / f'{kind}.txt').write_text('\n'.join(lines) + '\n')
    return root


@pytest.mark.parametrize(
    ('name', 'kind', 'loader', 'views', 'frames', 'size'),
    [
        ('s_k200.py', 'mp4', 'train', 1, 13, 160),
        ('s_k400.py', 'mp4', 'train', 1, 13, 160),
        ('s_k400.py', 'webm', 'val', 1, 13, 160),
        ('s_k400.py', 'mp4', 'test', 30, 13, 182),
        ('s_k400_10center.py', 'mp4', 'test', 10, 13, 160),
        ('s_k400_rawframes.py', 'frames', 'train', 1, 13, 160),
        ('s_k400_rawframes.py', 'frames', 'val', 1, 13, 160),
        ('m_k400.py', 'mp4', 'train', 1, 16, 224),
        ('l_k400.py', 'mp4', 'val', 1, 16, 312),
        ('s_ssv2.py', 'webm', 'train', 1, 13, 160),
        ('s_ssv2.py', 'webm', 'test', 30, 13, 182),
        ('m_ssv2.py', 'mp4', 'train', 1, 16, 224),
    ],
)
def test_a_pipeline_gives_the_clips_of_the_network(name, kind, loader, views, frames, size, files, load):
    """Rejects a crop larger than the jittered short side, a transform that raw frames cannot have, a list
    whose videos may only be .mp4, and a sample that differs when it is drawn again."""
    cfg = load(f'autox3d/{name}')[f'{loader}_dataloader'].dataset
    prefix = dict.fromkeys(cfg.dataset.data_prefix, '')
    cfg.dataset.update(data_root=str(files), ann_file=f'{kind}.txt', data_prefix=prefix)
    dataset = DATASETS.build(cfg)
    sample = dataset[1]
    assert isinstance(sample, dict), sample  # a BadSample names what could not be read
    assert sample['inputs'].shape == (views, 3, frames, size, size) and sample['inputs'].dtype == torch.uint8
    assert sample['inputs'].float().std() > 5, 'an empty picture'
    if loader == 'train':
        assert torch.equal(sample['inputs'], dataset[1]['inputs'])
        assert not torch.equal(sample['inputs'], dataset[(1, 1)]['inputs']), 'every epoch draws the same crop'


def test_rawframes_and_videos_give_the_same_clip(files, load):
    """Rejects frames that are counted from 0 (image 1 is frame 0), and another spacing for raw frames."""
    found = {}
    for name, kind in (('s_k400.py', 'mp4'), ('s_k400_rawframes.py', 'frames')):
        cfg = load(f'autox3d/{name}').val_dataloader.dataset
        prefix = dict.fromkeys(cfg.dataset.data_prefix, '')
        cfg.dataset.update(data_root=str(files), ann_file=f'{kind}.txt', data_prefix=prefix)
        found[kind] = DATASETS.build(cfg)[2]['inputs'].float()
    assert (found['mp4'] - found['frames']).abs().mean() < 2.5  # two codecs: 1.3; interval 5 for 6: 5.4


def test_something_something_samples_the_whole_video(load):
    """Rejects a window of 13 x 6 frames: a video of 26 frames would be looped, and the end of a long one not
    seen."""
    step = load('autox3d/s_ssv2.py').train_dataloader.dataset.dataset.pipeline[1]
    for total in (26, 71):
        np.random.seed(5)
        drawn = TRANSFORMS.build(step)(dict(total_frames=total, start_index=0))['frame_inds']
        assert len(drawn) == 13 and (np.diff(drawn) >= 0).all() and drawn.max() < total
        assert drawn[0] <= total / 13 and drawn[-1] >= total * 12 / 13 - 1


@pytest.mark.parametrize('name', ['s_k400.py', 'm_k400.py', 's_ssv2.py', 's_k400_rawframes.py'])
def test_autoaugment_treats_all_frames_of_a_clip_alike(name, load):
    """Rejects a policy drawn for each frame: fed one picture 7 times it would give different pictures."""
    pipeline = load(f'autox3d/{name}').train_dataloader.dataset.dataset.pipeline
    steps = [step for step in pipeline if 'AutoAugment' in str(step)]
    assert len(steps) == 1
    augment = TRANSFORMS.build(steps[0])
    picture = np.random.default_rng(0).integers(0, 256, (31, 37, 3), dtype=np.uint8)
    changed = 0
    for seed in range(40):
        torch.manual_seed(seed)
        frames = augment(dict(imgs=[picture.copy() for _ in range(7)]))['imgs']
        assert all(np.array_equal(frame, frames[0]) for frame in frames), seed
        assert frames[0].shape == picture.shape
        changed += not np.array_equal(frames[0], picture)
    assert changed > 20, 'hardly any clip was augmented'


def test_missing_data_is_one_error_before_any_work(tmp_path):
    """Rejects a traceback from a worker process, and a message without the path, the key or what to do."""
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(ROOT / 'configs/autox3d/x3d_s.py')]
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().split('\n')[-1]
    assert last.startswith('error: ') and 'Traceback' not in done.stderr
    key, path = 'train_dataloader.dataset.dataset.ann_file', 'kinetics400_train_list_videos.txt'
    for part in (key, path, 'docs/data.md'):
        assert part in last, last
