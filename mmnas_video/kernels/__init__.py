"""Triton kernels, each beside a plain PyTorch reference, and convolutions by what is fast on a CPU."""

from .choose import use_triton
from .conv3d import Conv3d, conv3d
from .depthwise import depthwise_conv3d

__all__ = ['Conv3d', 'conv3d', 'depthwise_conv3d', 'use_triton']
