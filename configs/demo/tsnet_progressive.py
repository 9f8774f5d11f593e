# Search: two streams in three stages (Auto-TSNet), in a small space, on generated motion and scene videos, for 2 CPU
# cores. The planted answer: a sparse stream without temporal kernels (scenes), a dense one with them (motion).
#   python tools/search.py configs/demo/tsnet_progressive.py
# Cost: 7 + 11 + 3 epochs x 60 steps of 16 clips (960 clips train the weights, 320 held-out ones the architecture),
#   then 8 epochs of training what was found; about 5 minutes on 2 idle cores. Needs python tools/data/make_demo.py
#   once. tools/demo_tsnet.py also trains the manual two-stream network of the same cost.
# Spaces (computed): 248,832 (paper: 8e24), 63,700,992 (6e24), 16 (4,096) architectures.
# What comes out: work_dirs/tsnet_progressive/search/{arch.json,stages.json,report.html,extracted.py,extracted.pth},
#   each stage's own search in 1_sparse, 2_dense, 3_attention, and the network trained from scratch in retrain.
_base_ = [
    '../_base_/models/super_tsnet_demo.py', '../_base_/datasets/demo_motion_scene.py', '../_base_/default_runtime.py'
]
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.25, part='train')))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=7, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5))
# Without T_max and end it runs over the epochs of each stage.
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True)]
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=8,
        mode='alternating',
        warmup_epochs=2,
        indicator=dict(type='VideoAccuracy', num_clips=2),
        arch_dataloader=dict(batch_size=40),
        control_variate=True,
        arch_optimizer=dict(type='Adam', lr=0.1, weight_decay=0)),
    dict(type='ReportHook', interval=100)
]
stages = [
    dict(
        name='sparse',
        opens=['sparse.*'],
        fixes={'*.attention': 'none'},
        epochs=7,
        budget=dict(macs=1e6),
        cfg_options={
            'model.backbone.streams': ('sparse', ),
            'model.cls_head.in_channels': 64
        },
        note='paper: 8e24'),
    dict(
        name='dense',
        opens=['dense.*', 'fusion.*'],
        fixes={'dense.*.attention': 'none'},
        epochs=11,
        budget=dict(macs=3e6),
        note='paper: 6e24'),
    dict(name='attention', opens=['*.attention'], epochs=3, budget=dict(macs=3.2e6), note='paper: 4,096'),
]
retrain = dict(config=r"""{{ fileDirname }}/tsnet_retrain.py""")
