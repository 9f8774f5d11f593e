# Baseline of Tab. 9a (VIM-NAS): ordinal sharing of weights and uniform sampling, as AutoFormer.
#   python tools/search.py configs/vimnas/ablation_autoformer.py
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips on 8 GPUs; a step is one sampled network. At
#   the end 1,000 random networks are scored, each on 64 held-out batches (2,048 clips) of each set.
# What comes out: work_dirs/ablation_autoformer/search/arch.json, history.jsonl, report.html, extracted.py,
#   extracted.pth.
_base_ = ['./small_joint.py']
model = dict(backbone=dict(local_weights=None))
custom_hooks = [
    dict(type='UniformSearchHook', candidates=1000, score_batches=64, freeze_unsampled=True),
    dict(type='ReportHook')
]
