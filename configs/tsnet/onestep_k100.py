# Search: Auto-TSNet on Mini-Kinetics-100 in one step, everything open at once (Auto-TSNet, Sec. 5.7, Tab. 9): what the
# progressive search is compared with.
#   python tools/search.py configs/tsnet/onestep_k100.py
# Cost (computed, not run): 1400 epochs x 93 steps of 512 clips on 64 GPUs. The paper: 6.5 days, without its epochs;
#   1400 are those of the three stages together, and fit its days (0.9 days for 200 with both streams).
# Space (computed): 1.9e57 architectures, 826,270,384 to 15,230,846,356 MACs at 32 x 160 x 160; target 2.5e9.
# What comes out: work_dirs/onestep_k100/search/arch.json, stages.json (end entropy, Tab. 9), report.html, extracted.py,
#   extracted.pth.
_base_ = ['progressive_k100.py']
stages = [
    dict(
        name='all', opens=['*'], epochs=1400, lr=0.4, arch_lr=0.025, budget=dict(macs=2.5e9), note='paper: 2e53')
]
