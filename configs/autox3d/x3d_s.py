# Baseline: X3D-S as a point of the AutoX3D space, trained on Kinetics-400 exactly as s_k400.py.
#   python tools/train.py configs/autox3d/x3d_s.py
#   python tools/test.py configs/autox3d/x3d_s.py work_dirs/x3d_s/epoch_300.pth
# Cost (computed): 3,794,322 params; 1,962,892,112 MACs at 13 x 160 x 160, 2,721,933,356 at the test's 182 x
#   182. 300 epochs x 468 steps of 512 clips (not run). The paper (Tab. 5): 2.7 G x 30 views, 73.3 %.
# What comes out: work_dirs/x3d_s/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 182 x 182.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics400_13x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(backbone=dict(arch=r"""{{ fileDirname }}/archs/x3d.json""", stem_temporal_kernel=5))
