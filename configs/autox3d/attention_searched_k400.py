# Training for Tab. 3 ("Automatic"): X3D-S with the attention that attention_search_k200.py has found.
#   python tools/train.py configs/autox3d/attention_searched_k400.py
#   python tools/test.py configs/autox3d/attention_searched_k400.py \
#     work_dirs/attention_searched_k400/epoch_300.pth
# Needs work_dirs/attention_search_k200/search/arch.json.
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips. The paper's network: 2.44 G, 4.1 M, 73.3 %.
# What comes out: work_dirs/attention_searched_k400/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at
#   182 x 182.
_base_ = [
    '../_base_/models/x3d_s_attention.py', '../_base_/datasets/kinetics400_13x160.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(backbone=dict(arch='work_dirs/attention_search_k200/search/arch.json'))
