# A small space on clips of 8 x 32 x 32 and images of 32 x 32, for 2 CPU cores: all of VIM-NAS's kinds of choices, one
# 2-D tube and two 3-D ones.
cost_shape = (3, 8, 32, 32)
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='SuperViT',
        space_name='vimnas-demo',
        table=dict(
            embed_dims=(32, 48, 64), depths=(2, 3, 4), heads=(2, 3, 4), qkv_dims=(32, 48), mlp_ratios=(1.0, 2.0)),
        tubes=(
            dict(
                kernels=('1x4x4', '1x8x4', '1x4x8', '1x8x8'),
                strides=('4x8x8', '8x8x8', '4x8x4'),
                offsets=('0x0x0', '0x0x4', '2x4x0')),
            dict(
                kernels=('2x8x8', '4x4x4', '4x8x8', '8x4x4'),
                strides=('4x8x8', '2x16x16', '4x16x16'),
                offsets=('0x0x0', '0x4x4')),
            dict(
                kernels=('2x8x8', '4x4x4', '4x8x8', '8x4x4'),
                strides=('4x8x8', '2x16x16', '4x16x16'),
                offsets=('0x0x0', '0x4x4'))),
        clamp_offsets=True),
    cls_head=dict(type='TimeSformerHead', in_channels=64, num_classes=8, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg=None)
