# Kinetics-400 as raw frames (JPEG), otherwise as kinetics400_13x160.py: the same frames, crops and order.
# Layout: MMAction2's (data/kinetics400/rawframes_train/CLASS/VIDEO/img_00001.jpg, lines 'CLASS/VIDEO frames
# label'). The frames are taken to be at 30 fps: a folder of pictures does not say.
_base_ = ['kinetics400_13x160.py']
train_frames = dict(img='rawframes_train')
val_frames = dict(img='rawframes_val')
train_pipeline = [
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=1, target_fps=30),
    dict(type='RawFrameDecode'),
    dict(type='RandomRescale', scale_range=(182, 228)),
    dict(type='RandomCrop', size=160),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='TorchVisionWrapper', op='AutoAugment'),  # one policy for all frames of a clip
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
val_pipeline = [
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=1, target_fps=30, test_mode=True),
    dict(type='RawFrameDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='CenterCrop', crop_size=160),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_pipeline = [
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=10, target_fps=30, test_mode=True),
    dict(type='RawFrameDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='ThreeCrop', crop_size=182),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='RawframeDataset',
            ann_file='kinetics400_train_list_rawframes.txt',
            data_root='data/kinetics400/',
            data_prefix=train_frames,
            filename_tmpl='img_{:05}.jpg',
            pipeline=train_pipeline)))
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='RawframeDataset',
            ann_file='kinetics400_val_list_rawframes.txt',
            data_root='data/kinetics400/',
            data_prefix=val_frames,
            filename_tmpl='img_{:05}.jpg',
            pipeline=val_pipeline,
            test_mode=True)))
test_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='RawframeDataset',
            ann_file='kinetics400_val_list_rawframes.txt',
            data_root='data/kinetics400/',
            data_prefix=val_frames,
            filename_tmpl='img_{:05}.jpg',
            pipeline=test_pipeline,
            test_mode=True)))
