"""HOW weights are shared: windows of super-weights, and the layers that use them."""

from mmnas_video.space import TubeAt, tube_grid

from .attention import HeadsAt, MixedHeads, SuperAttention, mix_heads
from .conv3d import SuperConv3d, SuperDepthwiseConv3d, strided
from .extract import copy_slices, extract_state, unused_parts
from .inherit import inherit
from .layer_norm import SuperLayerNorm
from .linear import SuperLinear
from .local import LocalWeights, add_local_weights
from .mixture import Mixture, mix_kernels, mix_moves, mix_windows, weigh
from .norm import SuperBatchNorm3d, batch_statistics, kept_statistics, norm_layers, recalibrate
from .recompute import recomputed
from .searchable import Searchable, bare_model, find_searchable, mixtures_uncompiled
from .spread import spread
from .sync_norm import has_synced_norms, rank_statistics, sync_norms
from .tube_embed import TubeEmbed
from .window import (
    SHARINGS,
    JoinedWindow,
    MixedKernel,
    MixedWindow,
    Slice,
    Window,
    centre_crop,
    lay_windows,
    take,
    whole,
)

__all__ = [
    'SHARINGS',
    'HeadsAt',
    'JoinedWindow',
    'LocalWeights',
    'MixedHeads',
    'MixedKernel',
    'MixedWindow',
    'Mixture',
    'Searchable',
    'Slice',
    'SuperAttention',
    'SuperBatchNorm3d',
    'SuperConv3d',
    'SuperDepthwiseConv3d',
    'SuperLayerNorm',
    'SuperLinear',
    'TubeAt',
    'TubeEmbed',
    'Window',
    'add_local_weights',
    'bare_model',
    'batch_statistics',
    'centre_crop',
    'copy_slices',
    'extract_state',
    'find_searchable',
    'has_synced_norms',
    'inherit',
    'kept_statistics',
    'lay_windows',
    'mix_heads',
    'mix_kernels',
    'mix_moves',
    'mix_windows',
    'mixtures_uncompiled',
    'norm_layers',
    'rank_statistics',
    'recalibrate',
    'recomputed',
    'spread',
    'strided',
    'sync_norms',
    'take',
    'tube_grid',
    'unused_parts',
    'weigh',
    'whole',
]
