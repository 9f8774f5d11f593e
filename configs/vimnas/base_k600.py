# Search: VIM-NAS-B on Kinetics-600 alone (VIM-NAS, Tab. 8b column 1), with Tab. 10's own values.
#   python tools/search.py configs/vimnas/base_k600.py
# Cost (computed, not run): 500 epochs x 1,380 steps of 256 clips (8 GPUs x 32; 90 % of the training list train the
#   weights, 10 % the architecture), AdamW at 5e-5 and decay 1e-5. A step as in base_joint.py.
# Space (computed): about 1.7e50 architectures.
# What comes out: work_dirs/base_k600/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = [
    '../_base_/models/super_vit_base.py', '../_base_/datasets/vimnas_k600.py',
    '../_base_/schedules/vimnas_search_500e.py'
]
model = dict(
    backbone=dict(local_weights=dict(groups=2), with_cp=True),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='k600',
        common=dict(type='TimeSformerHead', in_channels=624, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.1, part='train')))
optim_wrapper = dict(optimizer=dict(lr=5e-5, weight_decay=1e-5))
