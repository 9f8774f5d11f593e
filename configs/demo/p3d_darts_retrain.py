# Train the network of a cell from scratch on the generated motion videos: 4 cells, the first with 8 channels.
#   python tools/train.py configs/demo/p3d_darts_retrain.py --cfg-options model.backbone.arch=ARCH.json
# Cost: 5 epochs x 50 steps of 16 clips, about half a minute on an idle core for a derived cell: after 10 epochs every
#   cell is at 99 %, and nothing is left to compare.
# What comes out: checkpoints in work_dirs/p3d_darts_retrain; tools/test.py gives the top-1 on 320 test clips.
#   Without an arch it trains a network with the last operator (dilated convolution) on every edge.
_base_ = [
    '../_base_/models/super_p3d_demo.py', '../_base_/datasets/demo_motion_8x16.py', '../_base_/default_runtime.py'
]
epochs = 5
model = dict(backbone=dict(cells=4, channels=8), cls_head=dict(in_channels=128))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=3e-4),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)
]
