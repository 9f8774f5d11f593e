# Training for Tab. 3 ("Manual"): X3D-S with GloRe by hand, 2 in stage 2 (after blocks 2, 5).
#   python tools/train.py configs/autox3d/attention_manual_s2_k400.py
#   python tools/test.py configs/autox3d/attention_manual_s2_k400.py \
#     work_dirs/attention_manual_s2_k400/epoch_300.pth
# Cost (computed): 3,926,388 params; 2,564,470,796 MACs at 13 x 160 x 160. The paper: 2.56 G, 3.6 M, 73.0 %.
#   300 epochs x 468 steps of 512 clips (not run).
# What comes out: work_dirs/attention_manual_s2_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at
#   182 x 182.
_base_ = [
    '../_base_/models/x3d_s_attention.py', '../_base_/datasets/kinetics400_13x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(fixed={
        '*.attention': 'none',
        's2.g2.attention': 'glore',
        's2.g5.attention': 'glore'
    }))
