# P3D-DARTS's training (Sec. 3): 600 epochs, SGD 0.025 / 0.9 / 3e-4, mini-batches of 72, a cosine over the iterations.
epochs = 600
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=50)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=72)
