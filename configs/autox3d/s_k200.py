# Search: AutoX3D-S on Mini-Kinetics-200 (AutoX3D, Sec. 5.1.2).
#   python tools/search.py configs/autox3d/s_k200.py
# Cost (computed, not run): 600 epochs x 125 steps of 512 clips on 64 GPUs (80,000 clips, of which 64,000
#   train the weights); a step is 13 forward + backward passes and 13 forward passes on held-out clips. The
#   paper: 3 days on 64 V100.
# Space (computed): 2.773e30 architectures, 388,498,384 to 14,589,527,858 MACs at 13 x 160 x 160; target 2e9.
# What comes out: work_dirs/s_k200/search/arch.json (which s_k400.py, m_k400.py, ... train), history.jsonl,
#   report.html, and the network with its inherited weights: extracted.py, extracted.pth.
# The paper's architecture (its Fig. 5) is not in its text; this search finds one of its own.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics200_13x160_search.py',
    '../_base_/schedules/autox3d_search_600e.py', '../_base_/default_runtime.py'
]
model = dict(cls_head=dict(num_classes=200, dropout_ratio=0.0))
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=13,
        budget=dict(macs=2e9),
        arch_optimizer=dict(type='Adam', lr=0.02, weight_decay=0)),
    dict(type='ReportHook', interval=10)
]
