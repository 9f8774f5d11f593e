"""Key map from mmpretrain's VisionTransformer (ViT, DeiT) to a SuperViT that is pinned to its architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from mmnas_video.entangle import TubeAt, tube_grid
from mmnas_video.errors import ConfigError

from .backbones import SuperViT
from .blocks import centres, tube_positions

#: Inside a layer: mmpretrain's name to ours.
LAYER = {
    'ln1': 'attention_norm',
    'attn.qkv': 'attention.qkv',
    'attn.proj': 'attention.proj',
    'ln2': 'mlp_norm',
    'ffn.layers.0.0': 'expand',
    'ffn.layers.1': 'project',
}
#: What comes before the layers.
TOKENS = ('patch_embed.projection.weight', 'patch_embed.projection.bias', 'cls_token', 'pos_embed')
_LAYER = re.compile(r'layers\.(\d+)\.(.+)\.(weight|bias)')


def vit_state_dict(state: Mapping[str, Tensor], backbone: SuperViT) -> dict[str, Tensor]:
    """Rename and reshape the weights of mmpretrain's ``VisionTransformer`` for ``backbone``.

    The convolution of the patches goes to every tube: copied to a 2-D tube of its size, else resized in space and
    repeated in time (inflated), so that a still clip gives a tube of its size what the patch gave. What the class token
    is given as its position is added to it. The positions of the patches are learned there and fixed here: with
    ``patch_grid`` their difference becomes the backbone's learned positions, and images give the same features; without
    it they are dropped.

    To start a supernet of which the network is a point, give the result to :func:`~mmnas_video.entangle.inherit`.

    Args:
        state: state dict of the ViT, or of mmpretrain's image classifier with one (its linear head then becomes that
            of MMAction2's ``TimeSformerHead``).
        backbone: pinned to the same depth and widths; any tubes.

    Raises:
        ConfigError: a key that is not the ViT's, or weights of another size.
    """
    assert backbone.space.size == 1, 'the map goes to a pinned network; see entangle.inherit'
    whole_model = any(key.startswith('backbone.') for key in state)
    prefix = 'backbone.' if whole_model else ''
    renamed = {
        f'cls_head.fc_cls.{leaf}': state[f'head.layers.head.{leaf}']
        for leaf in ('weight', 'bias')
        if f'head.layers.head.{leaf}' in state
    }
    strange = [key for key in state if not key.startswith((prefix, 'head.layers.head.', 'data_preprocessor.'))]
    own = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    lacking = [key for key in TOKENS if key not in own]
    if strange or lacking:
        found = f'the key {strange[0]!r}' if strange else f'no {lacking[0]!r}'
        raise ConfigError(
            f"checkpoint: found {found}, expected the keys of mmpretrain's VisionTransformer with at most a linear head"
        )
    mapped = {**_tokenizer(own, backbone), **_layers(own, backbone)}
    expected = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    for key, shape in expected.items():
        if key not in mapped or tuple(mapped[key].shape) != shape:
            found = tuple(mapped[key].shape) if key in mapped else 'none'
            raise ConfigError(f'checkpoint: found {found} for {key}, expected {shape} (backbone.arch)')
    return {**renamed, **{prefix + key: mapped[key] for key in expected}}


def _layers(state: Mapping[str, Tensor], backbone: SuperViT) -> dict[str, Tensor]:
    heads, dim = backbone.layers[0].attention.qkv.weight.shape[1:3]
    mapped = {}
    for key, value in state.items():
        if key in ('cls_token', 'pos_embed') or key.startswith('patch_embed.'):
            continue
        layer = _LAYER.fullmatch(key)
        if key in ('ln1.weight', 'ln1.bias'):
            mapped[f'norm.{key[len("ln1.") :]}'] = value
        elif layer and layer[2] in LAYER and int(layer[1]) < len(backbone.layers):
            name = LAYER[layer[2]]
            if name == 'attention.qkv' and value.shape[0] == 3 * heads * dim:
                value = value.view(3, heads, dim, *value.shape[1:])
            elif name == 'attention.proj' and layer[3] == 'weight' and value.shape[1] == heads * dim:
                value = value.view(-1, heads, dim)
            mapped[f'layers.{layer[1]}.{name}.{layer[3]}'] = value
        else:
            raise ConfigError(
                f"checkpoint: found the key {key!r}, expected those of mmpretrain's VisionTransformer of "
                f'{len(backbone.layers)} layers, without layer scale or a distillation token'
            )
    return mapped


def _tokenizer(state: Mapping[str, Tensor], backbone: SuperViT) -> dict[str, Tensor]:
    kernel, positions = state['patch_embed.projection.weight'], state['pos_embed']
    mapped = {'tokenizer.cls_token': state['cls_token'] + positions[:, :1]}
    for i in range(len(backbone.tokenizer.tubes)):
        size = backbone.windows.tube(i, backbone.space.largest).kernel
        mapped[f'tokenizer.tubes.{i}.weight'] = inflated(kernel, size).flatten(2)
        mapped[f'tokenizer.tubes.{i}.bias'] = state['patch_embed.projection.bias']
    learned = backbone.tokenizer.patch_position
    if learned is not None:
        rows, columns, width = learned.shape[1:]
        if positions.shape[1] - 1 != rows * columns:
            raise ConfigError(
                f'backbone.patch_grid: found ({rows}, {columns}), expected a grid of the {positions.shape[1] - 1} '
                'patches of the checkpoint'
            )
        at, (height, wide) = backbone.windows.tube(0, backbone.space.largest), kernel.shape[2:]
        fixed = _fixed(at, (rows * height, columns * wide), (rows, columns), width, positions)
        mapped['tokenizer.patch_position'] = positions[:, 1:].view(1, rows, columns, -1) - fixed
    return mapped


def _fixed(at: TubeAt, size: tuple[int, int], grid: tuple[int, int], dim: int, like: Tensor) -> Tensor:
    """``(1, rows, columns, dim)``: what the 2-D tube's tokens have on the image that the checkpoint was trained on."""
    start, counts = tube_grid((1, *size), at.flat)
    if counts[1:] != grid:
        raise ConfigError(
            f'backbone.patch_grid: found {grid}, expected the {counts[1:]} tokens that tube 1 gives for the '
            f"checkpoint's images of {size[0]}x{size[1]} pixels"
        )
    places = [centres(n, k, s, o) for n, k, s, o in zip(counts, at.kernel, at.stride, start, strict=True)]
    return tube_positions(places, dim, like)


def inflated(kernel: Tensor, size: tuple[int, int, int]) -> Tensor:
    """``(D, C, h, w)`` to ``(D, C, T, H, W)``: resized in space, repeated in time, outputs at the same scale."""
    t, h, w = size
    if tuple(kernel.shape[2:]) != (h, w):
        area = kernel.shape[2] * kernel.shape[3]
        kernel = F.interpolate(kernel, (h, w), mode='bicubic', align_corners=False, antialias=True) * (area / (h * w))
    return (kernel / t)[:, :, None].expand(-1, -1, t, -1, -1).contiguous()
