# Training: Auto-TSNet-S on Kinetics-400 from scratch, 4 + 32 frames, 160 x 160 (Auto-TSNet, Sec. 5.2, 5.3).
#   python tools/train.py configs/tsnet/s_k400.py
#   python tools/test.py configs/tsnet/s_k400.py work_dirs/tsnet_s_k400/epoch_300.pth
# Needs work_dirs/progressive_k100/search/arch.json from progressive_k100.py (or --cfg-options
#   model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips). Params and MACs depend
#   on the architecture: python tools/cost.py configs/tsnet/s_k400.py. The paper's network (Tab. 3): 8.6 M, 3.4 G at
#   182 x 182, 75.4 %.
# What comes out: work_dirs/tsnet_s_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 182 x 182.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
work_dir = 'work_dirs/tsnet_s_k400'  # the other families have configs of this name too
model = dict(backbone=dict(arch='work_dirs/progressive_k100/search/arch.json'))
