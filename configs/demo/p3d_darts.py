# Search: P3D-DARTS's cell (4 nodes, 8 operators) by DARTS of first order, on generated motion videos, for 2 CPU cores.
#   python tools/search.py configs/demo/p3d_darts.py
#   python tools/demo_p3d.py
# Cost: 8 epochs x 18 steps of 32 clips (600 clips train the weights, 200 held-out ones the architecture), each two
#   passes through the mixed network; then the training of what was found. tools/demo_p3d.py also trains 5 random cells
#   of like parameters. Needs python tools/data/make_demo.py once.
# Space (computed): 8^14 = 4.398e12 cells.
# What comes out: work_dirs/p3d_darts/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}, and the
#   network trained from scratch with its top-1 in work_dirs/p3d_darts/retrain/.
_base_ = [
    '../_base_/models/super_p3d_demo.py', '../_base_/datasets/demo_motion_8x16.py', '../_base_/default_runtime.py'
]
epochs = 8
model = dict(backbone=dict(norm_affine=False, pool_norm=True))
train_dataloader = dict(
    batch_size=32, dataset=dict(held_out=dict(fraction=0.25, part='train', pipeline={{_base_.test_pipeline}})))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=3e-4),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0.001, by_epoch=True, convert_to_iter_based=True)
]
custom_hooks = [
    dict(
        type='DARTSSearchHook',
        order=1,
        # From the first step and fast: once the mixed network has learned the task, alpha's gradient is nearly none.
        warmup_epochs=0,
        arch_optimizer=dict(type='Adam', lr=0.3, betas=(0.5, 0.999), weight_decay=1e-3),
        derive='best',
        score_batches=6,
        watch=('skip', )),
    dict(type='ReportHook', interval=epochs)
]
retrain = dict(config=r"""{{ fileDirname }}/p3d_darts_retrain.py""")
