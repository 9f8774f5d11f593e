# Training: the VIM-NAS-T that configs/vimnas/tiny_in1k.py has found, fine-tuned on ImageNet (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/tiny_in1k_finetune.py
#   Another network, such as that of a joint search (its other heads are left out):
#   --cfg-options model.backbone.tubes=vimnas model.backbone.arch=DIR/arch.json load_from=DIR/extracted.pth
# Cost (computed, not run): 40 epochs x 1,251 steps of 1,024 images (8 GPUs x 128), AdamW at 1e-4, a tenth of Tab. 10's,
#   and decay 5e-2. Parameters and multiply-adds: python tools/cost.py configs/vimnas/tiny_in1k_finetune.py.
# What comes out: work_dirs/tiny_in1k_finetune/epoch_40.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/tiny_in1k_finetune.py work_dirs/tiny_in1k_finetune/epoch_40.pth
_base_ = [
    '../_base_/models/super_vit_tiny.py', '../_base_/datasets/vimnas_in1k.py',
    '../_base_/schedules/vimnas_finetune_40e.py'
]
cost_shape = (3, 1, 224, 224)
# in_channels is the supernet's; that of the found network takes its place when the run is built.
model = dict(
    backbone=dict(tubes='vimnas-image', arch='work_dirs/tiny_in1k/search/arch.json'),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='in1k',
        common=dict(type='TimeSformerHead', in_channels=240, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
load_from = 'work_dirs/tiny_in1k/search/extracted.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-4))
