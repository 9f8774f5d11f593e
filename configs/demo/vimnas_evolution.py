# Evolution in the supernet that configs/demo/vimnas_joint.py has trained: what is best at every cost, without training.
#   python tools/search.py configs/demo/vimnas_evolution.py --checkpoint work_dirs/vimnas_joint/epoch_24.pth
# Cost: 6 generations x 20 candidates, each scored on 2 held-out batches of each of the three sets; about half a
#   minute on 2 idle cores. Needs the checkpoint of python tools/search.py configs/demo/vimnas_joint.py.
# Space (computed): 3.87e9 architectures, 0.4 to 24.7 MMACs at 8 x 32 x 32; at most 6e6.
# What comes out: work_dirs/vimnas_evolution/search/{arch.json,front/*.json,history.jsonl,report.html,extracted.py,
#   extracted.pth}: the best network under the budget by the mean top-1 of the three, and the front against MACs up to
#   it.
_base_ = ['./vimnas_joint.py']
generations = 6
# A generation is an epoch of one step; its clips are not looked at.
train_dataloader = dict(batch_sampler=dict(steps_per_epoch=1))
train_cfg = dict(max_epochs=generations, val_interval=generations)
optim_wrapper = dict(clip_grad=None)  # MMEngine asks for an optimiser; no step is ever made
param_scheduler = []
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(save_optimizer=False, save_param_scheduler=False))
custom_hooks = [
    dict(
        type='EvolutionSearchHook',
        population=20,
        top_k=8,
        mutation={'depth': 0.4, 'embed_dim': 0.4, '*': 0.2},
        pareto='macs',
        eval_batches=2,
        budget=dict(macs=6e6)),
    dict(type='ReportHook', interval=generations)
]
