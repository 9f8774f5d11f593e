# VIM-NAS's joint training (Tab. 10 and Supp. A): 500 epochs, AdamW 1e-3 (ImageNet's rate) with decay 5e-2, cosine
#   after a linear warm-up of 20, 256 clips a step. Ours, because the paper does not say: the 20 are epochs, the
#   cosine ends at 1 %, and biases, norms, the class token and learned positions have no decay (as DeiT and
#   AutoFormer); docs/papers.md.
epochs = 500
warm_up = 20
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=50)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    # Fused: the optimiser goes over the whole supernet at every step, whatever was sampled.
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-2, fused=True),
    paramwise_cfg=dict(
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            'cls_token': dict(decay_mult=0.0),
            'patch_position': dict(decay_mult=0.0)
        }))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=warm_up,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=epochs - warm_up, eta_min_ratio=0.01, by_epoch=True, begin=warm_up, end=epochs,
        convert_to_iter_based=True)
]
