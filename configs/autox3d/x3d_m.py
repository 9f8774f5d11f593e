# Baseline: X3D-M as a point of the AutoX3D space, trained on Kinetics-400 exactly as m_k400.py.
#   python tools/train.py configs/autox3d/x3d_m.py
#   python tools/test.py configs/autox3d/x3d_m.py work_dirs/x3d_m/epoch_300.pth
# Cost (computed): 3,794,322 params; 4,732,468,736 MACs at 16 x 224 x 224, 6,180,613,376 at the test's 256 x
#   256. 300 epochs x 468 steps of 512 clips (not run). The paper (Tab. 5): 6.2 G x 30 views, 76.0 %.
# What comes out: work_dirs/x3d_m/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 256 x 256.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics400_16x224.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
cost_shape = (3, 16, 224, 224)
model = dict(backbone=dict(arch=r"""{{ fileDirname }}/archs/x3d.json""", stem_temporal_kernel=5))
