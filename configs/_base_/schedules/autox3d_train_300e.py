# AutoX3D's training (Sec. 5.1.2): 300 epochs, SGD 0.4 / 0.9 / 5e-5 on 64 GPUs x 8 clips, 34 epochs of linear
# warm-up, then half a cosine to 0. Ours, because the paper does not say: the warm-up starts at 0.01 and norms
# have no weight decay, both as in X3D's own configs; docs/papers.md.
epochs = 300
warm_up = 34
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.025, by_epoch=True, begin=0, end=warm_up,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=epochs - warm_up, eta_min=0, by_epoch=True, begin=warm_up, end=epochs,
        convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=512)
