"""What a picture of a vision transformer shows, read out of an architecture's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from mmnas_video.errors import ConfigError
from mmnas_video.space import QKV_ROUNDINGS, TubeAt, Value, extent, head_dim, tube_grid

Extent = tuple[int, int, int]
#: Beyond these a file holds no network that anybody trains: frames or pixels, layers, channels.
MOST_PIXELS, MOST_LAYERS, MOST_CHANNELS = 4096, 200, 1 << 20


@dataclass(frozen=True)
class LayerGlyph:
    """One layer.

    Attributes:
        heads: number of attention heads.
        head_dim: channels of each; None where it is not known.
        ratio: of the MLP's middle width to the embedding.
    """

    heads: int
    head_dim: int | None
    ratio: float


@dataclass(frozen=True)
class TubeGlyph:
    """One tube in a clip, or in an image of it.

    Attributes:
        number: from 1; the first is the 2-D one.
        at: kernel, stride and offset.
        size: (T, H, W) of what it cuts.
        start: where its first kernel begins.
        counts: tokens along each axis.
    """

    number: int
    at: TubeAt
    size: Extent
    start: Extent
    counts: Extent

    @property
    def tokens(self) -> int:
        """In all."""
        return prod(self.counts)


@dataclass(frozen=True)
class ViTGlyph:
    """A network.

    Attributes:
        embed_dim: channels of a token.
        layers: those that run.
        tubes: those that cut a clip.
        image: the tube that cuts an image of the clip's size; None where all that is cut is an image.
        sized: whether the size of a clip is known; else the tubes are in one that just holds them.
        pool: what the head is given, ``'cls'`` or ``'mean'``; empty where it is not known.
    """

    embed_dim: int
    layers: tuple[LayerGlyph, ...]
    tubes: tuple[TubeGlyph, ...]
    image: TubeGlyph | None
    sized: bool
    pool: str = ''

    @property
    def tokens(self) -> int:
        """Of a clip, without the class token."""
        return sum(tube.tokens for tube in self.tubes)


def read_vit(arch: Mapping[str, Value], described: Mapping[str, Any]) -> ViTGlyph | None:
    """The network that an arch of a :func:`~mmnas_video.space.vit_space` is; None if it is none.

    Args:
        arch: choice name -> value.
        described: ``shape``, ``clamp_offsets``, ``head_dim``, ``qkv_rounding`` and ``pool`` where known, see
            :meth:`SuperViT.describe <mmnas_video.models.backbones.SuperViT.describe>`.
    """
    depth, embed = arch.get('depth'), arch.get('embed_dim')
    if not (_whole(depth, MOST_LAYERS) and _whole(embed, MOST_CHANNELS)):
        return None
    layers = [_layer(arch, f'layer{i}', described) for i in range(1, depth + 1)]
    tubes = []
    while f'tube{len(tubes) + 1}.kernel' in arch:
        tubes.append(_tube(arch, f'tube{len(tubes) + 1}'))
    if not tubes or None in tubes or None in layers:
        return None
    size = _clip(described.get('shape'))
    clamp, used = described.get('clamp_offsets') is True, size or _holding(tubes)
    placed = [_placed(i, at, used, clamp) for i, at in enumerate(tubes, 1)]
    image = _placed(1, tubes[0].flat, (1, *used[1:]), clamp)
    one = used[0] == 1
    pool = described.get('pool')
    return ViTGlyph(
        embed,
        tuple(layers),
        (image,) if one else tuple(placed),
        None if one else image,
        size is not None,
        pool if pool in ('cls', 'mean') else '',
    )


def describe_vit(vit: ViTGlyph) -> str:
    """The network in words: widths, then what each tube cuts."""
    parts = [f'Embedding {vit.embed_dim}, {len(vit.layers)} layers.']
    heads, ratios = [layer.heads for layer in vit.layers], [layer.ratio for layer in vit.layers]
    parts.append(f'Heads: {_counted(heads)}. MLP ratio: {_counted(ratios)}.')
    if all(layer.head_dim for layer in vit.layers):
        parts.append(f'Q-K-V: {_counted([layer.heads * layer.head_dim for layer in vit.layers])}.')
    for tube in vit.tubes:
        places = f', {_tokens(tube)}' if vit.sized else ''
        kernel, stride, offset = (by(values) for values in tube.at)
        parts.append(f'Tube {tube.number}: kernel {kernel}, stride {stride}, offset {offset}{places}.')
    if vit.sized:
        what = 'an image' if vit.image is None else 'a clip'
        parts.append(f'{vit.tokens} tokens of {what} of {by(vit.tubes[0].size)}, and the class token.')
        if vit.image is not None:
            parts.append(f'An image takes tube 1 alone: {_tokens(vit.image)}.')
    return ' '.join(parts)


def by(values: Sequence[int]) -> str:
    """``(8, 12, 12)`` as a reader writes it: ``'8×12×12'``."""
    return '×'.join(map(str, values))


def _tokens(tube: TubeGlyph) -> str:
    return f'{by(tube.counts)} = {tube.tokens} tokens'


def _counted(values: Sequence[float]) -> str:
    """``'8 in 3, 10 in 12 of 15'``, or one value that all have."""
    found = sorted(set(values))
    if len(found) == 1:
        return f'{found[0]:g}'
    return ', '.join(f'{value:g} in {values.count(value)}' for value in found) + f' of {len(values)} layers'


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _layer(arch: Mapping[str, Value], name: str, described: Mapping[str, Any]) -> LayerGlyph | None:
    heads, qkv, ratio = (arch.get(f'{name}.{part}') for part in ('heads', 'qkv', 'mlp_ratio'))
    if not _whole(heads, MOST_CHANNELS) or isinstance(ratio, bool) or not isinstance(ratio, (int, float)):
        return None
    rounding = described.get('qkv_rounding')
    if qkv is None:
        dim = described.get('head_dim')
    elif _whole(qkv, MOST_CHANNELS):
        dim = head_dim(qkv, heads, rounding if rounding in QKV_ROUNDINGS else 'floor')
    else:
        return None
    return LayerGlyph(heads, dim if _whole(dim, MOST_CHANNELS) else None, ratio) if 0 < ratio < 100 else None


def _tube(arch: Mapping[str, Value], name: str) -> TubeAt | None:
    try:
        kernel, stride, offset = (extent(arch.get(f'{name}.{part}')) for part in TubeAt._fields)
    except ConfigError:  # names that look like a tube's, values that do not
        return None
    fits = all(_whole(n, MOST_PIXELS) for n in (*kernel, *stride)) and max(offset) <= MOST_PIXELS
    return TubeAt(kernel, stride, offset) if fits else None


def _clip(shape: object) -> Extent | None:
    """(T, H, W) of a (C, T, H, W) from a file."""
    if not isinstance(shape, (list, tuple)) or len(shape) != 4 or not all(_whole(n, MOST_PIXELS) for n in shape):
        return None
    return shape[1], shape[2], shape[3]


def _holding(tubes: Sequence[TubeAt]) -> Extent:
    """The smallest clip in which every tube has a second place along each axis."""
    ends = [[sum(axis) for axis in zip(*at, strict=True)] for at in tubes]
    t, h, w = map(max, zip(*ends, strict=True))
    return t, h, w


def _placed(number: int, at: TubeAt, size: Extent, clamp: bool) -> TubeGlyph:
    start, counts = tube_grid(size, at, clamp)
    return TubeGlyph(number, at, size, start, counts)
