# Ablation: Manual-TSNet-70 % with two GloRe in stages 2, 3 and 4 of the sparse stream, by hand (Auto-TSNet, Tab. 8).
#   python tools/train.py configs/tsnet/manual_70_glore_s2s3s4.py
#   python tools/test.py configs/tsnet/manual_70_glore_s2s3s4.py \
#     work_dirs/manual_70_glore_s2s3s4/epoch_300.pth
# Cost (computed): 9,309,642 params; 2,617,341,872 MACs at 32 x 160 x 160. The paper: 8.37 M, 2.51 G, 73.3 %. 300
#   epochs x 468 steps of 512 clips (not run).
# What comes out: work_dirs/manual_70_glore_s2s3s4/epoch_300.pth and top-1 / top-5
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
            'sparse.s3.g[24].attention': 'glore',
            'sparse.s4.g[23].attention': 'glore'
        }))
