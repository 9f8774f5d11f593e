# The generated motion set: classes in time-reversed pairs, so no flip and no frame shuffle (tools/data/make_demo.py).
data_root = 'data/demo/motion/'
videos = dict(video='videos')
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='RandomCrop', size=32),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='train_dataloader.dataset',
        dataset=dict(
            type='VideoDataset', ann_file='train.txt', data_root=data_root, data_prefix=videos,
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=20,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='val_dataloader.dataset',
        dataset=dict(
            type='VideoDataset', ann_file='val.txt', data_root=data_root, data_prefix=videos, pipeline=test_pipeline,
            test_mode=True)))
test_dataloader = dict(
    batch_size=20,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='test_dataloader.dataset',
        dataset=dict(
            type='VideoDataset', ann_file='test.txt', data_root=data_root, data_prefix=videos, pipeline=test_pipeline,
            test_mode=True)))
val_evaluator = dict(
    type='AccMetric',
    metric_list=('top_k_accuracy', ),
    metric_options=dict(top_k_accuracy=dict(topk=(1, ))))
test_evaluator = val_evaluator
