# Training: Auto-TSNet-S without attention on Kinetics-400 from scratch, 4 + 32 frames, 160 x 160 (Auto-TSNet, Sec.
# 5.2, 5.3).
# The dagger in Tab. 3: the same architecture with its attention blocks left out.
#   python tools/train.py configs/tsnet/s_noattn_k400.py
#   python tools/test.py configs/tsnet/s_noattn_k400.py work_dirs/s_noattn_k400/epoch_300.pth
# Needs work_dirs/progressive_k100/search/arch.json from progressive_k100.py (or --cfg-options
#   model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips). Params and MACs depend
#   on the architecture: python tools/cost.py configs/tsnet/s_noattn_k400.py. The paper's network (Tab. 3): 7.7 M, 2.8
#   G at 182 x 182, 74.6 %.
# What comes out: work_dirs/s_noattn_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 182 x 182.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(backbone=dict(arch='work_dirs/progressive_k100/search/arch.json', replaced={'*.attention': 'none'}))
