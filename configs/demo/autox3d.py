# Search: AutoX3D's kinds of choices in a small space, on generated motion videos, for 2 CPU cores.
#   python tools/search.py configs/demo/autox3d.py
# Cost: 40 epochs x 37 steps of 16 clips (600 clips train the weights, 200 held-out ones the architecture), then 20
#   epochs of training what was found; about 5 minutes on 2 idle cores. Needs python tools/data/make_demo.py once.
# Space (computed): 7,962,624 architectures, 1,358,976 to 11,036,416 MACs at 8 x 32 x 32; target 2.5e6.
# What comes out: work_dirs/autox3d/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}, and the
#   network trained from scratch with its top-1 in work_dirs/autox3d/retrain/.
_base_ = [
    '../_base_/models/super_mbconv3d_demo.py', '../_base_/datasets/demo_motion.py', '../_base_/default_runtime.py'
]
epochs = 40
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.25, part='train', pipeline={{_base_.test_pipeline}})))
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
        warmup_epochs=20,
        cost_weight=0.2,
        arch_dataloader=dict(batch_size=32),
        control_variate=True,
        budget=dict(macs=2.5e6),
        arch_optimizer=dict(type='Adam', lr=0.1, weight_decay=0)),
    dict(type='ReportHook', interval=epochs)
]
retrain = dict(config=r"""{{ fileDirname }}/autox3d_retrain.py""")
