# VIM-NAS's Tiny space (Tab. 2): a transformer and its four tubes, about 9.3e39 architectures. Kernels of more than
# 1,024 taps are not offered (TubeViT's largest has 576); a tube that starts too late for its kernel starts earlier, so
# that 32 frames fit kernels of 32. One head for Kinetics-400; what is extracted has a head as wide as its embedding.
cost_shape = (3, 32, 224, 224)
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='SuperViT', table='vimnas-tiny', max_kernel_volume=1024, clamp_offsets=True, drop_path=0.1),
    cls_head=dict(type='TimeSformerHead', in_channels=240, num_classes=400, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        format_shape='NCTHW'),
    train_cfg=None,
    test_cfg=None)
