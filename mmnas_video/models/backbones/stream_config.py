"""What a two-stream backbone is told about its streams: defaults, keys, checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmnas_video.errors import ConfigError, refuse_unknown
from mmnas_video.space import DENSE_STAGES, SPARSE_STAGES, STREAMS, Group, mbconv3d_groups

#: What differs between the streams (Table 1); the rest is in docs/papers.md.
STREAM_DEFAULTS: dict[str, dict[str, Any]] = {
    'sparse': dict(stages=SPARSE_STAGES, stem_channels=24, out_channels=666, glore_nodes=(34, 93, 144, 209)),
    'dense': dict(stages=DENSE_STAGES, stem_channels=8, out_channels=126, glore_nodes=(11, 25, 26, 34)),
}
#: What one stream may have for itself (``sparse=dict(...)``): arguments of SuperMBConv3D.
STREAM_KEYS = (
    'stages', 'kernels', 'expansions', 'attentions', 'attention_sites', 'stem_channels', 'stem_temporal_kernel',
    'depth_scale', 'out_channels', 'se_ratio', 'glore_nodes', 'nonlocal_widths', 'drop_path',
)  # fmt: skip
#: What the fusion module may be told by a config.
FUSION_KEYS = ('type', 'merge', 'kernel_size', 'init_cfg')
#: What shapes a stream's table of groups.
TABLE_KEYS = ('kernels', 'expansions', 'attentions', 'attention_sites', 'depth_scale')


def stream_names(streams: Sequence[str]) -> tuple[str, ...]:
    """The streams in their order: both, or one of them."""
    found = (streams,) if isinstance(streams, str) else tuple(streams)
    if not found or sorted(set(found)) != sorted(found) or not set(found) <= set(STREAMS):
        raise ConfigError(f'backbone.streams: found {found}, expected {STREAMS}, or one of them')
    return tuple(name for name in STREAMS if name in found)


def frame_ratio(sparse_frames: int, dense_frames: int) -> int:
    """Alpha, the dense frames to a sparse frame."""
    if sparse_frames < 1 or dense_frames < sparse_frames or dense_frames % sparse_frames:
        raise ConfigError(
            f'backbone.dense_frames: found {dense_frames} frames with backbone.sparse_frames={sparse_frames}, expected '
            'a multiple of the sparse frames: the sparse stream sees every n-th frame of the clip'
        )
    return dense_frames // sparse_frames


def checked(name: str, given: Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any]:
    """``backbone.NAME`` as a dict, none of whose keys is unknown."""
    refuse_unknown(f'backbone.{name}', given, keys)
    return dict(given or {})


@contextmanager
def named(stream: str) -> Iterator[None]:
    """Errors of a stream's own say which stream it is."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f'backbone.{stream}: {error}') from None


def stream_groups(stream: str, cfg: Mapping[str, Any], spatial_strides: Sequence[int]) -> tuple[Group, ...]:
    """A stream's groups, from its part of the config."""
    with named(stream):
        return mbconv3d_groups(cfg['stages'], spatial_strides=spatial_strides, **{key: cfg[key] for key in TABLE_KEYS})
