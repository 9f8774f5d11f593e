# The generated image, scene and motion sets together, every batch from one of them (python tools/data/make_demo.py).
# 8 frames in a row at 32 x 32, an image as one frame. No flip on motion: its classes are directions.
# A search scores candidates on what is held out through the pipelines of the test.
# For the model: `heads` and `blending`, to be named in it as {{_base_.heads}} and {{_base_.blending}}.
_base_ = ['../default_runtime.py']  # both name default_hooks, which two bases of one config may not
data_root = 'data/demo/'
image_train = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.6, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmaction.ImageAsClip'),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs')
]
image_test = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=36, edge='short'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='mmaction.ImageAsClip'),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs')
]
video_train = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='RandomCrop', size=32),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
video_test = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
image = dict(type='CustomDataset', _scope_='mmpretrain', data_root=data_root + 'image/')
scene = dict(type='VideoDataset', data_root=data_root + 'scene/', data_prefix=dict(video='videos'))
motion = dict(type='VideoDataset', data_root=data_root + 'motion/', data_prefix=dict(video='videos'))
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    batch_sampler=dict(type='JointBatchSampler'),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='JointDataset',
        config_key='train_dataloader.dataset',
        datasets=dict(
            image=dict(
                **image, ann_file='meta/train.txt', data_prefix=dict(img_path='train'), pipeline=image_train,
                held_out=dict(pipeline=image_test)),
            scene=dict(
                **scene, ann_file='train.txt', pipeline=video_train, held_out=dict(pipeline=video_test)),
            motion=dict(
                **motion, ann_file='train.txt', pipeline=video_train, held_out=dict(pipeline=video_test)))))
val_dataloader = dict(
    batch_size=20,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    batch_sampler=dict(type='TaskByTaskBatchSampler'),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='JointDataset',
        config_key='val_dataloader.dataset',
        datasets=dict(
            image=dict(**image, ann_file='meta/val.txt', data_prefix=dict(img_path='val'), pipeline=image_test),
            scene=dict(**scene, ann_file='val.txt', pipeline=video_test, test_mode=True),
            motion=dict(**motion, ann_file='val.txt', pipeline=video_test, test_mode=True))))
test_dataloader = dict(
    batch_size=20,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    batch_sampler=dict(type='TaskByTaskBatchSampler'),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='JointDataset',
        config_key='test_dataloader.dataset',
        datasets=dict(
            image=dict(**image, ann_file='meta/test.txt', data_prefix=dict(img_path='test'), pipeline=image_test),
            scene=dict(**scene, ann_file='test.txt', pipeline=video_test, test_mode=True),
            motion=dict(**motion, ann_file='test.txt', pipeline=video_test, test_mode=True))))
val_evaluator = dict(type='JointAccMetric', topk=(1, 5))
test_evaluator = val_evaluator

heads = dict(image=dict(num_classes=8), scene=dict(num_classes=8), motion=dict(num_classes=8))
blending = None
default_hooks = dict(joint=dict(type='JointHook'))
find_unused_parameters = True  # a step trains one head; the others have no gradient
