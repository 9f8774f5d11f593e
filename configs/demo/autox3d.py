_base_ = ['../_base_/models/super_mbconv3d_demo.py', '../_base_/datasets/demo_motion.py', '../_base_/default_runtime.py']
epochs = 28
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.25, part='train')))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)]
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=8,
        mode='alternating',
        warmup_epochs=12,
        control_variate=True,
        budget=dict(macs=3.5e6),
        arch_optimizer=dict(type='Adam', lr=0.1, weight_decay=0)),
    dict(type='ReportHook', interval=epochs)
]
retrain = dict(config='{{ fileDirname }}/autox3d_retrain.py')
