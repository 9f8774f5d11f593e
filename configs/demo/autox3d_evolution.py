# Evolution in the supernet that configs/demo/autox3d.py has trained: what is best at every cost, without training.
#   python tools/search.py configs/demo/autox3d_evolution.py --checkpoint work_dirs/autox3d/epoch_40.pth
# Cost: 8 generations x 24 candidates, each scored on 192 held-out clips after 64 training clips for BatchNorm: about a
#   minute of CPU time. Needs the checkpoint of python tools/search.py configs/demo/autox3d.py.
# Space (computed): 7,962,624 architectures, 1,358,976 to 11,036,416 MACs at 8 x 32 x 32; at most 4e6.
# What comes out: work_dirs/autox3d_evolution/search/{arch.json,front/*.json,history.jsonl,report.html,extracted.py,
#   extracted.pth}: the best network under the budget, and the front of accuracy against MACs up to it.
_base_ = ['./autox3d.py']
generations = 8
train_dataloader = dict(num_batch_per_epoch=1)  # a generation is an epoch of one step; its clips are not looked at
train_cfg = dict(max_epochs=generations, val_interval=generations)
optim_wrapper = dict(clip_grad=None)  # MMEngine asks for an optimiser; no step is ever made
param_scheduler = []
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(save_optimizer=False, save_param_scheduler=False))
custom_hooks = [
    dict(
        type='EvolutionSearchHook',
        population=24,
        top_k=10,
        mutation={'*': 0.2},
        pareto='macs',
        eval_batches=6,
        arch_dataloader=dict(batch_size=32),
        budget=dict(macs=4e6)),
    dict(type='ReportHook', interval=generations)
]
retrain = None
