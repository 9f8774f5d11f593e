# Training: Auto-TSNet-M on Something-Something-V2 from scratch, 4 + 32 frames, 224 x 224 (Auto-TSNet, Sec. 5.9).
# No flip.
#   python tools/train.py configs/tsnet/m_ssv2.py
#   python tools/test.py configs/tsnet/m_ssv2.py work_dirs/tsnet_m_ssv2/epoch_300.pth
# Needs work_dirs/progressive_k100/search/arch.json from progressive_k100.py (or --cfg-options
#   model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 329 steps of 512 clips (64 GPUs x 8; 168,913 clips). Params and MACs depend
#   on the architecture: python tools/cost.py configs/tsnet/m_ssv2.py. The paper's network (Tab. 11): 8.6 M, 46.5 G in
#   all views, 63.6 %.
# What comes out: work_dirs/tsnet_m_ssv2/epoch_300.pth and top-1 / top-5 of 10 clips x the centre crop.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/ssv2_32x224.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
work_dir = 'work_dirs/tsnet_m_ssv2'  # the other families have configs of this name too
cost_shape = (3, 32, 224, 224)
model = dict(
    backbone=dict(arch='work_dirs/progressive_k100/search/arch.json'), cls_head=dict(num_classes=174))
