# VIM-NAS's fine-tuning of a found network (Tab. 7: 40 epochs), otherwise as vimnas_joint_500e.py. Ours, because the
#   paper does not say: a warm-up of 2 epochs, the share that 20 are of 500; docs/papers.md.
# The weights (`load_from`) have to be those of this network, else the run stops before its first step; heads of other
#   datasets are left out.
_base_ = ['vimnas_joint_500e.py']
epochs = 40
warm_up = 2
train_cfg = dict(max_epochs=epochs, val_interval=5)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=warm_up,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=epochs - warm_up, eta_min_ratio=0.01, by_epoch=True, begin=warm_up, end=epochs,
        convert_to_iter_based=True)
]
custom_hooks = [dict(type='FineTuneHook', unused=['cls_head.*'])]
