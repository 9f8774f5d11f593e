# UCF101 split 1 for a search: its training list alone, halved by class. One half trains the weights, the other (held
# out) the architecture. The test list is not named here: no search sees it.
# Layout: MMAction2's (data/ucf101/videos, data/ucf101/ucf101_train_split_1_videos.txt).
# Clips: 4 segments x 2 random frames; short side 128, random crop, flip. Networks are scored (epochs, candidates) on
# the held-out half through the test's view: the segments' centres, centre crop.
data_root = 'data/ucf101/'
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
score_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SegmentSampleFrames', num_segments=4, frames_per_segment=2, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 128)),
    dict(type='CenterCrop', crop_size=112),
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
        held_out=dict(fraction=0.5, part='train', pipeline=score_pipeline),
        dataset=dict(
            type='VideoDataset',
            ann_file='ucf101_train_split_1_videos.txt',
            data_root=data_root,
            data_prefix=dict(video='videos'),
            pipeline=train_pipeline)))
