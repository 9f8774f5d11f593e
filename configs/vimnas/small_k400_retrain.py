# Training: the VIM-NAS-S that configs/vimnas/small_k400.py has found, from scratch on Kinetics-400 (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/small_k400_retrain.py
#   Another network: --cfg-options model.backbone.arch=DIR/arch.json
# Cost (computed, not run): 300 epochs x 939 steps of 256 clips (8 GPUs x 32), AdamW at 1e-4 and decay 1e-3 (Tab. 10).
#   Parameters and multiply-adds: python tools/cost.py configs/vimnas/small_k400_retrain.py.
# What comes out: work_dirs/small_k400_retrain/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/small_k400_retrain.py work_dirs/small_k400_retrain/epoch_300.pth
_base_ = [
    '../_base_/models/super_vit_small.py', '../_base_/datasets/vimnas_k400.py',
    '../_base_/schedules/vimnas_retrain_300e.py'
]
# in_channels is the supernet's; that of the found network takes its place when the run is built.
model = dict(
    backbone=dict(arch='work_dirs/small_k400/search/arch.json'),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='k400',
        common=dict(type='TimeSformerHead', in_channels=444, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=1e-3))
