# Mini-Kinetics-100 (100 classes of Kinetics-400) for a search: its training list alone, split in two by class. 80 %
# train the weights, 20 % (held out) train the architecture parameters. No search sees the validation list.
# Clips of 32 frames at interval 2; the sparse stream takes every 8th of them (4 frames at interval 16).
# tools/data/mini_kinetics.py --num-classes 100 writes data/kinetics400/mini100_train.txt.
data_root = 'data/kinetics400/'
train_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1, target_fps=30),
    dict(type='DecordDecode'),
    dict(type='RandomRescale', scale_range=(182, 228)),
    dict(type='RandomCrop', size=160),
    dict(type='Flip', flip_ratio=0.5),
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
        held_out=dict(fraction=0.2, part='train'),
        dataset=dict(
            type='VideoDataset',
            ann_file='mini100_train.txt',
            data_root=data_root,
            data_prefix=dict(video='videos_train'),
            pipeline=train_pipeline)))
