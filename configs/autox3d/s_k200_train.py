# Training of a found architecture on Mini-Kinetics-200: a fifth of the work of s_k400.py. Not in the paper.
#   python tools/train.py configs/autox3d/s_k200_train.py
#   python tools/test.py configs/autox3d/s_k200_train.py work_dirs/s_k200_train/epoch_300.pth
# Also the test of what the search itself has left, with inherited weights:
#   python tools/test.py configs/autox3d/s_k200_train.py work_dirs/s_k200/search/extracted.pth
# Needs work_dirs/s_k200/search/arch.json from s_k200.py (or model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 156 steps of 512 clips (80,000 clips).
# What comes out: work_dirs/s_k200_train/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 182 x 182.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics200_13x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(arch='work_dirs/s_k200/search/arch.json'), cls_head=dict(num_classes=200))
