# Search for Tab. 8: which of the twelve sites of Manual-TSNet-70 % have GloRe (Auto-TSNet, Sec. 5.6).
#   python tools/search.py configs/tsnet/ablation_attention_k100.py
# Cost (computed, not run): 200 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 0.9 days.
# Space (computed): 4,096 architectures, 1,997,740,232 to 2,792,701,532 MACs at 32 x 160 x 160; target 2.4e9. The
#   target is the cost of what the paper found (2.40 G); it names none.
# What comes out: work_dirs/ablation_attention_k100/search/arch.json, which ablation_attention_k400.py trains.
_base_ = [
    '../_base_/models/manual_tsnet_70.py', '../_base_/datasets/kinetics100_32x160_search.py',
    '../_base_/schedules/tsnet_search.py', '../_base_/default_runtime.py'
]
train_cfg = dict(max_epochs=200, val_interval=200)
model = dict(
    backbone=dict(
        fixed={
            'fusion.*': 'none',
            'fusion.s1.g2': 'time_strided_conv',
            'fusion.s2.g2': 'time_strided_conv',
            'fusion.s3.g[24]': 'time_strided_conv',
            'fusion.s4.g2': 'time_strided_conv'
        }),
    cls_head=dict(num_classes=100, dropout_ratio=0.0))
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=13,
        indicator=dict(type='VideoAccuracy', num_clips=4),
        budget=dict(macs=2.4e9),
        arch_optimizer=dict(type='Adam', lr=0.025, weight_decay=0)),
    dict(type='ReportHook', interval=10)
]
