# Search: VIM-NAS-T on ImageNet alone (VIM-NAS, Tab. 7, Tab. 8b column 1), with Tab. 10's own values.
#   python tools/search.py configs/vimnas/tiny_in1k.py
# Cost (computed, not run): 500 epochs x 1,126 steps of 1,024 images (8 GPUs x 128; 90 % of the training list train the
#   weights, 10 % the architecture), AdamW at 1e-3 and decay 5e-2. A step as in tiny_joint.py.
# Space (computed): about 3.1e18 architectures: the transformer and the 2-D tube, which is all that an image
#   takes.
# What comes out: work_dirs/tiny_in1k/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = [
    '../_base_/models/super_vit_tiny.py', '../_base_/datasets/vimnas_in1k.py',
    '../_base_/schedules/vimnas_search_500e.py'
]
cost_shape = (3, 1, 224, 224)
model = dict(
    backbone=dict(tubes='vimnas-image', local_weights=dict(groups=2)),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='in1k',
        common=dict(type='TimeSformerHead', in_channels=240, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.1, part='train')))
