# Training: the VIM-NAS-B that configs/vimnas/base_k400.py has found, from scratch on Kinetics-400 (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/base_k400_retrain.py
#   Another network: --cfg-options model.backbone.arch=DIR/arch.json
# Cost (computed, not run): 300 epochs x 939 steps of 256 clips (8 GPUs x 32), AdamW at 5e-5 and decay 1e-5 (Tab. 10).
#   Parameters and multiply-adds: python tools/cost.py configs/vimnas/base_k400_retrain.py.
# What comes out: work_dirs/base_k400_retrain/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/base_k400_retrain.py work_dirs/base_k400_retrain/epoch_300.pth
_base_ = ['./small_k400_retrain.py']
model = dict(
    backbone=dict(table='vimnas-base', arch='work_dirs/base_k400/search/arch.json'),
    cls_head=dict(common=dict(in_channels=624)))
optim_wrapper = dict(optimizer=dict(lr=5e-5, weight_decay=1e-5))
