# VIM-NAS's Tiny space (Tab. 2), otherwise as super_vit_small.py: about 9.3e39 architectures.
_base_ = ['super_vit_small.py']
model = dict(backbone=dict(table='vimnas-tiny'), cls_head=dict(in_channels=240))
