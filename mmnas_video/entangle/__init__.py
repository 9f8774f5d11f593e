"""HOW weights are shared: windows of super-weights, and the layers that use them."""

from .conv3d import SuperConv3d, SuperDepthwiseConv3d, strided
from .extract import copy_slices, extract_state, unused_masks
from .norm import SuperBatchNorm3d, batch_statistics, kept_statistics, norm_layers, recalibrate
from .searchable import Searchable, find_searchable
from .window import SHARINGS, Slice, Window, centre_crop, lay_windows, take, whole

__all__ = [
    'SHARINGS',
    'Searchable',
    'Slice',
    'SuperBatchNorm3d',
    'SuperConv3d',
    'SuperDepthwiseConv3d',
    'Window',
    'batch_statistics',
    'centre_crop',
    'copy_slices',
    'extract_state',
    'find_searchable',
    'kept_statistics',
    'lay_windows',
    'norm_layers',
    'recalibrate',
    'strided',
    'take',
    'unused_masks',
    'whole',
]
