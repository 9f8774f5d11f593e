# UCF101, split 1, as videos: 4 segments x 2 frames at 112 x 112.
# Layout: MMAction2's (data/ucf101/videos, data/ucf101/ucf101_{train,val}_split_{1,2,3}_videos.txt; "val" is the
# split's test list, there is no other).
# Training: two random frames of each segment, short side 128, random crop, flip. Test: the segments' centres, centre
# crop, one clip.
data_root = 'data/ucf101/'
videos = dict(video='videos')
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SegmentSampleFrames', num_segments=4, frames_per_segment=2),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 128)),
    dict(type='RandomCrop', size=112),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SegmentSampleFrames', num_segments=4, frames_per_segment=2, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 128)),
    dict(type='CenterCrop', crop_size=112),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
train_dataloader = dict(
    batch_size=72,
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
            ann_file='ucf101_train_split_1_videos.txt',
            data_root=data_root,
            data_prefix=videos,
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=72,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='val_dataloader.dataset',
        dataset=dict(
            type='VideoDataset',
            ann_file='ucf101_val_split_1_videos.txt',
            data_root=data_root,
            data_prefix=videos,
            pipeline=test_pipeline,
            test_mode=True)))
test_dataloader = dict(
    batch_size=72,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='SeededDataset',
        config_key='test_dataloader.dataset',
        dataset=dict(
            type='VideoDataset',
            ann_file='ucf101_val_split_1_videos.txt',
            data_root=data_root,
            data_prefix=videos,
            pipeline=test_pipeline,
            test_mode=True)))
val_evaluator = dict(type='AccMetric')
test_evaluator = dict(type='AccMetric')
