# AutoX3D's space (Table 2) with X3D's head: conv 432, pool, fc 2048 (both without searching).
cost_shape = (3, 13, 160, 160)
model = dict(
    type='Recognizer3D',
    backbone=dict(type='SuperMBConv3D'),
    cls_head=dict(
        type='X3DHead', in_channels=432, num_classes=400, spatial_type='avg', dropout_ratio=0.5,
        fc1_bias=False, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.38, 57.38, 57.38],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg={})
