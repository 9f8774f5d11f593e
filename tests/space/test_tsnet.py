"""The tables of two-stream spaces against the paper's figures."""

from pathlib import Path

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.space import (
    ATTENTION_SITES,
    DENSE_STAGES,
    FUSIONS,
    SPARSE_STAGES,
    STREAMS,
    arch_from_json,
    fused_channels,
    fusion_sites,
    mbconv3d_groups,
    stream_values,
    tsnet_space,
)
from mmnas_video.testing import check_space
from tests.helpers import MANUAL_FUSION_SITES, manual_tsnet_arch

ROOT = Path(__file__).resolve().parents[2]
TABLES = dict(zip(STREAMS, (SPARSE_STAGES, DENSE_STAGES), strict=True))


def streams(sites=ATTENTION_SITES, **cfg):
    """Groups of both streams."""
    return {name: mbconv3d_groups(stages, attention_sites=sites, **cfg) for name, stages in TABLES.items()}


def test_sizes_stand_beside_the_papers():
    """Rejects a missing group, width or site. Sec. 4.2 says 8e24 (sparse), 6e24 (dense and fusion), 4096 (attention);
    Table 1 enumerates to 3.3e24, 1.3e23 x 4^10 = 1.4e29 and 4096, exactly.
    """
    plain = {name: tsnet_space({name: groups}).size for name, groups in streams(()).items()}
    assert plain['sparse'] == (6 * 7) ** 11 * 3**2 * 4**2 * 4**4 * 5**3 and f'{plain["sparse"]:.1e}' == '3.3e+24'
    assert plain['dense'] == (6 * 7) ** 11 * 2**2 * 3**2 * 3**4 * 4**3 and f'{plain["dense"]:.1e}' == '1.3e+23'
    assert f'{plain["dense"] * 4**10:.1e}' == '1.4e+29'
    whole = tsnet_space(streams())
    assert whole.size == plain['sparse'] * plain['dense'] * 4**10 * 4096


def test_known_hash():
    """Rejects a change of names, order or types in the published space: every recorded arch file would be orphaned."""
    assert tsnet_space(streams()).hash == '5568f01e84d971bf'


def test_table_1():
    """Rejects other widths, block counts or strides than Table 1's, and streams of different depth."""
    for name, groups in streams().items():
        assert [group.blocks for group in groups] == [1, 2, 1, 4, 1, 3, 3, 4, 1, 3, 3], name
        assert [group.stride for group in groups] == [2, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1], name
    widths = {name: {group.stage: group.channels for group in groups} for name, groups in streams().items()}
    assert widths['sparse']['s1'] == (32, 40, 48) and widths['sparse']['s2'] == (64, 72, 80, 88)
    assert widths['sparse']['s3'] == (128, 144, 160, 176) and widths['sparse']['s4'] == (248, 272, 296, 320, 344)
    assert widths['dense'] == {'s1': (8, 16), 's2': (8, 16, 24), 's3': (16, 24, 32), 's4': (32, 40, 48, 56)}


def test_the_space_as_a_space():
    """Rejects what search methods, arch files and reports could not work with."""
    check_space(tsnet_space(streams()))


def test_names_and_sites():
    """Rejects names without the stream, a fusion after the last group (nothing reads it), and sites in the middle of
    nowhere: two places of attention in each of stages 2 to 4, and S1 +1, S2 +1, S3 +2, S4 +1 fusions by hand.
    """
    space, groups = tsnet_space(streams()), streams()['sparse']
    assert space.names[0] == 'sparse.s1.g1.kernel' and space.names[44] == 'dense.s1.g1.kernel'
    sites = fusion_sites(groups)
    assert space.names[88:] == tuple(f'fusion.{site}' for site in sites) and len(sites) == 10
    assert 's4.g3' not in sites and set(MANUAL_FUSION_SITES) <= set(sites)
    assert [sum(s.startswith(f's{n}') for s in MANUAL_FUSION_SITES) for n in (1, 2, 3, 4)] == [1, 1, 2, 1]
    assert [sum(s.startswith(f's{n}') for s in ATTENTION_SITES) for n in (1, 2, 3, 4)] == [0, 2, 2, 2]
    assert space['sparse.s1.g1.attention'].values == ('none',)
    assert space['dense.s3.g4.attention'].values == ('none', 'glore')


def test_a_single_stream_has_no_fusion():
    """Rejects choices that change nothing."""
    space = tsnet_space({'dense': streams()['dense']})
    assert {name.split('.')[0] for name in space.names} == {'dense'}
    whole = tsnet_space(streams())
    assert all(whole[choice.name] == choice for choice in space)


def test_fusions_are_ordered_by_cost_and_slowfasts_widths():
    """Rejects another number of channels than c, 2c, alpha c, and an order in which the first is not the cheapest."""
    found = [fused_channels(fusion, 7, 8) for fusion in FUSIONS]
    assert found == [0, 7, 14, 56] and next(iter(FUSIONS)) == 'none'


def test_manual_tsnet_70_is_a_point():
    """Rejects a manual network outside the space that it is compared in, and a shipped file that is another network."""
    groups = streams()
    space = tsnet_space(groups)
    arch = space.check(manual_tsnet_arch(groups, {'sparse': (40, 72, 144, 296), 'dense': (8, 16, 24, 56)}))
    data = arch_from_json((ROOT / 'configs/tsnet/archs/manual_70.json').read_text())
    assert space.check_file(data) == arch
    assert sum(arch[f'fusion.{site}'] == 'time_strided_conv' for site in fusion_sites(groups['sparse'])) == 5
    own = stream_values(arch, 'dense')
    assert own['s4.g3.channels'] == 56 and len(own) == 44 and not any(name.startswith('dense') for name in own)


@pytest.mark.parametrize(
    ('call', 'parts'),
    [
        (lambda: tsnet_space(streams(), ('none', 'add')), ['backbone.fusions', 'add', 'time_to_channel']),
        (lambda: tsnet_space(streams(), ()), ['backbone.fusions']),
        (lambda: streams(('s5.g1',)), ['attention_sites', 's5.g1', 's4.g3']),
        (
            lambda: tsnet_space({**streams(), 'dense': streams(spatial_strides=(2, 2, 2, 1))['dense']}),
            ['backbone.dense.stages', "('s4.g1', 1)", "('s4.g1', 2)"],
        ),
    ],
)
def test_a_malformed_space_is_refused(call, parts):
    """Rejects a KeyError, and streams whose features do not fit on each other, which no error would meet before the
    first forward pass.
    """
    with pytest.raises(ConfigError) as error:
        call()
    for part in parts:
        assert part in str(error.value)
