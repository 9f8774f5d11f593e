# Search: the sparse stream on Mini-Kinetics-100 (Auto-TSNet, Sec. 5.5.1), as progressive_k100.py runs it, alone.
#   python tools/search.py configs/tsnet/sparse_k100.py
# Cost (computed, not run): 800 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 2.3 days.
# What comes out: work_dirs/sparse_k100/search/arch.json, report.html, extracted.py, extracted.pth, and in
#   work_dirs/sparse_k100/1_sparse what dense_k100.py goes on from.
_base_ = ['progressive_k100.py']
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
        note='paper: 8e24')
]
