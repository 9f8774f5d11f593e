# Baseline of Tab. 9a (VIM-NAS): cyclic sharing of weights and uniform sampling, as ViTAS.
#   python tools/search.py configs/vimnas/ablation_vitas.py
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips on 8 GPUs; a step is one sampled network. At
#   the end 1,000 random networks are scored, each on 64 held-out batches (2,048 clips) of each set.
# What comes out: work_dirs/ablation_vitas/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./small_joint.py']
model = dict(backbone=dict(sharing='fair', local_weights=None))
custom_hooks = [
    dict(type='UniformSearchHook', candidates=1000, score_batches=64, freeze_unsampled=True),
    dict(type='ReportHook')
]
