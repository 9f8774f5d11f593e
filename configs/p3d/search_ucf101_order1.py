# Search: as search_ucf101.py, of first order (P3D-DARTS, Sec. 2.2: the special case of a virtual step of length 0).
#   python tools/search.py configs/p3d/search_ucf101_order1.py
# Cost (computed, not run): 50 epochs x 596 steps of 8 clips on one GPU; a step is two passes through the mixed network
#   in the place of five.
# What comes out: work_dirs/search_ucf101_order1/search/arch.json; to train it:
#   python tools/train.py configs/p3d/train_ucf101.py --cfg-options \
#       model.backbone.arch=work_dirs/search_ucf101_order1/search/arch.json
_base_ = ['search_ucf101.py']
custom_hooks = [
    dict(
        type='DARTSSearchHook',
        order=1,
        arch_optimizer=dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
        derive='best',
        score_batches=100,
        watch=('skip', )),
    dict(type='ReportHook', interval=10)
]
