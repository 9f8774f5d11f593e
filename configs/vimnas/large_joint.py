# Search: VIM-NAS-L on ImageNet, Kinetics-400, Kinetics-600 and Something-Something-V2 together (VIM-NAS, Algorithm 1).
#   python tools/search.py configs/vimnas/large_joint.py
#   python tools/train.py configs/vimnas/large_joint.py        (the same search, without extracting the network at its
#   end)
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips (8 GPUs x 32; 90 % of each training list train the
#   weights, 10 % the architecture), AdamW at 1e-5 and decay 1e-5 (Supp. A: lower for B and L). A step is two sampled
#   networks forward and backward, each with its own local weights and with common ones, then the mixed network with 4
#   combinations for each tube: four times the tokens, so layers are computed again in the backward pass (with_cp) to
#   save memory. At the end each of the open choices is fixed by what the removal of its values costs.
#   The paper: 1 (smallest) to 5 days (largest) on 8 A100.
# Space (computed): about 8.7e54 architectures.
# What comes out: work_dirs/large_joint/search/arch.json, history.jsonl, report.html, and the network with its inherited
#   weights and a head for each dataset: extracted.py, extracted.pth. With any budget, from its checkpoint:
#   configs/vimnas/large_evolution.py.
_base_ = ['./small_joint.py']
model = dict(backbone=dict(table='vimnas-large', with_cp=True), cls_head=dict(common=dict(in_channels=948)))
optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=1e-5))
