# VIM-NAS's search (Algorithm 1) in its 500 epochs: weights of two uniformly sampled networks with the distribution gap
#   between them (Eq. 3), then alpha through the mixed one with 4 combinations for each tube; at the end choices are
#   fixed by what the removal of their values costs, scored on 32 batches of each set (1,024 clips a video set), which
#   stay in memory, once a machine: 25 GB for the four sets. The 100 steps after each of them have the rate that the
#   cosine has ended with, 1 % of the first. The model needs local weights: backbone=dict(local_weights=dict(groups=2)).
_base_ = ['vimnas_joint_500e.py']
# Official validation is for what was found, after the selection; nothing is chosen by it, so there is none before.
train_cfg = dict(val_begin=10**9)
# Decay would pull the assignments of the local weights towards equal ones.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'local_weights': dict(decay_mult=0.0)}))
custom_hooks = [
    dict(
        type='EntanglementSearchHook',
        weight_mode='sampled',
        arch_mode='mixed',
        sampling='uniform',
        distribution_gap=1.0,
        drawn={'tube*': 4},
        warmup_epochs=20,
        selection='perturbation',
        score_batches=4,
        eval_batches=32,
        tune_iters=100),
    dict(type='ReportHook')  # an epoch takes hours
]
