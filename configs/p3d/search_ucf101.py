# Search: a cell on UCF101 split 1 by DARTS of second order (P3D-DARTS, ICIP 2019, Sec. 2.2 and 3).
#   python tools/search.py configs/p3d/search_ucf101.py
# Cost (computed, not run): 50 epochs x 596 steps of 8 clips on one GPU (9,537 clips, of which half train the weights
#   and half the architecture); a step is about five passes through the mixed network. The paper: 25 hours on a V100.
# Space (computed): 8^14 = 4.398e12 cells; the search network with one operator on each edge has 74,263,712 to
#   883,502,240 MACs at 8 x 112 x 112.
# What comes out: work_dirs/search_ucf101/search/arch.json (which train_ucf101.py trains), history.jsonl, report.html
#   with the cell drawn, and the search network's weights at that cell: extracted.py, extracted.pth.
# The paper's cell (its Fig. 2) is not in its text; this search finds one of its own.
_base_ = [
    '../_base_/models/super_p3d.py', '../_base_/datasets/ucf101_8x112_search.py',
    '../_base_/schedules/p3d_search_50e.py', '../_base_/default_runtime.py'
]
# As in DARTS: no BN weights that could undo those of the operators, and a BN after pooling, so that none is louder.
model = dict(backbone=dict(norm_affine=False, pool_norm=True))
custom_hooks = [
    dict(
        type='DARTSSearchHook',
        order=2,
        arch_optimizer=dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
        derive='best',
        score_batches=100,
        watch=('skip', )),
    dict(type='ReportHook', interval=10)
]
