"""Key map from MMAction2's X3D to a SuperMBConv3D that is pinned to X3D's architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmnas_video.errors import ConfigError

from .backbones import SuperMBConv3D

#: Outside and inside the blocks: MMAction2's name to ours.
OUTER = {
    'conv1_s.conv': 'stem.spatial',
    'conv1_t.conv': 'stem.temporal',
    'conv1_t.bn': 'stem.norm',
    'conv5.conv': 'last',
    'conv5.bn': 'last_norm',
}
INNER = {
    'conv1.conv': 'expand',
    'conv1.bn': 'expand_norm',
    'conv2.conv': 'depthwise',
    'conv2.bn': 'depthwise_norm',
    'conv3.conv': 'project',
    'conv3.bn': 'project_norm',
    'se_module.fc1': 'se.fc1',
    'se_module.fc2': 'se.fc2',
    'downsample.conv': 'shortcut',
    'downsample.bn': 'shortcut_norm',
}
_BLOCK = re.compile(r'layer(\d+)\.(\d+)\.(.+)')


def x3d_state_dict(state: Mapping[str, Tensor], backbone: SuperMBConv3D) -> dict[str, Tensor]:
    """Rename the keys of MMAction2's ``X3D`` for ``backbone``.

    Args:
        state: state dict of the X3D backbone, or of a recognizer with one (keys under ``backbone.``; the others keep
            their names, so a stock ``X3DHead`` fits as it is).
        backbone: pinned to the same architecture; tells how the blocks of a stage are spread over groups.

    Raises:
        ConfigError: a key that is not X3D's, or more blocks in a stage than the backbone has.
    """
    places: dict[int, list[str]] = {}
    for i, group in enumerate(backbone.group_specs):
        places.setdefault(int(group.stage[1:]), []).extend(f'groups.{i}.blocks.{b}' for b in range(group.blocks))
    whole_model = any(key.startswith('backbone.') for key in state)
    renamed = {}
    for key, value in state.items():
        if whole_model and not key.startswith('backbone.'):
            renamed[key] = value
            continue
        prefix = 'backbone.' if whole_model else ''
        renamed[prefix + _rename(key[len(prefix) :], places)] = value
    return renamed


def _rename(key: str, places: Mapping[int, list[str]]) -> str:
    block = _BLOCK.fullmatch(key)
    name, _, leaf = (block[3] if block else key).rpartition('.')
    table = INNER if block else OUTER
    if name not in table:
        raise ConfigError(f"checkpoint: found the key {key!r}, expected the keys of MMAction2's X3D")
    if not block:
        return f'{table[name]}.{leaf}'
    stage, number = int(block[1]), int(block[2])
    if number >= len(places.get(stage, ())):
        raise ConfigError(
            f'checkpoint: found block {number + 1} in stage {stage}, expected '
            f'{len(places.get(stage, ()))} blocks there (backbone.stages, backbone.depth_scale)'
        )
    return f'{places[stage][number]}.{table[name]}.{leaf}'
