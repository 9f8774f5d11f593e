# Training: AutoX3D-M on Kinetics-400 from scratch, 16 x 224 x 224 (AutoX3D, Sec. 5.1.2 and 5.3.1).
# The same architecture as S on more and larger frames.
#   python tools/train.py configs/autox3d/m_k400.py
#   python tools/test.py configs/autox3d/m_k400.py work_dirs/m_k400/epoch_300.pth
# Needs work_dirs/s_k200/search/arch.json from s_k200.py (or --cfg-options model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips). Params and MACs
#   depend on the architecture: python tools/cost.py configs/autox3d/m_k400.py. The paper's network: 6.8 G at
#   256 x 256, 3.5 M, 76.7 %.
# What comes out: work_dirs/m_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 256 x 256.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics400_16x224.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
cost_shape = (3, 16, 224, 224)
model = dict(backbone=dict(arch='work_dirs/s_k200/search/arch.json'))
