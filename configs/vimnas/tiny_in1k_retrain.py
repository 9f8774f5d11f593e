# Training: the VIM-NAS-T that configs/vimnas/tiny_in1k.py has found, from scratch on ImageNet (VIM-NAS, Tab. 7).
#   python tools/train.py configs/vimnas/tiny_in1k_retrain.py
#   Another network: --cfg-options model.backbone.tubes=vimnas model.backbone.arch=DIR/arch.json
# Cost (computed, not run): 300 epochs x 1,251 steps of 1,024 images (8 GPUs x 128), AdamW at 1e-3 and decay 5e-2 (Tab.
#   10). Parameters and multiply-adds: python tools/cost.py configs/vimnas/tiny_in1k_retrain.py.
# What comes out: work_dirs/tiny_in1k_retrain/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/tiny_in1k_retrain.py work_dirs/tiny_in1k_retrain/epoch_300.pth
_base_ = [
    '../_base_/models/super_vit_tiny.py', '../_base_/datasets/vimnas_in1k.py',
    '../_base_/schedules/vimnas_retrain_300e.py'
]
cost_shape = (3, 1, 224, 224)
# in_channels is the supernet's; that of the found network takes its place when the run is built.
model = dict(
    backbone=dict(tubes='vimnas-image', arch='work_dirs/tiny_in1k/search/arch.json'),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='in1k',
        common=dict(type='TimeSformerHead', in_channels=240, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
