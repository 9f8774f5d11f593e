"""The shape of the clip whose cost is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from mmnas_video.errors import ConfigError


def clip_shape(shape: Sequence[int], channels: int) -> tuple[int, int, int, int]:
    """``shape`` as (C, T, H, W).

    Raises:
        ConfigError: other dimensions, none of one, or another C than ``channels``.
    """
    if len(shape) != 4 or shape[0] != channels or min(shape) < 1:
        raise ConfigError(f'cost_shape: found {tuple(shape)}, expected (C, T, H, W) with C = {channels}')
    c, t, h, w = shape
    return c, t, h, w
