"""The config in README.md, beside a training config as MMAction2's users have it."""

import re
from pathlib import Path

import pytest
import torch

from mmnas_video.errors import ConfigError
from mmnas_video.launch import build_runner, load_config
from mmnas_video.search import search_hook_index

ROOT = Path(__file__).parents[2]
TRAINING = """
default_scope = 'mmaction'
model = dict(
    type='Recognizer3D',
    backbone=dict(type='X3D', gamma_w=1, gamma_b=2.25, gamma_d=2.2),
    cls_head=dict(type='X3DHead', in_channels=432, num_classes=400, dropout_ratio=0.5, fc1_bias=False),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[114.75] * 3, std=[57.38] * 3, format_shape='NCTHW'))
pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(160, 160), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='VideoDataset', ann_file='LIST', pipeline=pipeline))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
"""


def test_the_config_of_ones_own_project_can_be_searched(tmp_path):
    """Rejects a snippet that lacks what a search asks for before its first step (the shape of the clip, a seed,
    held-out data), a head that does not fit, and a sampler that tells the dataset neither the epoch nor the seed;
    without the snippet's own the search says what to write."""
    (snippet,) = re.findall(r"```python\n(_base_ = 'my_training.py'.*?)```", (ROOT / 'README.md').read_text(), re.S)
    clips = [tmp_path / f'{i}.mp4' for i in range(20)]
    for clip in clips:
        clip.touch()
    (tmp_path / 'list.txt').write_text(''.join(f'{clip} {i % 2}\n' for i, clip in enumerate(clips)))
    (tmp_path / 'my_training.py').write_text(TRAINING.replace('LIST', str(tmp_path / 'list.txt')))
    (tmp_path / 'search.py').write_text(snippet)
    cfg = load_config(str(tmp_path / 'search.py'), {'work_dir': str(tmp_path / 'work'), 'log_level': 'ERROR'})
    assert search_hook_index(cfg) == 0
    runner = build_runner(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.call_hook('before_run')
    loader = runner.train_dataloader
    assert next(iter(loader.sampler))[0] == 0 and loader.dataset.seed == runner.seed == 0
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'PARSECSearchHook')
    assert len(hook.held_out.dataset) == 4 and hook.costs.reach['macs'][0] < 2e9 < hook.costs.reach['macs'][1]
    with hook.searchable.use(hook.space.smallest), torch.no_grad():
        features = runner.model.extract_feat(torch.zeros(1, 1, 3, 4, 32, 32))[0]
        assert runner.model.cls_head.eval()(features).shape == (1, 400)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    runner = build_runner(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    with pytest.raises(ConfigError, match=r"train_dataloader\.sampler: found DefaultSampler.*type='SeededSampler'"):
        runner.call_hook('before_run')
