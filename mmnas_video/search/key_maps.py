"""Weights of other libraries' networks as ours: for what a training or a search starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.models import vit_state_dict, x3d_state_dict
from mmnas_video.models.backbones import SuperMBConv3D, SuperViT


class KeyMap(NamedTuple):
    """The backbone that has such a network as a point, and what renames its weights."""

    backbone: type[nn.Module]
    rename: Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]


#: Whose network a file is of, as ``keys`` of a hook says it. DeiT is a VisionTransformer too.
KEY_MAPS = {
    'mmpretrain.VisionTransformer': KeyMap(SuperViT, vit_state_dict),
    'mmaction.X3D': KeyMap(SuperMBConv3D, x3d_state_dict),
}


def check_keys(keys: str | None, option: str) -> None:
    """Refuse a network that there is no map for.

    Raises:
        ConfigError: ``keys`` is none of :data:`KEY_MAPS` and not None.
    """
    if keys is not None and keys not in KEY_MAPS:
        raise ConfigError(f'{option}: found {keys!r}, expected one of {list(KEY_MAPS)}, or None for weights of ours')


def renamed(state: Mapping[str, Tensor], keys: str, model: nn.Module, option: str, path: str) -> dict[str, Tensor]:
    """The weights of another library's network under the names of ``model``, which is pinned to the same one.

    Args:
        state: its state dict, or that of its backbone alone.
        keys: one of :data:`KEY_MAPS`.
        model: a recognizer of ours without choices; it may be on the meta device.
        option: what errors call ``keys``.
        path: the file, for errors.

    Raises:
        ConfigError: a model with another backbone or with choices, weights of another network or of another size.
    """
    expected, rename = KEY_MAPS[keys]
    _, backbone = find_searchable(model)
    if not isinstance(backbone, expected) or backbone.space.open:
        found = type(backbone).__name__ + (' with something to choose' if backbone.space.open else '')
        raise ConfigError(
            f'{option}: found {keys!r} with a {found}, expected a {expected.__name__} that is pinned to its '
            'architecture (backbone.arch; a supernet starts from it by InheritHook)'
        )
    if not any(name.startswith('backbone.') for name in state):
        state = {f'backbone.{name}': value for name, value in state.items()}
    try:
        return rename(state, backbone)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error} ({option}={keys!r})') from None
