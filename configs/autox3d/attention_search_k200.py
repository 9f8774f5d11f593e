# Search for Tab. 3 ("Automatic"): which of the 26 blocks of a fixed X3D-S are followed by GloRe.
#   python tools/search.py configs/autox3d/attention_search_k200.py
# Cost (computed, not run): 75,000 steps, as s_k200.py.
# Space (computed): 2^26 = 67,108,864 architectures, 1,962,482,512 to 7,619,241,356 MACs at 13 x 160 x 160.
#   The target is the cost of what the paper found (2.44 G); the paper names none.
# What comes out: work_dirs/attention_search_k200/search/arch.json, which attention_searched_k400.py trains.
_base_ = [
    '../_base_/models/x3d_s_attention.py', '../_base_/datasets/kinetics200_13x160_search.py',
    '../_base_/schedules/autox3d_search_600e.py', '../_base_/default_runtime.py'
]
model = dict(cls_head=dict(num_classes=200, dropout_ratio=0.0))
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=13,
        budget=dict(macs=2.44e9),
        arch_optimizer=dict(type='Adam', lr=0.02, weight_decay=0)),
    dict(type='ReportHook', interval=10)
]
