# Search: VIM-NAS-B on ImageNet alone (VIM-NAS, Tab. 7, Tab. 8b column 2), with Tab. 10's own values.
#   python tools/search.py configs/vimnas/base_in1k.py
# Cost (computed, not run): 500 epochs x 1,126 steps of 1,024 images (8 GPUs x 128; 90 % of the training list train the
#   weights, 10 % the architecture), AdamW at 1e-5 and decay 5e-2. A step as in base_joint.py.
# Space (computed): about 5.6e28 architectures: the transformer and the 2-D tube, which is all that an image
#   takes.
# What comes out: work_dirs/base_in1k/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./tiny_in1k.py']
model = dict(backbone=dict(table='vimnas-base'), cls_head=dict(common=dict(in_channels=624)))
optim_wrapper = dict(optimizer=dict(lr=1e-5))
