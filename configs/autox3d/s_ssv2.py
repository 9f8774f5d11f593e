# Training: AutoX3D-S on Something-Something-V2 from scratch, 13 x 160 x 160 (AutoX3D, Sec. 5.3.2). No flip.
#   python tools/train.py configs/autox3d/s_ssv2.py
#   python tools/test.py configs/autox3d/s_ssv2.py work_dirs/s_ssv2/epoch_300.pth
# Needs work_dirs/s_k200/search/arch.json from s_k200.py (or --cfg-options model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 329 steps of 512 clips (64 GPUs x 8; 168,913 clips). Params and MACs
#   depend on the architecture: python tools/cost.py configs/autox3d/s_ssv2.py. The paper's network (Tab. 6):
#   2.2 G, 3.5 M, 62.1 %.
# What comes out: work_dirs/s_ssv2/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 182 x 182.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/ssv2_13x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(arch='work_dirs/s_k200/search/arch.json'), cls_head=dict(num_classes=174))
