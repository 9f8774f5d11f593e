# Ablation: the sparse stream of Manual-TSNet-70 % alone (Auto-TSNet, Tab. 6).
#   python tools/train.py configs/tsnet/manual_70_sparse.py
#   python tools/test.py configs/tsnet/manual_70_sparse.py work_dirs/manual_70_sparse/epoch_300.pth
# Cost (computed): 6,861,396 params; 1,296,345,032 MACs at 32 x 160 x 160. The paper: 1.40 G, 70.2 %. 300 epochs x 468
#   steps of 512 clips (not run).
# What comes out: work_dirs/manual_70_sparse/epoch_300.pth and top-1 / top-5 of 10 clips x 1 centre crop at 160 x 160.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        streams=('sparse', ),
        fixed={
            '*.kernel': 't3_s3',
            '*.expansion': 2.25,
            '*.s1.*.channels': 40,
            '*.s2.*.channels': 72,
            '*.s3.*.channels': 144,
            '*.s4.*.channels': 296,
            '*.attention': 'none'
        }),
    cls_head=dict(in_channels=666))
