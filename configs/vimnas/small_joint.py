# Search: VIM-NAS-S on ImageNet, Kinetics-400, Kinetics-600 and Something-Something-V2 together (VIM-NAS, Algorithm 1).
#   python tools/search.py configs/vimnas/small_joint.py
#   python tools/train.py configs/vimnas/small_joint.py        (the same search, without extracting the network at its
#   end)
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips (8 GPUs x 32; 90 % of each training list train the
#   weights, 10 % the architecture), AdamW at 1e-3 (ImageNet's). A step is two sampled networks forward and backward,
#   each with its own local weights and with common ones, then the mixed network with 4 combinations for each tube. At
#   the end each of the open choices is fixed by what the removal of its values costs. The paper: 1 (smallest) to 5 days
#   (largest) on 8 A100.
# Space (computed): about 7.7e46 architectures.
# What comes out: work_dirs/small_joint/search/arch.json, history.jsonl, report.html, and the network with its inherited
#   weights and a head for each dataset: extracted.py, extracted.pth. With any budget, from its checkpoint:
#   configs/vimnas/small_evolution.py.
_base_ = [
    '../_base_/models/super_vit_small.py', '../_base_/datasets/vimnas_joint.py',
    '../_base_/schedules/vimnas_search_500e.py'
]
model = dict(
    backbone=dict(local_weights=dict(groups=2)),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='k400',
        common=dict(type='TimeSformerHead', in_channels=444, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.1, part='train')))
