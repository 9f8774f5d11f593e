# Search: VIM-NAS-B on Kinetics-400 alone (VIM-NAS, Tab. 7, 8a, Tab. 8b column 1), with Tab. 10's own values.
#   python tools/search.py configs/vimnas/base_k400.py
# Cost (computed, not run): 500 epochs x 845 steps of 256 clips (8 GPUs x 32; 90 % of the training list train the
#   weights, 10 % the architecture), AdamW at 5e-5 and decay 1e-5. A step as in base_joint.py.
# Space (computed): about 1.7e50 architectures.
# What comes out: work_dirs/base_k400/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./small_k400.py']
model = dict(backbone=dict(table='vimnas-base', with_cp=True), cls_head=dict(common=dict(in_channels=624)))
optim_wrapper = dict(optimizer=dict(lr=5e-5, weight_decay=1e-5))
