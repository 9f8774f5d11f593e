# Train the network that a search on your own videos has found, from scratch.
#   python tools/train.py data/mine/train.py                    (which tools/data/from_folders.py writes)
#   python tools/train.py configs/quickstart/own_videos_train.py
# Cost: 40 epochs of 8 clips a step, more epochs where there are fewer than 200 training videos.
# What comes out: checkpoints in work_dirs/mine_train; tools/test.py gives the top-1 on the test list.
#   tools/search.py runs this by itself, in work_dirs/mine/retrain.
_base_ = [
    '../_base_/models/super_mbconv3d_demo.py', '../_base_/datasets/own_videos_8x64.py', '../_base_/default_runtime.py'
]
work_dir = 'work_dirs/mine_train'
cost_shape = (3, 8, 64, 64)
model = dict(backbone=dict(arch='work_dirs/mine/search/arch.json'))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5))
default_hooks = dict(bad_samples=dict(max_bad_share=0.1))  # one file is more than 1 % of a small folder
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True)]
