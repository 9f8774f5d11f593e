# Search: the dense stream and the fusions on Mini-Kinetics-100 (Auto-TSNet, Sec. 5.5.2), as progressive_k100.py runs
# it, alone.
#   python tools/search.py configs/tsnet/dense_k100.py
# Cost (computed, not run): 400 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 1.6 days. Needs the finished
#   search configs/tsnet/sparse_k100.py (stages[0].previous names its folder).
# What comes out: work_dirs/dense_k100/search/arch.json, report.html, extracted.py, extracted.pth, and in
#   work_dirs/dense_k100/1_dense what attention_k100.py goes on from.
_base_ = ['progressive_k100.py']
stages = [
    dict(
        name='dense',
        previous='work_dirs/sparse_k100',
        opens=['dense.*', 'fusion.*'],
        fixes={'dense.*.attention': 'none'},
        epochs=400,
        lr=0.4,
        arch_lr=0.025,
        budget=dict(macs=2.0e9),
        note='paper: 6e24')
]
