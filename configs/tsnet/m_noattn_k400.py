# Training: Auto-TSNet-M without attention on Kinetics-400 from scratch, 4 + 32 frames, 224 x 224 (Auto-TSNet, Sec.
# 5.2, 5.3).
# The dagger in Tab. 3: the same architecture with its attention blocks left out.
#   python tools/train.py configs/tsnet/m_noattn_k400.py
#   python tools/test.py configs/tsnet/m_noattn_k400.py work_dirs/m_noattn_k400/epoch_300.pth
# Needs work_dirs/progressive_k100/search/arch.json from progressive_k100.py (or --cfg-options
#   model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips). Params and MACs depend
#   on the architecture: python tools/cost.py configs/tsnet/m_noattn_k400.py. The paper's network (Tab. 3): 7.7 M, 5.2
#   G at 256 x 256, 76.6 %.
# What comes out: work_dirs/m_noattn_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 256 x 256.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x224.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
cost_shape = (3, 32, 224, 224)
model = dict(backbone=dict(arch='work_dirs/progressive_k100/search/arch.json', replaced={'*.attention': 'none'}))
