# VIM-NAS's retraining of a found network from scratch (Tab. 7: 300 epochs), otherwise as vimnas_joint_500e.py.
_base_ = ['vimnas_joint_500e.py']
epochs = 300
warm_up = 20
train_cfg = dict(max_epochs=epochs, val_interval=10)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=warm_up,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=epochs - warm_up, eta_min_ratio=0.01, by_epoch=True, begin=warm_up, end=epochs,
        convert_to_iter_based=True)
]
