# Baseline: X3D-L as a point of the AutoX3D space with 5/10/25/15 blocks in the place of 3/5/11/7, trained on
# Kinetics-400 exactly as l_k400.py.
#   python tools/train.py configs/autox3d/x3d_l.py
#   python tools/test.py configs/autox3d/x3d_l.py work_dirs/x3d_l/epoch_300.pth
# Cost (computed): 6,153,432 params; 18,367,710,176 MACs at 16 x 312 x 312, 24,764,017,280 at the test's 356 x
#   356. 300 epochs x 468 steps of 512 clips (not run). The paper (Tab. 5): 24.8 G x 30 views, 77.5 %.
# What comes out: work_dirs/x3d_l/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 356 x 356.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics400_16x312.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
cost_shape = (3, 16, 312, 312)
# How the blocks fall into groups makes no difference: all groups of a stage have the same values.
model = dict(
    backbone=dict(
        arch=r"""{{ fileDirname }}/archs/x3d.json""",
        stem_temporal_kernel=5,
        stages=(
            ((12, 28, 4), (2, 3)),
            ((24, 64, 8), (4, 6)),
            ((48, 132, 12), (7, 6, 6, 6)),
            ((96, 264, 24), (5, 5, 5)))))
