"""The shape of the clip whose cost is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmnas_video.errors import ConfigError


def clip_shape(shape: Sequence[int], backbone: Any) -> tuple[int, int, int, int]:
    """``shape`` as (C, T, H, W), of a clip that fits every architecture of the backbone.

    Args:
        shape: as asked.
        backbone: has ``in_channels`` and ``check_clip``.

    Raises:
        ConfigError: other dimensions, none of one, another C than the backbone takes, or a clip that does not fit.
    """
    channels = backbone.in_channels
    if len(shape) != 4 or shape[0] != channels or min(shape) < 1:
        raise ConfigError(f'cost_shape: found {tuple(shape)}, expected (C, T, H, W) with C = {channels}')
    c, t, h, w = shape
    backbone.check_clip((t, h, w))
    return c, t, h, w
