# Training: the VIM-NAS-B that configs/vimnas/base_k400.py has found, fine-tuned on Kinetics-400 (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/base_k400_finetune.py
#   Another network, such as that of a joint search (its other heads are left out):
#   --cfg-options model.backbone.arch=DIR/arch.json load_from=DIR/extracted.pth
# Cost (computed, not run): 40 epochs x 939 steps of 256 clips (8 GPUs x 32), AdamW at 5e-6, a tenth of Tab. 10's, and
#   decay 1e-5. Parameters and multiply-adds: python tools/cost.py configs/vimnas/base_k400_finetune.py.
# What comes out: work_dirs/base_k400_finetune/epoch_40.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/base_k400_finetune.py work_dirs/base_k400_finetune/epoch_40.pth
_base_ = ['./small_k400_finetune.py']
model = dict(
    backbone=dict(table='vimnas-base', arch='work_dirs/base_k400/search/arch.json'),
    cls_head=dict(common=dict(in_channels=624)))
load_from = 'work_dirs/base_k400/search/extracted.pth'
optim_wrapper = dict(optimizer=dict(lr=5e-6, weight_decay=1e-5))
