"""Blocks that several backbones share."""

from .fusion import FusionWindows, SuperFusion, time_to_channel
from .glore import SuperGloRe
from .group import GroupWindows, JoinedInput, MBConv3DGroup
from .mbconv3d import BlockWindows, MBConv3D
from .nonlocal_block import SuperNonLocal
from .p3d_cell import P3DCell
from .p3d_ops import CONVOLUTIONS, FactorizedReduce, OpOptions, Pool, ReluConvNorm, Skip
from .squeeze_excite import SuperSqueezeExcite, squeeze_width
from .stem import Stem
from .tube_position import axis_encoding, centres, tube_positions
from .tube_tokenizer import EmbedAt, Tokens, TubeCandidate, TubeTokenizer
from .vit_layer import LayerAt, ViTLayer
from .vit_windows import LayerWindows, ViTAt, ViTWindows

__all__ = [
    'CONVOLUTIONS',
    'BlockWindows',
    'EmbedAt',
    'FactorizedReduce',
    'FusionWindows',
    'GroupWindows',
    'JoinedInput',
    'LayerAt',
    'LayerWindows',
    'MBConv3D',
    'MBConv3DGroup',
    'OpOptions',
    'P3DCell',
    'Pool',
    'ReluConvNorm',
    'Skip',
    'Stem',
    'SuperFusion',
    'SuperGloRe',
    'SuperNonLocal',
    'SuperSqueezeExcite',
    'Tokens',
    'TubeCandidate',
    'TubeTokenizer',
    'ViTAt',
    'ViTLayer',
    'ViTWindows',
    'axis_encoding',
    'centres',
    'squeeze_width',
    'time_to_channel',
    'tube_positions',
]
