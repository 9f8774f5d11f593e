# P3D-DARTS's search (Sec. 3): 50 epochs, "a relative big learning rate", decreased at each iteration.
# Ours, because the paper does not say: SGD 0.1 / 0.9 / 3e-4, half a cosine to 0.001, gradients clipped to 5 (DARTS has
# 0.025, the rest is its); docs/papers.md.
epochs = 50
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=3e-4),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0.001, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
