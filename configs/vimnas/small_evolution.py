# Evolution in the supernet that configs/vimnas/small_joint.py has trained (VIM-NAS, Algorithm 2): the best network of
#   at most 22.9 M parameters (VIM-NAS-S, Tab. 3); --cfg-options custom_hooks.0.budget.macs=30e9 bounds MACs too.
#   python tools/search.py configs/vimnas/small_evolution.py --checkpoint work_dirs/small_joint/epoch_500.pth
# Cost (computed, not run): 20 generations x 50 candidates, each forward on 32 held-out batches of 32 clips of each of
#   the four sets (1,024; a mean top-1 is good to 0.6 points): 4.1 M forward passes. The decoded clips, 24 MB for
#   one of each set, stay in memory: 25 GB a machine; custom_hooks.0.eval_batches=128 where there is room for four
#   times that. The paper: about 5 minutes for a constraint.
# What comes out: work_dirs/small_evolution/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}: one
#   network for all four sets with its inherited weights.
_base_ = ['./small_joint.py']
generations = 20
# A generation is an epoch of one step; its clips are not looked at.
train_dataloader = dict(batch_sampler=dict(steps_per_epoch=1))
train_cfg = dict(max_epochs=generations, val_interval=generations)
param_scheduler = []
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(save_optimizer=False, save_param_scheduler=False))
custom_hooks = [
    dict(
        type='EvolutionSearchHook',
        population=50,
        top_k=10,
        mutation={'depth': 0.4, 'embed_dim': 0.4, '*': 0.2},
        eval_batches=32,
        budget=dict(params=22.9e6)),
    dict(type='ReportHook', interval=generations)
]
