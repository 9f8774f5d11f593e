# VIM-NAS's Large space (Tab. 2), otherwise as super_vit_small.py: about 8.7e54 architectures.
_base_ = ['super_vit_small.py']
model = dict(backbone=dict(table='vimnas-large'), cls_head=dict(in_channels=948))
