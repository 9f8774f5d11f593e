# P3D-DARTS's networks (ICIP 2019, Sec. 3) on eight frames of 112 x 112; the head is the mean over the clip and one
# linear layer. The backbone's defaults are the search network: 3 cells of 4 nodes, the first with 4 channels, C doubled
# in the second (4, 8, 8), so that 4 x 8 channels come out.
cost_shape = (3, 8, 112, 112)
model = dict(
    type='Recognizer3D',
    backbone=dict(type='SuperP3D'),
    cls_head=dict(
        type='I3DHead', num_classes=101, in_channels=32, spatial_type='avg', dropout_ratio=0.0, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.38, 57.38, 57.38],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg=None)
