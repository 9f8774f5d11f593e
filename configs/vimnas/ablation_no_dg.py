# Ablation of Tab. 9b (VIM-NAS), "NAS on ViT & Tubes" without DG: base_joint.py without the
#   distribution-gap term (Eq. 3).
#   python tools/search.py configs/vimnas/ablation_no_dg.py
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips on 8 GPUs, as base_joint.py; a step is one sampled
#   network and the mixed one.
# Space (computed): about 1.7e50 architectures.
# What comes out: work_dirs/ablation_no_dg/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./base_joint.py']
model = dict(backbone=dict(local_weights=None))
custom_hooks = [
    dict(
        type='EntanglementSearchHook',
        weight_mode='sampled',
        arch_mode='mixed',
        sampling='uniform',
        drawn={'tube*': 4},
        warmup_epochs=20,
        selection='perturbation',
        score_batches=4,
        eval_batches=32,
        tune_iters=100),
    dict(type='ReportHook')
]
