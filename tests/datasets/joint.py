"""Configs of joint data on the demo sets of the tests, and a small network with a head for each."""

import random

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmnas_video.datasets import close_runner_workers
from mmnas_video.registry import HOOKS, MODELS
from mmnas_video.search.config_text import unformatted

CLASSES = {'image': 3, 'scene': 3, 'motion': 4}


def video_part(root, name, split, frames=5):
    """Videos, ``frames`` frames of 23 × 29, randomly cropped."""
    return dict(
        type='VideoDataset',
        ann_file=f'{root}/{name}/{split}.txt',
        data_prefix=dict(video=f'{root}/{name}/videos'),
        pipeline=[
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=frames, frame_interval=2, num_clips=1),
            dict(type='DecordDecode'),
            dict(type='RandomResizedCrop'),
            dict(type='Resize', scale=(29, 23), keep_ratio=False),
            dict(type='TorchVisionWrapper', op='RandAugment'),
            dict(type='ClipRandomErasing', prob=0.5),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs', meta_keys=('filename',)),
        ],
    )


def image_part(root, split):
    """Images through mmpretrain's own steps, then packed as clips with T = 1."""
    return dict(
        type='CustomDataset',
        _scope_='mmpretrain',
        ann_file=f'{root}/image/meta/{split}.txt',
        data_prefix=dict(img_path=f'{root}/image/{split}'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=(23, 29)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandAugment', policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9),
            dict(type='RandomErasing', erase_prob=0.25, mode='rand'),
            dict(type='mmaction.ImageAsClip'),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs', meta_keys=('img_path',)),
        ],
    )


def parts(root, split='train'):
    """Training: 9 images, 15 scenes and 28 motions."""
    videos = {name: video_part(root, name, split) for name in ('scene', 'motion')}
    return {'image': image_part(root, split), **videos}


def joint_loader(root, workers=0, **batch_sampler):
    """Training DataLoader: 3 images, 4 scenes or 5 motions a batch, so 3 + 3 + 5 steps an epoch."""
    return dict(
        dataset=dict(type='JointDataset', datasets=parts(root)),
        sampler=dict(type='SeededSampler'),
        batch_sampler=dict(type='JointBatchSampler', batch_sizes=dict(image=3, scene=4), **batch_sampler),
        collate_fn=dict(type='skip_bad_collate'),
        batch_size=5,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


@MODELS.register_module()
class ToyTrunk(nn.Module):
    """As small as it can be with dropout and any T: (B, 3, T, H, W) to (B, 7)."""

    def __init__(self, drop=0.3):
        super().__init__()
        self.drop = drop
        self.conv = nn.Conv3d(3, 7, (1, 7, 7), stride=(1, 5, 5))

    def forward(self, x):
        return nn.functional.dropout(self.conv(x).relu().mean((2, 3, 4)), self.drop, self.training)


def model(classes=None, **blending):
    """A stock recognizer with ToyTrunk and a head for each of ``classes``."""
    heads = {name: dict(num_classes=count) for name, count in (classes or CLASSES).items()}
    return dict(
        type='Recognizer3D',
        backbone=dict(type='ToyTrunk'),
        cls_head=dict(
            type='MultiTaskHead',
            heads=heads,
            common=dict(type='TimeSformerHead', in_channels=7, average_clips='prob'),
        ),
        data_preprocessor=dict(
            type='ActionDataPreprocessor', mean=[114.75] * 3, std=[57.375] * 3, format_shape='NCTHW',
            blending=dict(type='TaskBlending', tasks=blending) if blending else None,
        ),
    )  # fmt: skip


class Kill(BaseException):
    """Nothing catches it."""


@HOOKS.register_module()
class NoteHook(Hook):
    """Note the task and the pixels of every batch; end the run in the middle of iteration ``kill_at``."""

    def __init__(self, kill_at=None):
        self.kill_at, self.seen = kill_at, {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = data_batch['data_samples']
        names = [sample.get('filename') or sample.get('img_path') for sample in samples]
        pixels = [int(clip.long().sum()) for clip in data_batch['inputs']]
        self.seen[runner.iter] = (samples[0].task, names, pixels)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.kill_at:
            raise Kill


def run_config(work_dir, root, workers=0, by_epoch=True, kill_at=None, resume=False, **batch_sampler):
    """A run of 2 epochs of 11 steps (or 22 iterations), with a checkpoint after every 7 iterations."""
    loop = dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=22)
    cfg = Config(
        dict(
            model=model(image=dict(mixup=0.8, cutmix=1.0), motion=dict(mixup=0.3)),
            work_dir=str(work_dir),
            train_dataloader=joint_loader(root, workers, **batch_sampler),
            train_cfg=loop,
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1)),
            param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=22)],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=7, by_epoch=False),
                logger=dict(type='LoggerHook', interval=100),
            ),
            custom_hooks=[
                dict(type='ReproducibleHook'),
                dict(type='JointHook'),
                dict(type='BadSampleHook'),
                dict(type='NoteHook', kill_at=kill_at),
            ],
            randomness=dict(seed=7),
            resume=resume,
            default_scope='mmaction',
        )
    )
    return unformatted(cfg)


def noted(runner):
    """What the run's NoteHook has seen: iteration → (task, names, pixels)."""
    return next(hook for hook in runner.hooks if isinstance(hook, NoteHook)).seen


def run(cfg):
    """Train; return the batches that were seen, the weights and the optimiser's state, and the Runner."""
    torch.manual_seed(random.SystemRandom().getrandbits(32))  # whatever the process did before
    runner = Runner.from_cfg(cfg)
    try:
        runner.train()
    except Kill:
        pass
    finally:
        close_runner_workers(runner)
    moments = runner.optim_wrapper.optimizer.state_dict()['state']
    state = {f'{i}.{name}': value for i, entry in moments.items() for name, value in entry.items()}
    state.update({name: value.clone() for name, value in runner.model.state_dict().items()})
    return noted(runner), state, runner
