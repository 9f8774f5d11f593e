# Train a network of the small space from scratch on the generated motion videos.
#   python tools/train.py configs/demo/autox3d_retrain.py --cfg-options model.backbone.arch=ARCH.json
# Cost: 20 epochs x 50 steps of 16 clips; about two minutes on an idle core for a network of 2e6 MACs. (After 10 some
#   networks have learned the task and others are about to: what differs then is how soon, not how well.)
# What comes out: checkpoints in work_dirs/autox3d_retrain; tools/test.py gives the top-1 on 320 test clips.
#   Without an arch it trains the largest network of the space.
_base_ = [
    '../_base_/models/super_mbconv3d_demo.py', '../_base_/datasets/demo_motion.py', '../_base_/default_runtime.py'
]
epochs = 20
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)]
