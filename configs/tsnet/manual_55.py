# Baseline: Manual-TSNet-55 % on Kinetics-400 (Auto-TSNet, Sec. 5.4, Tab. 4): X3D-S twice, widths x 1.317 and x 0.389.
#   python tools/train.py configs/tsnet/manual_55.py
#   python tools/test.py configs/tsnet/manual_55.py work_dirs/manual_55/epoch_300.pth
# Cost (computed): 6,605,623 params; 1,998,344,392 MACs at 32 x 160 x 160. The paper: about 2.0 G, 55 % of it in the
#   sparse stream, 72.4 %. 300 epochs x 468 steps of 512 clips (not run).
# What comes out: work_dirs/manual_55/epoch_300.pth and top-1 / top-5 of 10 clips x 1 centre crop at 160 x 160.
_base_ = [
    '../_base_/models/manual_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        space_name='manual-tsnet-55',
        sparse=dict(
            stages=(
                ('values', (32, ), (1, 2)),
                ('values', (63, ), (1, 4)),
                ('values', (126, ), (1, 3, 3, 4)),
                ('values', (253, ), (1, 3, 3))),
            out_channels=569),
        dense=dict(
            stages=(
                ('values', (9, ), (1, 2)),
                ('values', (19, ), (1, 4)),
                ('values', (37, ), (1, 3, 3, 4)),
                ('values', (75, ), (1, 3, 3))),
            out_channels=168)),
    cls_head=dict(in_channels=569 + 168))
