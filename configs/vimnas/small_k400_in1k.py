# Search: VIM-NAS-S on ImageNet and Kinetics-400 together (VIM-NAS, Tab. 8a).
#   python tools/search.py configs/vimnas/small_k400_in1k.py
# Cost (computed, not run): 500 epochs x 5,349 steps of 256 clips (8 GPUs x 32; 90 % of each training list train the
#   weights, 10 % the architecture). A step as in small_joint.py.
# Space (computed): about 7.7e46 architectures.
# What comes out: work_dirs/small_k400_in1k/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = [
    '../_base_/models/super_vit_small.py', '../_base_/datasets/vimnas_k400_in1k.py',
    '../_base_/schedules/vimnas_search_500e.py'
]
model = dict(
    backbone=dict(local_weights=dict(groups=2)),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='k400',
        common=dict(type='TimeSformerHead', in_channels=444, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.1, part='train')))
