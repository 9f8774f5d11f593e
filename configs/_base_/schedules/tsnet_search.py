# Auto-TSNet's search (Sec. 5.2): SGD 0.4 with a cosine over the epochs of each stage (the scheduler has no T_max and no
# end, so it follows them). Ours, because the paper does not say: momentum, decay and batch size as AutoX3D's, cosine to
# 0, no weight decay on norms; docs/papers.md.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=800, val_interval=800)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True)]
auto_scale_lr = dict(enable=False, base_batch_size=512)
