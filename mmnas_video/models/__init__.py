"""Networks: searchable backbones and the blocks they share, registered in MMAction2's MODELS."""

from . import backbones, blocks, heads, necks
from .vit_weights import vit_state_dict
from .x3d_weights import x3d_state_dict

__all__ = ['backbones', 'blocks', 'heads', 'necks', 'vit_state_dict', 'x3d_state_dict']
