# Baseline: Manual-TSNet-85 % on Kinetics-400 (Auto-TSNet, Sec. 5.4, Tab. 4): X3D-S twice, widths x 1.738 and x 0.178.
#   python tools/train.py configs/tsnet/manual_85.py
#   python tools/test.py configs/tsnet/manual_85.py work_dirs/manual_85/epoch_300.pth
# Cost (computed): 8,904,129 params; 2,003,888,004 MACs at 32 x 160 x 160. The paper: about 2.0 G, 85 % of it in the
#   sparse stream, 72.8 %. 300 epochs x 468 steps of 512 clips (not run).
# What comes out: work_dirs/manual_85/epoch_300.pth and top-1 / top-5 of 10 clips x 1 centre crop at 160 x 160.
_base_ = [
    '../_base_/models/manual_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        space_name='manual-tsnet-85',
        sparse=dict(
            stages=(
                ('values', (42, ), (1, 2)),
                ('values', (83, ), (1, 4)),
                ('values', (167, ), (1, 3, 3, 4)),
                ('values', (334, ), (1, 3, 3))),
            out_channels=751),
        dense=dict(
            stages=(
                ('values', (4, ), (1, 2)),
                ('values', (9, ), (1, 4)),
                ('values', (17, ), (1, 3, 3, 4)),
                ('values', (34, ), (1, 3, 3))),
            out_channels=76)),
    cls_head=dict(in_channels=751 + 76))
