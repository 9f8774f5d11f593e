"""Searchable backbones, registered in MMAction2's MODELS."""

from .super_mbconv3d import SuperMBConv3D
from .super_p3d import SuperP3D
from .super_tsnet import SuperTSNet
from .super_vit import SuperViT

__all__ = [
    'SuperMBConv3D',
    'SuperP3D',
    'SuperTSNet',
    'SuperViT',
]
