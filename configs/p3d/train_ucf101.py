# Training: the network of a searched cell on UCF101 split 1 from scratch (P3D-DARTS, Sec. 3).
#   python tools/train.py configs/p3d/train_ucf101.py
#   python tools/test.py configs/p3d/train_ucf101.py work_dirs/train_ucf101/epoch_600.pth
# Needs work_dirs/search_ucf101/search/arch.json from search_ucf101.py (or --cfg-options model.backbone.arch=..., or
#   model.backbone.arch=None with model.backbone.genotype=...).
# Cost (computed, not run): 600 epochs x 132 steps of 72 clips. 6 cells, 8 to 64 channels: with two inputs a node
#   56,765 to 704,573 parameters, 0.476 to 4.175 G MACs at 8 x 112 x 112, by the cell; the paper's has 0.67 M.
# What comes out: work_dirs/train_ucf101/epoch_600.pth and top-1 / top-5 of one centre-cropped clip a video. The paper:
#   58.6 % on split 1.
_base_ = [
    '../_base_/models/super_p3d.py', '../_base_/datasets/ucf101_8x112.py',
    '../_base_/schedules/p3d_train_600e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(cells=6, channels=8, arch='work_dirs/search_ucf101/search/arch.json'),
    cls_head=dict(in_channels=256))
