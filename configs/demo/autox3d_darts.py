# DARTS on the small AutoX3D space: widths, kernels and attention all mixed, on the generated motion videos, for 2
#   cores.
#   python tools/search.py configs/demo/autox3d_darts.py
#   python tools/seeds.py configs/demo/autox3d_darts.py --seeds 3     (the same from three seeds, and how far they
#   agree)
# Cost: 20 epochs x 37 steps of 16 clips for the weights and 16 held-out ones for the architecture, each through the
#   whole supernet; then 20 epochs of training what was found. Needs python tools/data/make_demo.py once.
# Space: that of autox3d.py, 7,962,624 architectures, 1,358,976 to 11,036,416 MACs at 8 x 32 x 32; target 4e6.
# What comes out: work_dirs/autox3d_darts/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}, and
#   the network trained from scratch with its top-1 in work_dirs/autox3d_darts/retrain/.
_base_ = ['autox3d.py']
epochs = 20
train_cfg = dict(max_epochs=epochs)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, convert_to_iter_based=True)]
custom_hooks = [
    dict(
        type='DARTSSearchHook',
        order=1,  # 2: Eqs. 2-5 of P3D-DARTS, at 2.5 times the cost
        warmup_epochs=5,
        arch_optimizer=dict(type='Adam', lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3),
        budget=dict(macs=4e6),
        score_batches=6,
        watch=('t1_s3', 'none')),
    dict(type='ReportHook', interval=epochs)
]
