"""Blocks that several backbones share."""

from .glore import SuperGloRe
from .group import GroupWindows, MBConv3DGroup
from .mbconv3d import BlockWindows, MBConv3D
from .nonlocal_block import SuperNonLocal
from .squeeze_excite import SuperSqueezeExcite, squeeze_width
from .stem import Stem

__all__ = [
    'BlockWindows',
    'GroupWindows',
    'MBConv3D',
    'MBConv3DGroup',
    'Stem',
    'SuperGloRe',
    'SuperNonLocal',
    'SuperSqueezeExcite',
    'squeeze_width',
]
