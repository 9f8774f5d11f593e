# Search for Tab. 6: the sparse stream alone, without attention (Auto-TSNet, Sec. 5.6).
#   python tools/search.py configs/tsnet/ablation_backbone_k100.py
# Cost (computed, not run): 800 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 2.3 days.
# Space (computed): 3.306e24 architectures, 628,284,400 to 6,281,745,536 MACs at 32 x 160 x 160; target 1.4e9.
# What comes out: work_dirs/ablation_backbone_k100/search/arch.json, which ablation_backbone_k400.py trains.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics100_32x160_search.py',
    '../_base_/schedules/tsnet_search.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(streams=('sparse', ), fixed={'*.attention': 'none'}),
    cls_head=dict(in_channels=666, num_classes=100, dropout_ratio=0.0))
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=13,
        indicator=dict(type='VideoAccuracy', num_clips=4),
        budget=dict(macs=1.4e9),
        arch_optimizer=dict(type='Adam', lr=0.025, weight_decay=0)),
    dict(type='ReportHook', interval=10)
]
