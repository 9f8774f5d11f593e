# Search for Tab. 7: which of the ten sites of Manual-TSNet-70 % have a time-strided convolution (Auto-TSNet, Sec.
# 5.6).
#   python tools/search.py configs/tsnet/ablation_fusion_k100.py
# Cost (computed, not run): 200 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 0.7 days.
# Space (computed): 1,024 architectures, 1,893,916,232 to 2,111,599,432 MACs at 32 x 160 x 160; target 2.03e9. The
#   target is the cost of the manual network; the paper names none, nor its epochs.
# What comes out: work_dirs/ablation_fusion_k100/search/arch.json, which ablation_fusion_k400.py trains.
_base_ = [
    '../_base_/models/manual_tsnet_70.py', '../_base_/datasets/kinetics100_32x160_search.py',
    '../_base_/schedules/tsnet_search.py', '../_base_/default_runtime.py'
]
train_cfg = dict(max_epochs=200, val_interval=200)
model = dict(
    backbone=dict(fusions=('none', 'time_strided_conv'), fixed={'*.attention': 'none'}),
    cls_head=dict(num_classes=100, dropout_ratio=0.0))
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=13,
        indicator=dict(type='VideoAccuracy', num_clips=4),
        budget=dict(macs=2.03e9),
        arch_optimizer=dict(type='Adam', lr=0.025, weight_decay=0)),
    dict(type='ReportHook', interval=10)
]
