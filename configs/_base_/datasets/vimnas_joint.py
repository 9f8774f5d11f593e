# ImageNet, Kinetics-400, Kinetics-600 and Something-Something-V2 together, every batch from one of them: VIM-NAS.
# Layouts: mmpretrain's (data/imagenet/train, val, meta/train.txt, val.txt) and MMAction2's (data/kinetics400,
#   data/kinetics600: videos_train, videos_val, kineticsNNN_{train,val}_list_videos.txt; data/sthv2: videos,
#   sthv2_{train,val}_list_videos.txt).
# Frames, rates, augmentations, smoothing, mixup and CutMix: Tab. 10. 224 x 224. docs/papers.md says what it leaves
#   open. Batch: 8 GPUs x 32 = 256, that of the video sets (Supp. A). An epoch is one pass over each set: 5,004 + 939
#   + 1,533 + 659 = 8,135 steps with 1,281,167, 240,436, 392,622 and 168,913 clips (before overlap is dropped).
# The first third of all steps (E/3 epochs) is ImageNet's alone, however long the run.
# Overlap: training clips whose video stands in one of the validation lists are left out (Kinetics-600's training list
#   holds clips of Kinetics-400's validation list): python tools/data/check_overlap.py.
# Where a part is held out, a search scores candidates on it through the pipeline of validation, one centre view; alpha
#   learns on it through that of the training.
# For the model: `heads` and `blending`, to be named in it as {{_base_.heads}} and {{_base_.blending}}.
_base_ = ['../default_runtime.py']  # both name default_hooks, which two bases of one config may not
image_train = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment', policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9,
        magnitude_std=0.5, hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
    dict(type='RandomErasing', erase_prob=0.25, mode='rand', min_area_ratio=0.02, max_area_ratio=1 / 3),
    dict(type='mmaction.ImageAsClip'),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs')
]
image_val = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='mmaction.ImageAsClip'),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs')
]
kinetics_train = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=64, frame_interval=1, num_clips=1, target_fps=15),
    dict(type='DecordDecode'),
    dict(type='RandomRescale', scale_range=(256, 320)),
    dict(type='RandomCrop', size=224),
    dict(type='Flip', flip_ratio=0.5),
    # One draw for all frames of a clip. Bins 0 to 10, as the images' total_level: 9 is 0.9 of the strongest.
    dict(type='TorchVisionWrapper', op='RandAugment', num_ops=2, magnitude=9, num_magnitude_bins=11),
    dict(type='ClipRandomErasing', prob=0.25),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
kinetics_val = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=64, frame_interval=1, num_clips=1, target_fps=15, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
kinetics_test = [  # 4 clips x 3 crops
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=64, frame_interval=1, num_clips=4, target_fps=15, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
# No flip: 'from left to right' would become 'from right to left' (RandAugment holds none).
ssv2_train = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=32, frame_interval=1, num_clips=1, target_fps=24),
    dict(type='DecordDecode'),
    dict(type='RandomRescale', scale_range=(256, 320)),
    dict(type='RandomCrop', size=224),
    dict(type='TorchVisionWrapper', op='RandAugment', num_ops=2, magnitude=9, num_magnitude_bins=11),
    dict(type='ClipRandomErasing', prob=0.25),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
ssv2_val = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=32, frame_interval=1, num_clips=1, target_fps=24, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
ssv2_test = [  # 4 clips x 3 crops
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=32, frame_interval=1, num_clips=4, target_fps=24, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]

in1k = dict(type='ImageNet', _scope_='mmpretrain', data_root='data/imagenet/')
k400 = dict(type='VideoDataset', data_root='data/kinetics400/')
k600 = dict(type='VideoDataset', data_root='data/kinetics600/')
ssv2 = dict(type='VideoDataset', data_root='data/sthv2/', data_prefix=dict(video='videos'))
train_sets = dict(
    in1k=dict(
        **in1k, ann_file='meta/train.txt', data_prefix=dict(img_path='train'), pipeline=image_train,
        held_out=dict(pipeline=image_val)),
    k400=dict(
        **k400, ann_file='kinetics400_train_list_videos.txt', data_prefix=dict(video='videos_train'),
        pipeline=kinetics_train, held_out=dict(pipeline=kinetics_val)),
    k600=dict(
        **k600, ann_file='kinetics600_train_list_videos.txt', data_prefix=dict(video='videos_train'),
        pipeline=kinetics_train, held_out=dict(pipeline=kinetics_val)),
    ssv2=dict(
        **ssv2, ann_file='sthv2_train_list_videos.txt', pipeline=ssv2_train, held_out=dict(pipeline=ssv2_val)))
val_lists = dict(
    in1k=dict(**in1k, ann_file='meta/val.txt', data_prefix=dict(img_path='val'), test_mode=True),
    k400=dict(
        **k400, ann_file='kinetics400_val_list_videos.txt', data_prefix=dict(video='videos_val'), test_mode=True),
    k600=dict(
        **k600, ann_file='kinetics600_val_list_videos.txt', data_prefix=dict(video='videos_val'), test_mode=True),
    ssv2=dict(**ssv2, ann_file='sthv2_val_list_videos.txt', test_mode=True))
val_sets = dict(
    in1k=dict(**val_lists['in1k'], pipeline=image_val),
    k400=dict(**val_lists['k400'], pipeline=kinetics_val),
    k600=dict(**val_lists['k600'], pipeline=kinetics_val),
    ssv2=dict(**val_lists['ssv2'], pipeline=ssv2_val))
test_sets = dict(
    in1k=dict(**val_lists['in1k'], pipeline=image_val),
    k400=dict(**val_lists['k400'], pipeline=kinetics_test),
    k600=dict(**val_lists['k600'], pipeline=kinetics_test),
    ssv2=dict(**val_lists['ssv2'], pipeline=ssv2_test))

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    batch_sampler=dict(type='JointBatchSampler', first=dict(dataset='in1k', share=1 / 3)),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(
        type='JointDataset',
        config_key='train_dataloader.dataset',
        datasets=train_sets,
        validation=dict(
            k400='data/kinetics400/kinetics400_val_list_videos.txt',
            k600='data/kinetics600/kinetics600_val_list_videos.txt',
            ssv2='data/sthv2/sthv2_val_list_videos.txt'),
        overlap='drop'))
val_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    batch_sampler=dict(type='TaskByTaskBatchSampler'),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(type='JointDataset', config_key='val_dataloader.dataset', datasets=val_sets))
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=False),
    batch_sampler=dict(type='TaskByTaskBatchSampler', batch_sizes=dict(in1k=64)),
    collate_fn=dict(type='skip_bad_collate'),
    dataset=dict(type='JointDataset', config_key='test_dataloader.dataset', datasets=test_sets))
val_evaluator = dict(type='JointAccMetric', topk=(1, 5))
test_evaluator = val_evaluator

heads = dict(
    in1k=dict(num_classes=1000, label_smooth_eps=0.1),
    k400=dict(num_classes=400),
    k600=dict(num_classes=600),
    ssv2=dict(num_classes=174, label_smooth_eps=0.3))
blending = dict(type='TaskBlending', tasks=dict(in1k=dict(mixup=0.8, cutmix=1.0), ssv2=dict(mixup=0.3)))
default_hooks = dict(joint=dict(type='JointHook'))
find_unused_parameters = True  # a step trains one head; the others have no gradient
auto_scale_lr = dict(enable=False, base_batch_size=256)
