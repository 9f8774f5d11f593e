# Training: Auto-TSNet-L without attention on Kinetics-400 from scratch, 4 + 32 frames, 312 x 312 (Auto-TSNet, Sec.
# 5.2, 5.3).
# The dagger in Tab. 3: the same architecture with its attention blocks left out.
#   python tools/train.py configs/tsnet/l_noattn_k400.py
#   python tools/test.py configs/tsnet/l_noattn_k400.py work_dirs/l_noattn_k400/epoch_300.pth
# Needs work_dirs/progressive_k100/search/arch.json from progressive_k100.py (or --cfg-options
#   model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips). Params and MACs depend
#   on the architecture: python tools/cost.py configs/tsnet/l_noattn_k400.py. The paper's network (Tab. 3): 12.2 M,
#   18.1 G at 356 x 356, 78.3 %.
# What comes out: work_dirs/l_noattn_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 356 x 356.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x312.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
cost_shape = (3, 32, 312, 312)
model = dict(
    backbone=dict(
        arch='work_dirs/progressive_k100/search/arch.json', depth_scale=2, replaced={'*.attention': 'none'}))
