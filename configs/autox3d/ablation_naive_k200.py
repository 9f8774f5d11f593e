# Search for Tab. 4: only output channels and expansions are open, with naive prefix windows.
# The paper found 1.7 G, 70.5 % on Kinetics-400.
#   python tools/search.py configs/autox3d/ablation_naive_k200.py
# Cost (computed, not run): 75,000 steps, as s_k200.py.
# Space (computed): 3.732e18 architectures, 449,993,584 to 8,450,032,688 MACs at 13 x 160 x 160; target 2e9.
# What comes out: work_dirs/ablation_naive_k200/search/arch.json, which s_k400.py trains
#   (--cfg-options model.backbone.arch=work_dirs/ablation_naive_k200/search/arch.json), and in history.jsonl
#   the MACs of the most probable architecture after every epoch (Fig. 4).
_base_ = ['s_k200.py']
model = dict(
    backbone=dict(sharing='prefix', fixed={'*.kernel': 't3_s3', '*.attention': 'none'}))
