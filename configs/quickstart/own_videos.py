# Search on your own videos, a folder for each class, in the demo's small space, for a laptop.
#   python tools/data/from_folders.py FOLDER --out data/mine    (lists, and data/mine/search.py, which starts from this)
#   python tools/search.py data/mine/search.py
#   python tools/search.py configs/quickstart/own_videos.py     (the same for 8 classes in data/mine/videos/CLASS/)
# Cost: 40 epochs of 8 clips a step, more epochs where fewer than 250 videos train the weights; then the training of
#   what was found. Most of the time goes into decoding: python tools/data/transcode.py, and num_workers, help.
# Space (computed): 7,962,624 architectures, 5,430,144 to 43,903,744 MACs at 8 x 64 x 64; target 1e7.
# What comes out: work_dirs/mine/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}, and the
#   network trained from scratch with its top-1 in work_dirs/mine/retrain/.
_base_ = [
    '../_base_/models/super_mbconv3d_demo.py', '../_base_/datasets/own_videos_8x64.py', '../_base_/default_runtime.py'
]
work_dir = 'work_dirs/mine'
cost_shape = (3, 8, 64, 64)
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.25, part='train')))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=20)  # 1.5 CPU s each
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5))
default_hooks = dict(bad_samples=dict(max_bad_share=0.1))  # one file is more than 1 % of a small folder
# Over all epochs, however many max_epochs says.
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True)]
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=8,
        mode='alternating',
        warmup_epochs=20,
        cost_weight=0.2,
        control_variate=True,
        budget=dict(macs=1e7),
        arch_optimizer=dict(type='Adam', lr=0.1, weight_decay=0)),
    dict(type='ReportHook', interval=20)  # 1.5 CPU s each
]
retrain = dict(config=r"""{{ fileDirname }}/own_videos_train.py""")
