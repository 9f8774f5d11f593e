# Training: the VIM-NAS-S that configs/vimnas/small_in1k.py has found, fine-tuned on ImageNet (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/small_in1k_finetune.py
#   Another network, such as that of a joint search (its other heads are left out):
#   --cfg-options model.backbone.tubes=vimnas model.backbone.arch=DIR/arch.json load_from=DIR/extracted.pth
# Cost (computed, not run): 40 epochs x 1,251 steps of 1,024 images (8 GPUs x 128), AdamW at 1e-4, a tenth of Tab. 10's,
#   and decay 5e-2. Parameters and multiply-adds: python tools/cost.py configs/vimnas/small_in1k_finetune.py.
# What comes out: work_dirs/small_in1k_finetune/epoch_40.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/small_in1k_finetune.py work_dirs/small_in1k_finetune/epoch_40.pth
_base_ = ['./tiny_in1k_finetune.py']
model = dict(
    backbone=dict(table='vimnas-small', arch='work_dirs/small_in1k/search/arch.json'),
    cls_head=dict(common=dict(in_channels=444)))
load_from = 'work_dirs/small_in1k/search/extracted.pth'
