# Ablation: Manual-TSNet-70 % with two GloRe in stages 2 and 3 of the sparse stream, by hand (Auto-TSNet, Tab. 8).
#   python tools/train.py configs/tsnet/manual_70_glore_s2s3.py
#   python tools/test.py configs/tsnet/manual_70_glore_s2s3.py work_dirs/manual_70_glore_s2s3/epoch_300.pth
# Cost (computed): 8,251,336 params; 2,410,981,124 MACs at 32 x 160 x 160. The paper: 8.24 M, 2.41 G, 73.2 %. 300
#   epochs x 468 steps of 512 clips (not run).
# What comes out: work_dirs/manual_70_glore_s2s3/epoch_300.pth and top-1 / top-5
#   of 10 clips x 1 centre crop at 160 x 160.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        arch=r"""{{ fileDirname }}/archs/manual_70.json""",
        replaced={
            'sparse.s2.g[12].attention': 'glore',
            'sparse.s3.g[24].attention': 'glore'
        }))
