# The cell space of the paper (4 nodes, 8 operators) in a network for 2 CPU cores: a stem of stride 2, then as in the
# paper 3 cells from 4 channels on.
cost_shape = (3, 8, 16, 16)
model = dict(
    type='Recognizer3D',
    backbone=dict(type='SuperP3D', stem_stride=2, stem_channels=16),
    cls_head=dict(
        type='I3DHead', num_classes=8, in_channels=32, spatial_type='avg', dropout_ratio=0.0, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg=None)
