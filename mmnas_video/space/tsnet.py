"""The space of two-stream networks: two chains of MBConv3D groups, and where and how the dense one joins the sparse.

Source: Auto-TSNet (Gong et al., ICCV 2021), Table 1 (streams), Table 2 (kernels), Sec. 3.2 (fusion), Sec. 5.5.3
(places of attention). Sec. 4.2 counts its parts as 8e24 (sparse), 6e24 (dense and fusion) and 4096 (attention). These
tables enumerate to 3.3e24, 1.4e29 and 4096: docs/papers.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmnas_video.errors import ConfigError, shown

from .choice import Choice, Value
from .mbconv3d import Group, mbconv3d_space
from .space import SearchSpace

STREAMS: tuple[str, ...] = ('sparse', 'dense')
#: Table 1a: per stage the channel range (min, max, step) and the N of its groups.
SPARSE_STAGES: tuple[tuple[tuple[int, int, int], tuple[int, ...]], ...] = (
    ((32, 48, 8), (1, 2)),
    ((64, 88, 8), (1, 4)),
    ((128, 176, 16), (1, 3, 3, 4)),
    ((248, 344, 24), (1, 3, 3)),
)
#: Table 1b.
DENSE_STAGES: tuple[tuple[tuple[int, int, int], tuple[int, ...]], ...] = (
    ((8, 16, 8), (1, 2)),
    ((8, 24, 8), (1, 4)),
    ((16, 32, 8), (1, 3, 3, 4)),
    ((32, 56, 8), (1, 3, 3)),
)
#: Sec. 3.2, which takes them from SlowFast, ordered by what they cost: name -> channels that come out of c.
#: Time-to-channel packs the alpha frames that belong to one sparse frame, so its factor is alpha.
FUSIONS: dict[str, int | None] = {
    'none': 0,
    'time_strided_sampling': 1,
    'time_strided_conv': 2,
    'time_to_channel': None,
}
#: Sec. 5.5.3, "uniformly pick 6 locations at stage 2, 3, and 4": two in each stage, after group ceil(i n / 2) of n.
ATTENTION_SITES: tuple[str, ...] = ('s2.g1', 's2.g2', 's3.g2', 's3.g4', 's4.g2', 's4.g3')


def fusion_sites(groups: Sequence[Group]) -> tuple[str, ...]:
    """Where the dense stream may join the sparse one: after every group but the last."""
    return tuple(group.name for group in groups[:-1])


def fused_channels(fusion: str, channels: int, ratio: int) -> int:
    """Channels that ``fusion`` makes of ``channels`` dense ones, with ``ratio`` dense frames to a sparse one."""
    factor = FUSIONS[fusion]
    return channels * (ratio if factor is None else factor)


def tsnet_space(
    streams: Mapping[str, Sequence[Group]], fusions: Sequence[str] = tuple(FUSIONS), name: str = 'tsnet'
) -> SearchSpace:
    """The space of one or two streams: ``sparse.s1.g1.kernel``, ..., ``dense.s1.g1.kernel``, ..., ``fusion.s1.g1``.

    Args:
        streams: stream name to its groups, in the order of :data:`STREAMS`.
        fusions: what every site offers, names in :data:`FUSIONS`; of no meaning for a single stream.
        name: of the space.

    Raises:
        ConfigError: a fusion that is unknown, or two streams whose groups or strides differ.
    """
    unknown = [fusion for fusion in fusions if fusion not in FUSIONS]
    if unknown or not fusions:
        raise ConfigError(f'backbone.fusions: found {shown(list(fusions))}, expected some of {list(FUSIONS)}')
    parts = [mbconv3d_space(groups).prefixed(f'{stream}.') for stream, groups in streams.items()]
    if len(streams) == 2:
        sparse, dense = ([(group.name, group.stride) for group in groups] for groups in streams.values())
        if sparse != dense:
            raise ConfigError(
                f'backbone.sparse.stages, backbone.dense.stages: found the groups (name, stride) {sparse} and {dense}, '
                'expected the same in both: the dense stream joins the sparse one between groups'
            )
        sites = fusion_sites(next(iter(streams.values())))
        parts.append(SearchSpace(name, [Choice(f'fusion.{site}', tuple(fusions)) for site in sites]))
    return SearchSpace.union(name, *parts)


def stream_values(arch: Mapping[str, Value], stream: str) -> dict[str, Value]:
    """The part of ``arch`` that is one stream's, by the names that the stream itself uses (``s1.g1.kernel``)."""
    prefix = f'{stream}.'
    return {name[len(prefix) :]: value for name, value in arch.items() if name.startswith(prefix)}
