"""Spaces of vision transformers as tables of values, and the tubes that cut clips and images into tokens.

Sources: VIM-NAS, Tab. 2 (``vimnas-*``; tuples there are lowest, highest, step, but those of Large lowest, step,
highest; ``vimnas-huge`` is ours, the paper has no column for it); AutoFormer (Chen et al., ICCV 2021), Tab. 1
(``autoformer-*``); TubeViT (Piergiovanni et al., CVPR 2023), Sec. 3 (``tubevit-base`` and its tubes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, NamedTuple

from mmnas_video.errors import ConfigError, refuse_unknown

from .arch import Arch
from .choice import Choice, Value
from .space import SearchSpace

Extent = tuple[int, int, int]
#: How a Q-K-V dimension that its number of heads does not divide becomes a whole number of channels a head.
QKV_ROUNDINGS = ('floor', 'nearest', 'ceil')


def extent(text: str, key: str = 'tubes') -> Extent:
    """(T, H, W) from ``'8x12x12'``, as kernels, strides and offsets are written in tables and arch files."""
    parts = text.split('x') if isinstance(text, str) else []
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ConfigError(f"{key}: found {text!r}, expected frames x rows x columns, such as '8x12x12'")
    t, h, w = (int(part) for part in parts)
    return t, h, w


def grid(t: Sequence[int], h: Sequence[int], w: Sequence[int]) -> tuple[str, ...]:
    """Every combination, ordered by volume."""
    every = sorted(product(t, h, w), key=lambda e: (e[0] * e[1] * e[2], e))
    return tuple('x'.join(map(str, e)) for e in every)


@dataclass(frozen=True)
class Tube:
    """What one tube may be.

    Attributes:
        kernels, strides, offsets: values offered, each ``'TxHxW'`` in frames and pixels.
    """

    kernels: tuple[str, ...]
    strides: tuple[str, ...]
    offsets: tuple[str, ...] = ('0x0x0',)


class TubeAt(NamedTuple):
    """What an architecture makes of a tube: kernel, stride and offset in (T, H, W)."""

    kernel: Extent
    stride: Extent
    offset: Extent

    @property
    def flat(self) -> TubeAt:
        """The tube for a single frame, where temporal stride and offset mean nothing."""
        return TubeAt(self.kernel, (1, *self.stride[1:]), (0, *self.offset[1:]))


def tube_grid(size: Extent, at: TubeAt, clamp: bool = False) -> tuple[Extent, Extent]:
    """Where a tube starts in a clip of ``size`` (T, H, W), and how many tokens it gives along each axis.

    Args:
        size: of the clip.
        at: the tube.
        clamp: start as late as the offset says or as the kernel still fits, whichever is earlier.
    """
    start = tuple(min(o, max(n - k, 0)) if clamp else o for n, k, o in zip(size, at.kernel, at.offset, strict=True))
    counts = tuple(max((n - o - k) // s + 1, 0) for n, k, s, o in zip(size, at.kernel, at.stride, start, strict=True))
    return start, counts  # type: ignore[return-value]


@dataclass(frozen=True)
class ViTTable:
    """What the transformer behind the tokens may be; every layer offers the same.

    Attributes:
        embed_dims, depths: embedding dimension and number of layers, of the whole network.
        heads, mlp_ratios: of a layer; its middle width is ``int(embed_dim * mlp_ratio)``.
        qkv_dims: of a layer, all heads together; empty where each head has ``head_dim`` channels instead.
        head_dim: see ``qkv_dims``.
        tubes: name of the tubes in :data:`TUBES` that the source uses.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    qkv_dims: tuple[int, ...] = ()
    head_dim: int | None = None
    tubes: str = 'patch16'


# Tab. 2 writes k1 = (1, 32, 4), which read as a range would be 1, 5, ..., 29 and never 32: 1 is the 2-D tube, and the
# 3-D tubes have 4, 8, ..., 32 (the text names 32 x 4 x 4). Of strides and offsets every combination is offered.
_SPATIAL = tuple(range(4, 33, 4))
_STRIDES = grid(range(4, 33, 4), range(8, 33, 4), range(8, 33, 4))
_OFFSETS = grid(range(0, 9, 2), range(0, 17, 4), range(0, 17, 4))
_PATCHES = grid((1,), _SPATIAL, _SPATIAL)
_TUBE_3D = Tube(grid(_SPATIAL, _SPATIAL, _SPATIAL), _STRIDES, _OFFSETS)
# To an image a tube's temporal stride and offset mean nothing: those of the text's 2-D patch, s = (32, 16, 16).
_TUBE_IMAGE = Tube(
    _PATCHES, grid((32,), range(8, 33, 4), range(8, 33, 4)), grid((0,), range(0, 17, 4), range(0, 17, 4))
)
_TUBEVIT_3D = (
    Tube(('8x8x8',), ('16x32x32',)),
    Tube(('16x4x4',), ('6x32x32',), ('4x8x8',)),
    Tube(('4x12x12',), ('16x32x32',), ('0x16x16',)),
)
#: Tokenizers; the first tube is the 2-D one (one frame long), which images take too. ``vimnas-image`` is what a search
#: on images alone can tell apart; with TubeViT's 3-D tubes behind it, its architectures take videos.
TUBES: dict[str, tuple[Tube, ...]] = {
    'vimnas': (Tube(_PATCHES, _STRIDES, _OFFSETS), _TUBE_3D, _TUBE_3D, _TUBE_3D),
    'vimnas-image': (_TUBE_IMAGE,),
    'vimnas-image+tubevit': (_TUBE_IMAGE, *_TUBEVIT_3D),
    'tubevit': (Tube(('1x16x16',), ('32x16x16',)), *_TUBEVIT_3D),
    'patch16': (Tube(('1x16x16',), ('1x16x16',)),),
}
_RATIOS = (3.0, 3.5, 4.0)
VITS: dict[str, ViTTable] = {
    'vimnas-tiny': ViTTable((192, 216, 240), (12, 13, 14), (3, 4), (3.5, 4.0), (192, 256), tubes='vimnas'),
    'vimnas-small': ViTTable((324, 384, 444), (14,), (5, 6, 7), _RATIOS, (324, 384, 444), tubes='vimnas'),
    'vimnas-base': ViTTable((528, 576, 624), (14, 15, 16), (8, 9, 10), _RATIOS, (512, 576, 640), tubes='vimnas'),
    'vimnas-large': ViTTable((768, 858, 948), (20, 21, 22), (13, 14), _RATIOS, (768, 858, 948), tubes='vimnas'),
    'vimnas-huge': ViTTable((1104, 1152, 1200), (24, 25, 26), (16,), _RATIOS, (1024, 1152, 1280), tubes='vimnas'),
    'autoformer-tiny': ViTTable((192, 216, 240), (12, 13, 14), (3, 4), (3.5, 4.0), head_dim=64),
    'autoformer-small': ViTTable((320, 384, 448), (12, 13, 14), (5, 6, 7), _RATIOS, head_dim=64),
    'autoformer-base': ViTTable((528, 576, 624), (14, 15, 16), (8, 9, 10), _RATIOS, head_dim=64),
    'tubevit-base': ViTTable((768,), (12,), (12,), (4.0,), head_dim=64, tubes='tubevit'),
}


def vit_table(table: str | Mapping[str, Any] | ViTTable) -> ViTTable:
    """A table by its name in :data:`VITS`, or from a config's mapping of its fields.

    Raises:
        ConfigError: an unknown name or field, or neither or both of ``qkv_dims`` and ``head_dim``.
    """
    if isinstance(table, str):
        if table not in VITS:
            raise ConfigError(f'backbone.table: found {table!r}, expected one of {list(VITS)} or a table of its own')
        return VITS[table]
    if isinstance(table, Mapping):
        known = [field.name for field in fields(ViTTable)]
        refuse_unknown('backbone.table', table, known)
        lacking = [name for name in known[:4] if name not in table]
        if lacking:
            raise ConfigError(f'backbone.table: found no {lacking}, expected {known}')
        table = ViTTable(**{k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in table.items()})
    if bool(table.qkv_dims) == bool(table.head_dim):
        raise ConfigError(
            f'backbone.table: found qkv_dims {list(table.qkv_dims)} and head_dim {table.head_dim}, expected one of them'
        )
    return table


def vit_tubes(tubes: str | Sequence[Any], max_kernel_volume: int | None = None) -> tuple[Tube, ...]:
    """The tubes by their name in :data:`TUBES`, or from a config's list of mappings, without too large kernels.

    Args:
        max_kernel_volume: kernels of more taps (frames x rows x columns) are not offered.

    Raises:
        ConfigError: an unknown name, a malformed tube, a first tube that is longer than one frame, or a tube of which
            no kernel is left.
    """
    if isinstance(tubes, str) and tubes not in TUBES:
        raise ConfigError(f'backbone.tubes: found {tubes!r}, expected one of {list(TUBES)} or a list of tubes')
    made = []
    for number, tube in enumerate(TUBES[tubes] if isinstance(tubes, str) else tubes, 1):
        tube = _tube(tube, f'backbone.tubes[{number - 1}]')
        if max_kernel_volume is not None:
            left = tuple(k for k in tube.kernels if math.prod(extent(k)) <= max_kernel_volume)
            if not left:
                raise ConfigError(
                    f'backbone.max_kernel_volume: found {max_kernel_volume}, expected at least '
                    f'{min(math.prod(extent(k)) for k in tube.kernels)}, the smallest kernel of tube {number}'
                )
            tube = Tube(left, tube.strides, tube.offsets)
        made.append(tube)
    if not made or any(extent(k)[0] != 1 for k in made[0].kernels):
        raise ConfigError(
            'backbone.tubes: found a first tube that is longer than one frame, expected a 2-D one (kernels 1xHxW): '
            'images are cut by it'
        )
    return tuple(made)


def _tube(tube: Any, key: str) -> Tube:
    if isinstance(tube, Mapping):
        if not {'kernels', 'strides'} <= set(tube) <= {'kernels', 'strides', 'offsets'}:
            raise ConfigError(f'{key}: found the keys {list(tube)}, expected kernels, strides and offsets')
        tube = Tube(**{name: tuple(values) for name, values in tube.items()})
    if not isinstance(tube, Tube):
        raise ConfigError(f'{key}: found {tube!r}, expected dict(kernels=(...), strides=(...), offsets=(...))')
    for name in ('kernels', 'strides', 'offsets'):
        for value in getattr(tube, name):
            if min(extent(value, f'{key}.{name}')) < (name != 'offsets'):
                raise ConfigError(f'{key}.{name}: found {value!r}, expected positive numbers')
    return tube


def vit_space(table: ViTTable, tubes: Sequence[Tube], name: str) -> SearchSpace:
    """The space that a table and its tubes span: depth, embedding, then the tubes, then the layers."""
    choices = [Choice('depth', table.depths), Choice('embed_dim', table.embed_dims)]
    for i, tube in enumerate(tubes, 1):
        choices += [
            Choice(f'tube{i}.kernel', tube.kernels),
            Choice(f'tube{i}.stride', tube.strides),
            Choice(f'tube{i}.offset', tube.offsets),
        ]
    for i in range(1, max(table.depths) + 1):
        choices.append(Choice(f'layer{i}.heads', table.heads))
        if table.qkv_dims:
            choices.append(Choice(f'layer{i}.qkv', table.qkv_dims))
        choices.append(Choice(f'layer{i}.mlp_ratio', table.mlp_ratios))
    return SearchSpace(name, choices)


def shallow(space: SearchSpace) -> SearchSpace:
    """The space without anything to choose in layers beyond the largest depth that is left: they keep their first
    values, as in :func:`canonical_vit`. All choices stay, so that archs name what they named."""
    depth = max(space['depth'].values)
    return space.fix({c.name: c.values[0] for c in space if layer_of(c.name) > depth})


def layer_of(name: str) -> int:
    """The layer (from 1) that a choice is of; 0 for none."""
    layer = name.partition('.')[0]
    return int(layer[len('layer') :]) if layer.startswith('layer') else 0


def head_dim(qkv: int, heads: int, rounding: str = 'floor') -> int:
    """Channels of one head; ``heads`` times this is the Q-K-V dimension that a layer really has."""
    if rounding == 'nearest':
        return (2 * qkv + heads) // (2 * heads)
    return -(-qkv // heads) if rounding == 'ceil' else qkv // heads


def canonical_vit(space: SearchSpace, arch: Mapping[str, Value], rounding: str = 'floor', source: str = 'arch') -> Arch:
    """One arch for all that describe the same network.

    Values of layers beyond the depth are the first that are offered, and of two Q-K-V dimensions that give a layer the
    same channels a head, it is the first. What a layer beyond the depth has need not be offered (any more).

    Raises:
        ConfigError: an arch that is not of the space; ``source`` is what errors call it.
    """
    depth = arch.get('depth')
    idle = {c.name: c.values[0] for c in space if depth in space['depth'].values and layer_of(c.name) > depth}
    values = dict(space.check({**arch, **idle}, source))
    for choice in space:
        layer, _, what = choice.name.partition('.')
        if what == 'qkv' and choice.name not in idle:
            heads = values[f'{layer}.heads']
            found = head_dim(values[choice.name], heads, rounding)
            values[choice.name] = next(v for v in choice.values if head_dim(v, heads, rounding) == found)
    return Arch(values)
