# AutoX3D's search (Sec. 5.1.2): 600 epochs, SGD 0.6 / 0.9 / 5e-5 for the weights, on 64 GPUs x 8 clips.
# Ours, because the paper does not say: cosine to 0, and no weight decay on norms (as X3D); docs/papers.md.
epochs = 600
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.6, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=512)
