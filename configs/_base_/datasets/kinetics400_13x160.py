# Kinetics-400 as videos, 13 frames at interval 6 (of 30 fps) and 160 x 160: for X3D-S and AutoX3D-S.
# Layout: MMAction2's (data/kinetics400/videos_train, videos_val, kinetics400_{train,val}_list_videos.txt).
# Training: short side jittered in [182, 228], random crop, flip, AutoAugment.
# Test: 10 clips x 3 crops at 182 x 182.
data_root = 'data/kinetics400/'
train_videos = dict(video='videos_train')
val_videos = dict(video='videos_val')
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=1, target_fps=30),
    dict(type='DecordDecode'),
    dict(type='RandomRescale', scale_range=(182, 228)),
    dict(type='RandomCrop', size=160),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='TorchVisionWrapper', op='AutoAugment'),  # one policy for all frames of a clip
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
val_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=1, target_fps=30, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='CenterCrop', crop_size=160),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=10, target_fps=30, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='ThreeCrop', crop_size=182),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='train_dataloader.dataset',
        dataset=dict(
            type='VideoDataset',
            ann_file='kinetics400_train_list_videos.txt',
            data_root=data_root,
            data_prefix=train_videos,
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='val_dataloader.dataset',
        dataset=dict(
            type='VideoDataset',
            ann_file='kinetics400_val_list_videos.txt',
            data_root=data_root,
            data_prefix=val_videos,
            pipeline=val_pipeline,
            test_mode=True)))
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='test_dataloader.dataset',
        dataset=dict(
            type='VideoDataset',
            ann_file='kinetics400_val_list_videos.txt',
            data_root=data_root,
            data_prefix=val_videos,
            pipeline=test_pipeline,
            test_mode=True)))
val_evaluator = dict(type='AccMetric')
test_evaluator = dict(type='AccMetric')
