"""What a joint run refuses before its first step, and what it validates."""

import copy

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS

from .joint import CLASSES, model, parts, run, run_config


def refused(cfg):
    cfg.custom_hooks[-1].kill_at = 0
    with pytest.raises(ConfigError) as info:
        run(cfg)
    return str(info.value)


def test_what_does_not_fit_is_refused_before_the_first_step(tmp_path, demo_root):
    """Rejects gradients of two datasets in one step, a head with too few classes (an index error on a GPU), a dataset
    without head, a plain head, and validation videos in training."""
    cfg = run_config(tmp_path, demo_root)
    cfg.optim_wrapper.accumulative_counts = 2
    assert refused(cfg).startswith('optim_wrapper.accumulative_counts: found 2, expected 1')
    heads = 'model.cls_head.heads'
    cases = [
        (model({**CLASSES, 'motion': 3}), 'train_dataloader.dataset.datasets.motion.ann_file: found the label 3'),
        (model({'image': 3, 'scene': 3}), f'{heads}.motion: found none (image, scene), expected a head'),
    ]
    plain = model()
    plain['cls_head'] = dict(type='TimeSformerHead', num_classes=4, in_channels=7)
    cases.append((plain, 'model.cls_head: found TimeSformerHead, expected MultiTaskHead'))
    for network, words in cases:
        cfg = run_config(tmp_path, demo_root)
        cfg.model = network
        assert refused(cfg).startswith(words)
    cfg = run_config(tmp_path, demo_root)
    add_validation(cfg, demo_root, parts(demo_root, 'train')['scene'])
    found = refused(cfg)
    assert found.startswith('train_dataloader.dataset and val_dataloader.dataset: found 15 of 52 clips')


def test_a_clip_that_is_too_short_is_named_before_its_dataset_has_its_turn(tmp_path, demo_root):
    """Rejects a search that trains on images for a third of its steps and then ends at its first clip (here 5 frames
    and a tube of 7), and a message without the dataset, the tube or the length that is needed."""
    tubes = [
        dict(kernels=['1x5x7'], strides=['2x7x11']),
        dict(kernels=['3x5x7'], strides=['2x7x11']),
        dict(kernels=['2x5x3', '3x5x3'], strides=['2x11x7'], offsets=['0x0x0', '4x1x0']),
    ]
    table = dict(embed_dims=(7,), depths=(1,), heads=(1,), qkv_dims=(6,), mlp_ratios=(1.0,))
    network = model()
    network['backbone'] = dict(type='SuperViT', table=table, tubes=tubes)
    cfg = run_config(tmp_path, demo_root, first=dict(dataset='image', epochs=1))
    cfg.model = network
    assert refused(cfg) == (
        'train_dataloader.dataset.datasets.scene.pipeline: clip: found 5 frames of 23x29 pixels, expected at least 7 '
        'frames: the largest kernel of tube 3 has 3 and starts as late as at 4 (backbone.tubes, '
        'backbone.max_kernel_volume, backbone.clamp_offsets)'
    )
    cfg.custom_hooks[-1].kill_at, network['backbone']['clamp_offsets'] = None, True
    cfg.model = network
    assert len(run(cfg)[0]) == 22


def add_validation(cfg, demo_root, scene=None):
    data = parts(demo_root, 'val')
    data['scene'] = scene or data['scene']
    cfg.val_dataloader = dict(
        dataset=dict(type='JointDataset', datasets=data, config_key='val_dataloader.dataset'),
        sampler=dict(type='SeededSampler', shuffle=False),
        batch_sampler=dict(type='TaskByTaskBatchSampler'),
        collate_fn=dict(type='skip_bad_collate'),
        batch_size=2,
        num_workers=0,
    )
    cfg.val_cfg, cfg.val_evaluator = {}, dict(type='JointAccMetric')


def test_validation_gives_every_datasets_accuracy(tmp_path, demo_root, monkeypatch):
    """Rejects a metric that MMEngine's loop does not fill, and a spare class that stops the run."""
    cfg = run_config(tmp_path, demo_root)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.model = model({**CLASSES, 'scene': 5})
    add_validation(cfg, demo_root)
    metrics = {}
    monkeypatch.setattr(
        'tests.datasets.joint.NoteHook.after_val_epoch', lambda self, runner, metrics=None: found.update(metrics)
    )
    found = metrics
    run(cfg)
    assert {f'{task}/top{k}' for task in (*CLASSES, 'mean') for k in (1, 5)} == set(metrics)
    assert metrics['image/top5'] == metrics['motion/top5'] == 1.0
    log = next(tmp_path.rglob('*.log')).read_text()
    assert 'model.cls_head.heads.scene.num_classes: found 5, but the labels' in log
    assert 'not be bit for bit' not in log


@HOOKS.register_module()
class Still(Hook):
    """As a search that trains nothing (an evolution)."""

    trains_weights = False


def test_a_run_that_trains_nothing_has_nothing_to_leave_out(tmp_path, demo_root):
    """Rejects the config of a supernet's evolution, whose few steps are all within the time of the first dataset."""
    cfg = run_config(tmp_path, demo_root, kill_at=0, first=dict(dataset='image', epochs=2))
    cfg.custom_hooks.append(dict(type='Still'))
    assert len(run(cfg)[0]) == 1


def test_bad_files_are_skipped_and_named(tmp_path, demo_root):
    """Rejects a joint dataset that stamps a bad sample, and dies of it."""
    text = (demo_root / 'scene/train.txt').read_text()
    (tmp_path / 'broken.mp4').write_bytes(b'')
    (tmp_path / 'list.txt').write_text(text + f'{tmp_path}/broken.mp4 0\n')
    cfg = run_config(tmp_path, demo_root)
    cfg.train_dataloader.dataset.datasets.scene.ann_file = str(tmp_path / 'list.txt')
    cfg.train_cfg, cfg.custom_hooks[2].max_bad_share = dict(by_epoch=True, max_epochs=2), 0.1
    batches = run(cfg)[0]
    assert 3 in {len(names) for task, names, _ in batches.values() if task == 'scene'}


def test_stock_data_is_left_alone(tmp_path, demo_root):
    """Rejects a hook that stops, or changes, a run without joint data."""
    cfg = run_config(tmp_path, demo_root)
    cfg.train_dataloader = dict(
        dataset=dict(type='SeededDataset', dataset=copy.deepcopy(parts(demo_root)['scene'])),
        sampler=dict(type='SeededSampler'), batch_size=5, num_workers=0,
    )  # fmt: skip
    cfg.model = model({'scene': 3})
    cfg.model['cls_head']['default'] = 'scene'
    cfg.train_cfg, cfg.optim_wrapper.accumulative_counts = dict(by_epoch=True, max_epochs=1), 2
    cfg.custom_hooks = cfg.custom_hooks[:-1]
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 3
