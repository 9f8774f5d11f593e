# Videos in a folder for each class, with the lists of tools/data/from_folders.py: a path may have blanks, so that a tab
# stands before the label. One second of a video at 30 frames a second (8 frames, every 4th). No flip: where a class
# names no direction, dict(type='Flip', flip_ratio=0.5) after the crop makes more of few videos.
data_root = 'data/mine/'
videos = dict(video='videos')
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=8, frame_interval=4, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 80)),
    dict(type='RandomCrop', size=64),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=8, frame_interval=4, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 80)),
    dict(type='CenterCrop', crop_size=64),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='train_dataloader.dataset',
        dataset=dict(
            type='VideoDataset', ann_file='train.txt', data_root=data_root, data_prefix=videos, delimiter='\t',
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=20,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='val_dataloader.dataset',
        dataset=dict(
            type='VideoDataset', ann_file='val.txt', data_root=data_root, data_prefix=videos, delimiter='\t',
            pipeline=test_pipeline, test_mode=True)))
test_dataloader = dict(
    batch_size=20,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='test_dataloader.dataset',
        dataset=dict(
            type='VideoDataset', ann_file='test.txt', data_root=data_root, data_prefix=videos, delimiter='\t',
            pipeline=test_pipeline, test_mode=True)))
val_evaluator = dict(
    type='AccMetric',
    metric_list=('top_k_accuracy', ),
    metric_options=dict(top_k_accuracy=dict(topk=(1, ))))
test_evaluator = val_evaluator
