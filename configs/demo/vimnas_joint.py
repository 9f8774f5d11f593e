# Search: VIM-NAS's kinds of choices (transformer and tubes) on the generated image, scene and motion sets together, for
# 2 CPU cores (VIM-NAS, Algorithm 1).
#   python tools/search.py configs/demo/vimnas_joint.py
#   python tools/train.py configs/demo/vimnas_joint.py        (the same search, without extracting the network at its
#   end)
# Cost: 24 epochs x 104 steps of 16 clips (720 images, 360 scenes and 600 motions train the weights, 240, 120 and 200
#   held-out ones the architecture): images alone for 8 epochs, and the architecture from epoch 21 on, through the
#   mixed network with 2 combinations for each tube; then 23 choices are fixed. About 3 minutes on 2 idle cores. Needs
#   python tools/data/make_demo.py once.
# Space (computed): 3.87e9 architectures, 435,384 to 24,723,840 MACs of the backbone at 8 x 32 x 32; no budget.
# What comes out: work_dirs/vimnas_joint/search/{arch.json,history.jsonl,report.html,extracted.py,extracted.pth}: one
#   network for all three sets with its inherited weights and a head for each. Its top-1 on each test set:
#   python tools/test.py work_dirs/vimnas_joint/search/extracted.py work_dirs/vimnas_joint/search/extracted.pth
#   (seen once: image 0.60, scene 0.59, motion 0.40, where chance is 0.125). At another cost, from its checkpoint:
#   configs/demo/vimnas_evolution.py. All of it in one, beside random networks: python tools/demo_vimnas.py
_base_ = ['../_base_/models/super_vit_demo.py', '../_base_/datasets/vimnas_demo.py']
epochs = 24
model = dict(
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='motion', topk=(1, ),
        common=dict(type='TimeSformerHead', in_channels=64, average_clips='prob')))
train_dataloader = dict(
    dataset=dict(held_out=dict(fraction=0.25, part='train')),
    # Not by the numbers of clips as in the paper: images and scenes are learned in a few hundred steps, motion is not.
    batch_sampler=dict(
        first=dict(dataset='image', share=1 / 3), weights=dict(image=0.2, scene=0.15, motion=0.65)))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=5e-2),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=epochs - 2, eta_min_ratio=0.01, by_epoch=True, begin=2, end=epochs,
        convert_to_iter_based=True)
]
custom_hooks = [
    dict(
        type='EntanglementSearchHook',
        drawn={'tube*': 2},
        arch_dataloader=dict(batch_size=8),
        warmup_epochs=20,
        arch_optimizer=dict(type='Adam', lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3),
        selection='perturbation',
        score_batches=2,
        eval_batches=3,
        tune_iters=2,
        tune_lr=1e-4),
    dict(type='ReportHook', interval=epochs)
]
