"""Triton kernels, each beside a plain PyTorch reference that is also what runs on a CPU."""

from .choose import use_triton
from .depthwise import depthwise_conv3d

__all__ = ['depthwise_conv3d', 'use_triton']
