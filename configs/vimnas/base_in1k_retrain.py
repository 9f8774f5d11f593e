# Training: the VIM-NAS-B that configs/vimnas/base_in1k.py has found, from scratch on ImageNet (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/base_in1k_retrain.py
#   Another network: --cfg-options model.backbone.tubes=vimnas model.backbone.arch=DIR/arch.json
# Cost (computed, not run): 300 epochs x 1,251 steps of 1,024 images (8 GPUs x 128), AdamW at 1e-5 and decay 5e-2 (Tab.
#   10). Parameters and multiply-adds: python tools/cost.py configs/vimnas/base_in1k_retrain.py.
# What comes out: work_dirs/base_in1k_retrain/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/base_in1k_retrain.py work_dirs/base_in1k_retrain/epoch_300.pth
_base_ = ['./tiny_in1k_retrain.py']
model = dict(
    backbone=dict(table='vimnas-base', arch='work_dirs/base_in1k/search/arch.json'),
    cls_head=dict(common=dict(in_channels=624)))
optim_wrapper = dict(optimizer=dict(lr=1e-5))
