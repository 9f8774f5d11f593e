# Search: VIM-NAS-T on ImageNet, Kinetics-400, Kinetics-600 and Something-Something-V2 together (VIM-NAS, Algorithm 1).
#   python tools/search.py configs/vimnas/tiny_joint.py
#   python tools/train.py configs/vimnas/tiny_joint.py        (the same search, without extracting the network at its
#   end)
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips (8 GPUs x 32; 90 % of each training list train the
#   weights, 10 % the architecture), AdamW at 1e-3 (ImageNet's). A step is one sampled network forward and
#   backward, then the mixed one with 4 combinations for each tube. At the end each of the open choices is fixed by
#   what the removal of its values costs. The paper: 1 (smallest) to 5 days (largest) on 8 A100.
# Space (computed): about 9.3e39 architectures.
# What comes out: work_dirs/tiny_joint/search/arch.json, history.jsonl, report.html, and the network with its inherited
#   weights and a head for each dataset: extracted.py, extracted.pth. With any budget, from its checkpoint:
#   configs/vimnas/tiny_evolution.py.
_base_ = [
    '../_base_/models/super_vit_tiny.py', '../_base_/datasets/vimnas_joint.py',
    '../_base_/schedules/vimnas_joint_500e.py'
]
model = dict(
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='k400',
        common=dict(type='TimeSformerHead', in_channels=240, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
train_dataloader = dict(dataset=dict(held_out=dict(fraction=0.1, part='train')))
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
        eval_batches=16,
        tune_iters=100,
        tune_lr=1e-5),
    dict(type='ReportHook', interval=50)
]
