"""A few real mp4 files, made once, and the pipeline that MMAction2 would run on them."""

import pytest
from mmengine.registry import init_default_scope

from mmnas_video.datasets import DemoOptions, make_demo

# Different everywhere, so that a swapped axis shows; lengths vary.
OPTIONS = DemoOptions(
    seed=3, height=34, width=46, min_frames=11, max_frames=17, motion_classes=4, scene_classes=3,
    motion_clips=(7, 2, 3), scene_clips=(5, 1, 2), image_clips=(3, 1, 2),
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_mmaction():
    """Look names up as a Runner with ``default_scope = 'mmaction'`` does."""
    init_default_scope('mmaction')


@pytest.fixture(scope='session')
def demo_root(tmp_path_factory):
    """Folder with the three sets."""
    root = tmp_path_factory.mktemp('demo')
    make_demo(root, OPTIONS, report=lambda line: None)
    return root


@pytest.fixture
def video_cfg(demo_root):
    """Config of MMAction2's own dataset on the motion videos, with every kind of random transform (a flip
    too)."""
    return dict(
        type='VideoDataset',
        ann_file=str(demo_root / 'motion/train.txt'),
        data_prefix=dict(video=str(demo_root / 'motion/videos')),
        pipeline=[
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=5, frame_interval=2, num_clips=1),
            dict(type='DecordDecode'),
            dict(type='RandomResizedCrop'),
            dict(type='Resize', scale=(29, 23), keep_ratio=False),
            dict(type='Flip', flip_ratio=0.5),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
    )
