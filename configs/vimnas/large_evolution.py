# Evolution in the supernet that configs/vimnas/large_joint.py has trained (VIM-NAS, Algorithm 2): the best network of
#   at most 150 M parameters; --cfg-options custom_hooks.0.budget.macs=30e9 bounds MACs too.
#   python tools/search.py configs/vimnas/large_evolution.py --checkpoint work_dirs/large_joint/epoch_500.pth
# Cost (computed, not run): 20 generations x 50 candidates, each forward on 32 held-out batches of 32 clips of each of
#   the four sets (1,024; a mean top-1 is good to 0.6 points): 4.1 M forward passes. The decoded clips, 24 MB for
#   one of each set, stay in memory: 25 GB a machine; custom_hooks.0.eval_batches=128 where there is room for four
#   times that. The paper: about 5 minutes for a constraint.
# VIM-NAS-L has 128 M (Tab. 3). With four heads and kernels of up to 1,024 taps our space begins at 119.6 M, and of
#   2,000 random networks none has 128 M, so that no population could be drawn.
# What comes out: work_dirs/large_evolution/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}: one
#   network for all four sets with its inherited weights.
_base_ = ['./small_evolution.py']
model = dict(backbone=dict(table='vimnas-large'), cls_head=dict(common=dict(in_channels=948)))
custom_hooks = [
    dict(
        type='EvolutionSearchHook',
        population=50,
        top_k=10,
        mutation={'depth': 0.4, 'embed_dim': 0.4, '*': 0.2},
        eval_batches=32,
        budget=dict(params=150e6)),
    dict(type='ReportHook', interval=20)
]
