# A small space on small clips, for 2 CPU cores: 3 stages, 5 groups, all of AutoX3D's kinds of choices.
cost_shape = (3, 8, 32, 32)
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='SuperMBConv3D',
        space_name='autox3d-demo',
        stages=(('values', (8, 16), (1, )), ('values', (16, 32), (1, 1)), ('values', (24, 48), (1, 1))),
        spatial_strides=(2, 2, 2),
        kernels=('t1_s3', 't3_s3', 't3_s5'),
        expansions=(1.5, 3.0),
        stem_channels=8,
        out_channels=96,
        glore_nodes=(8, 12, 16),
        nonlocal_widths=(4, 8, 16)),
    cls_head=dict(
        type='I3DHead', num_classes=8, in_channels=96, spatial_type='avg', dropout_ratio=0.0, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg=None)
