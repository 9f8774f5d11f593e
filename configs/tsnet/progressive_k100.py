# Search: Auto-TSNet on Mini-Kinetics-100 in three stages (Auto-TSNet, Sec. 4.2, 5.2, 5.5): the sparse stream, then the
# dense stream and the fusions, then the places of attention. Each inherits weights and choices of the one before.
#   python tools/search.py configs/tsnet/progressive_k100.py
# Cost (computed, not run): 800 + 400 + 200 epochs x 93 steps of 512 clips on 64 GPUs (60,000 clips, of which 48,000
#   train the weights); a step is 13 forward + backward passes and 13 forward passes on 4 clips of each held-out video.
#   The paper: 2.3 + 1.6 + 0.9 days.
# Spaces (computed): 3.3e24 (628,284,400 to 6,281,745,536 MACs), 1.4e29 and 4,096 architectures; with both streams
#   826,270,384 to 15,230,846,356 MACs at 32 x 160 x 160, of which the sparse stream sees 4 frames. docs/papers.md has
#   the paper's sizes beside them.
# What comes out: work_dirs/progressive_k100/search/arch.json (which the trainings take), stages.json (sizes, costs and
#   end entropies of the stages, Tab. 9), report.html, extracted.py, extracted.pth; each stage's own search in
#   1_sparse, 2_dense, 3_attention. sparse_k100.py, dense_k100.py and attention_k100.py run one stage alone.
# The paper's architecture (its Fig. 3) is not in its text; this search finds one of its own.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics100_32x160_search.py',
    '../_base_/schedules/tsnet_search.py', '../_base_/default_runtime.py'
]
model = dict(cls_head=dict(num_classes=100, dropout_ratio=0.0))
custom_hooks = [
    dict(
        type='PARSECSearchHook',
        num_archs=13,
        indicator=dict(type='VideoAccuracy', num_clips=4),
        arch_optimizer=dict(type='Adam', lr=0.025, weight_decay=0)),
    dict(type='ReportHook', interval=10)
]
stages = [
    dict(
        name='sparse',
        opens=['sparse.*'],
        fixes={'*.attention': 'none'},
        epochs=800,
        lr=0.4,
        arch_lr=0.025,
        budget=dict(macs=1.4e9),
        cfg_options={
            'model.backbone.streams': ('sparse', ),
            'model.cls_head.in_channels': 666
        },
        note='paper: 8e24'),
    dict(
        name='dense',
        opens=['dense.*', 'fusion.*'],
        fixes={'dense.*.attention': 'none'},
        epochs=400,
        lr=0.4,
        arch_lr=0.025,
        budget=dict(macs=2.0e9),
        note='paper: 6e24'),
    dict(
        name='attention',
        opens=['*.attention'],
        epochs=200,
        lr=0.4,
        arch_lr=0.025,
        budget=dict(macs=2.5e9),
        note='paper: 4,096')
]
