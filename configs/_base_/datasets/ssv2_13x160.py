# Something-Something-V2 as videos, 13 frames and 160 x 160. Files are .webm, as published, or .mp4: the lists
# name them as they are.
# Layout: MMAction2's (data/sthv2/videos, sthv2_{train,val}_list_videos.txt).
# One frame from each of 13 equal parts of the video: they are 2 to 6 s long and the label is about the
# whole.
# No horizontal flip: 'from left to right' would become 'from right to left' (AutoAugment's policies hold
# none).
_base_ = ['kinetics400_13x160.py']
data_root = 'data/sthv2/'
videos = dict(video='videos')
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='UniformSample', clip_len=13, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='RandomRescale', scale_range=(182, 228)),
    dict(type='RandomCrop', size=160),
    dict(type='TorchVisionWrapper', op='AutoAugment'),  # one policy for all frames of a clip
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
val_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='UniformSample', clip_len=13, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='CenterCrop', crop_size=160),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='UniformSample', clip_len=13, num_clips=10, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='ThreeCrop', crop_size=182),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            ann_file='sthv2_train_list_videos.txt',
            data_root=data_root,
            data_prefix=videos,
            pipeline=train_pipeline)))
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            ann_file='sthv2_val_list_videos.txt',
            data_root=data_root,
            data_prefix=videos,
            pipeline=val_pipeline)))
test_dataloader = dict(
    dataset=dict(
        dataset=dict(
            ann_file='sthv2_val_list_videos.txt',
            data_root=data_root,
            data_prefix=videos,
            pipeline=test_pipeline)))
