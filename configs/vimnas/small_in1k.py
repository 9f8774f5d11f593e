# Search: VIM-NAS-S on ImageNet alone (VIM-NAS, Tab. 7), with Tab. 10's own values.
#   python tools/search.py configs/vimnas/small_in1k.py
# Cost (computed, not run): 500 epochs x 1,126 steps of 1,024 images (8 GPUs x 128; 90 % of the training list train the
#   weights, 10 % the architecture), AdamW at 1e-3 and decay 5e-2. A step as in small_joint.py.
# Space (computed): about 2.6e25 architectures: the transformer and the 2-D tube, which is all that an image
#   takes.
# What comes out: work_dirs/small_in1k/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./tiny_in1k.py']
model = dict(backbone=dict(table='vimnas-small'), cls_head=dict(common=dict(in_channels=444)))
