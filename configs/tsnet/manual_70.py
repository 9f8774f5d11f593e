# Baseline: Manual-TSNet-70 % on Kinetics-400 (Auto-TSNet, Sec. 5.4, Tab. 4, 7, 8), a point of the space: X3D-S twice.
#   python tools/train.py configs/tsnet/manual_70.py
#   python tools/test.py configs/tsnet/manual_70.py work_dirs/manual_70/epoch_300.pth
# Cost (computed): 7,680,406 params; 1,998,354,632 MACs at 32 x 160 x 160. The paper: 7.71 M, 2.03 G, 70 % of it in
#   the sparse stream, 73.2 %. 300 epochs x 468 steps of 512 clips (not run).
# What comes out: work_dirs/manual_70/epoch_300.pth and top-1 / top-5 of 10 clips x 1 centre crop at 160 x 160.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(backbone=dict(arch=r"""{{ fileDirname }}/archs/manual_70.json"""))
