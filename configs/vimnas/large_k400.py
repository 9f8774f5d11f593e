# Search: VIM-NAS-L on Kinetics-400 alone (VIM-NAS, Tab. 7, 8a), with Tab. 10's own values.
#   python tools/search.py configs/vimnas/large_k400.py
# Cost (computed, not run): 500 epochs x 845 steps of 256 clips (8 GPUs x 32; 90 % of the training list train the
#   weights, 10 % the architecture), AdamW at 2e-5 and decay 1e-5. A step as in large_joint.py.
# Space (computed): about 8.7e54 architectures.
# What comes out: work_dirs/large_k400/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./small_k400.py']
model = dict(backbone=dict(table='vimnas-large', with_cp=True), cls_head=dict(common=dict(in_channels=948)))
optim_wrapper = dict(optimizer=dict(lr=2e-5, weight_decay=1e-5))
