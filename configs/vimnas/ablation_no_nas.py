# Ablation of Tab. 9b (VIM-NAS), "No NAS": TubeViT-B on all four sets together, nothing searched.
#   python tools/train.py configs/vimnas/ablation_no_nas.py
# Cost (computed, not run): 500 epochs x 8,135 steps of 256 clips (8 GPUs x 32; the whole training lists), AdamW at 1e-5
#   and decay 1e-5 as base_joint.py. A step is one network forward and backward: 90,418,046 parameters with
#   the four heads, 51,687,763,968 multiply-adds a clip of 32 frames and 17,563,367,424 an image.
# What comes out: work_dirs/ablation_no_nas/epoch_500.pth; its top-1 and top-5 on each set:
#   python tools/test.py configs/vimnas/ablation_no_nas.py work_dirs/ablation_no_nas/epoch_500.pth
_base_ = ['./base_joint.py']
model = dict(backbone=dict(table='tubevit-base', local_weights=None), cls_head=dict(common=dict(in_channels=768)))
train_dataloader = dict(dataset=dict(held_out=None))
train_cfg = dict(val_begin=1)  # a training is looked at on its way, every 50 epochs
custom_hooks = []
