# Train a two-stream network of the small space from scratch on the generated motion and scene videos.
#   python tools/train.py configs/demo/tsnet_retrain.py --cfg-options model.backbone.arch=ARCH.json
# Cost: 8 epochs x 80 steps of 16 clips; about a minute on 2 idle cores for a network of 3e6 MACs.
# What comes out: checkpoints in work_dirs/tsnet_retrain; tools/test.py gives the top-1 on 480 test clips.
#   Without an arch it trains the largest network of the space.
_base_ = [
    '../_base_/models/super_tsnet_demo.py', '../_base_/datasets/demo_motion_scene.py', '../_base_/default_runtime.py'
]
epochs = 8
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)]
