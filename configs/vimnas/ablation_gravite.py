# Baseline of Tab. 9a (VIM-NAS): weights and architecture both through the mixed network, as GraViT-E.
#   python tools/search.py configs/vimnas/ablation_gravite.py
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips on 8 GPUs; a step is the
#   mixed network forward and backward twice, with 4 combinations for each tube.
# What comes out: work_dirs/ablation_gravite/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./small_joint.py']
model = dict(backbone=dict(local_weights=None))
custom_hooks = [
    dict(
        type='EntanglementSearchHook',
        weight_mode='mixed',
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
