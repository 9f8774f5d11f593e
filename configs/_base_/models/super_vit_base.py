# VIM-NAS's Base space (Tab. 2), otherwise as super_vit_small.py: about 1.7e50 architectures.
_base_ = ['super_vit_small.py']
model = dict(backbone=dict(table='vimnas-base'), cls_head=dict(in_channels=624))
