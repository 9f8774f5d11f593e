# Two small streams on small clips, for 2 CPU cores: 2 and 8 frames, 3 stages, 5 groups, all kinds of choices.
cost_shape = (3, 8, 32, 32)
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='SuperTSNet',
        space_name='tsnet-demo',
        sparse_frames=2,
        dense_frames=8,
        sparse=dict(
            stages=(('values', (8, 16), (1, )), ('values', (16, 32), (1, 1)), ('values', (24, 48), (1, 1))),
            stem_channels=8,
            out_channels=64,
            glore_nodes=(8, 12, 16)),
        dense=dict(
            stages=(('values', (4, 8), (1, )), ('values', (8, 16), (1, 1)), ('values', (12, 24), (1, 1))),
            stem_channels=4,
            out_channels=32,
            glore_nodes=(4, 6, 8)),
        spatial_strides=(2, 2, 2),
        kernels=('t1_s3', 't3_s3', 't3_s5'),
        expansions=(1.5, 3.0),
        attention_sites=('s2.g2', 's3.g2')),
    cls_head=dict(
        type='I3DHead', num_classes=16, in_channels=96, spatial_type='avg', dropout_ratio=0.0, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg=None)
