# Training: AutoX3D-L on Kinetics-400 from scratch, 16 x 312 x 312 (AutoX3D, Sec. 5.1.2 and 5.3.1).
# The architecture of S with twice the blocks in every group, on more and larger frames.
#   python tools/train.py configs/autox3d/l_k400.py
#   python tools/test.py configs/autox3d/l_k400.py work_dirs/l_k400/epoch_300.pth
# Needs work_dirs/s_k200/search/arch.json from s_k200.py (or --cfg-options model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips). Params and MACs
#   depend on the architecture: python tools/cost.py configs/autox3d/l_k400.py. The paper's network: 27.8 G at
#   356 x 356, 6.2 M, 78.8 %.
# What comes out: work_dirs/l_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 356 x 356.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics400_16x312.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
cost_shape = (3, 16, 312, 312)
model = dict(backbone=dict(arch='work_dirs/s_k200/search/arch.json', depth_scale=2))
