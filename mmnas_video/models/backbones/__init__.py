"""Searchable backbones, registered in MMAction2's MODELS."""

from .super_mbconv3d import SuperMBConv3D

__all__ = ['SuperMBConv3D']
