"""Networks: searchable backbones and the blocks they share, registered in MMAction2's MODELS."""

from . import backbones, blocks
from .x3d_weights import x3d_state_dict

__all__ = ['backbones', 'blocks', 'x3d_state_dict']
