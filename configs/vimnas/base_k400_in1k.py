# Search: VIM-NAS-B on ImageNet and Kinetics-400 together (VIM-NAS, Tab. 8a).
#   python tools/search.py configs/vimnas/base_k400_in1k.py
# Cost (computed, not run): 500 epochs x 5,349 steps of 256 clips (8 GPUs x 32; 90 % of each training list train the
#   weights, 10 % the architecture). A step as in base_joint.py.
# Space (computed): about 1.7e50 architectures.
# What comes out: work_dirs/base_k400_in1k/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./small_k400_in1k.py']
model = dict(backbone=dict(table='vimnas-base', with_cp=True), cls_head=dict(common=dict(in_channels=624)))
optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=1e-5))
