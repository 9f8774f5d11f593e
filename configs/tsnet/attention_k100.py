# Search: the places of attention on Mini-Kinetics-100 (Auto-TSNet, Sec. 5.5.3), as progressive_k100.py runs it, alone.
#   python tools/search.py configs/tsnet/attention_k100.py
# Cost (computed, not run): 200 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 0.9 days. Needs the finished
#   search configs/tsnet/dense_k100.py (stages[0].previous names its folder).
# What comes out: work_dirs/attention_k100/search/arch.json, report.html, extracted.py, extracted.pth, and in
#   work_dirs/attention_k100/1_attention what a further stage could go on from.
_base_ = ['progressive_k100.py']
stages = [
    dict(
        name='attention',
        previous='work_dirs/dense_k100',
        opens=['*.attention'],
        epochs=200,
        lr=0.4,
        arch_lr=0.025,
        budget=dict(macs=2.5e9),
        note='paper: 4,096')
]
