# Auto-TSNet's space (Table 1) with X3D's head over both streams: conv 666 and 126, pool, fc 2048. One clip of 32
# frames feeds both: the dense stream sees all of them, the sparse one every 8th.
cost_shape = (3, 32, 160, 160)
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='SuperTSNet',
        sparse_frames=4,
        dense_frames=32,
        fusion=dict(type='TSFusion', merge='concat')),
    cls_head=dict(
        type='X3DHead', in_channels=666 + 126, num_classes=400, spatial_type='avg', dropout_ratio=0.5,
        fc1_bias=False, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.38, 57.38, 57.38],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg={})
