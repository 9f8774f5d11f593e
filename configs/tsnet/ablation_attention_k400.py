# Training for Tab. 8: Manual-TSNet-70 % with the attention that ablation_attention_k100.py has found.
#   python tools/train.py configs/tsnet/ablation_attention_k400.py
#   python tools/test.py configs/tsnet/ablation_attention_k400.py \
#     work_dirs/ablation_attention_k400/epoch_300.pth
# Needs work_dirs/ablation_attention_k100/search/arch.json from ablation_attention_k100.py (or --cfg-options
#   model.backbone.arch=...).
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips. The paper's network: 8.15 M, 2.40 G, 73.6 %.
# What comes out: work_dirs/ablation_attention_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 1 centre
#   crop at 160 x 160.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(backbone=dict(arch='work_dirs/ablation_attention_k100/search/arch.json'))
