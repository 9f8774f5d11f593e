"""The tables of MBConv3D spaces against the paper's figures."""

import json
import math
from pathlib import Path

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.space import (
    AUTOX3D_STAGES,
    EXPANSIONS,
    KERNELS,
    arch_from_json,
    mbconv3d_groups,
    mbconv3d_space,
    narrowed,
)
from tests.helpers import x3d_arch

ROOT = Path(__file__).resolve().parents[2]
ALL = ('none', 'glore', 'nonlocal')


def test_size_is_the_papers():
    """Rejects a missing group, kernel, expansion or width: 11 groups of 6 x 7 x attention, 5² 6² 8⁷ widths,
    exactly.
    """
    two, three = (mbconv3d_space(mbconv3d_groups(attentions=a)) for a in (ALL[:2], ALL))
    assert two.size == 2_772_966_130_520_300_167_135_179_571_200
    assert two.size == (6 * 7 * 2) ** 11 * 5**2 * 6**2 * 8**7
    assert three.size * 2**11 == two.size * 3**11 and f'{three.size:.1e}' == '2.4e+32'  # Sec. 3.5: 2 x 10^32


def test_known_hash():
    """Rejects a change of names, order or types in the published space: every recorded arch file would be
    orphaned.
    """
    assert mbconv3d_space(mbconv3d_groups()).hash == '9268eb5a30ec313d'


def test_table_2():
    """Rejects other widths, block counts or strides than Table 2's."""
    groups = mbconv3d_groups()
    names = [f's{s}.g{g}' for s, n in enumerate((2, 2, 4, 3), 1) for g in range(1, n + 1)]
    assert [g.name for g in groups] == names
    assert [g.blocks for g in groups] == [1, 2, 2, 3, 2, 3, 3, 3, 2, 2, 3]
    assert [g.stride for g in groups] == [2, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1]
    widths = {g.stage: g.channels for g in groups}
    assert widths['s1'] == (12, 16, 20, 24, 28) and widths['s2'] == (24, 32, 40, 48, 56, 64)
    assert widths['s3'] == (48, 60, 72, 84, 96, 108, 120, 132) and widths['s4'] == tuple(range(96, 265, 24))
    assert tuple(1.5 + 0.75 * i for i in range(7)) == EXPANSIONS


def test_kernels_are_ordered_by_taps():
    """Rejects an order of the table in the paper: the first value is what a search calls the smallest."""
    assert list(KERNELS) == ['t1_s3', 't1_s5', 't3_s3', 't5_s3', 't3_s5', 't5_s5']
    assert [t * k * k for t, k in KERNELS.values()] == [9, 25, 27, 45, 75, 125]
    assert all(KERNELS[name] == (int(name[1]), int(name[4])) for name in KERNELS)


def test_choices_of_a_group():
    """Rejects other names or another order: arch files and recorded indices depend on both."""
    space = mbconv3d_space(mbconv3d_groups(attentions=ALL))
    assert space.names[4:8] == ('s1.g2.kernel', 's1.g2.expansion', 's1.g2.channels', 's1.g2.attention')
    assert space['s4.g3.attention'].values == ALL and space['s4.g3.channels'].values[-1] == 264


def test_x3d_is_a_point():
    """Rejects an X3D that is not of the space, and a shipped file that is not X3D."""
    groups = mbconv3d_groups()
    space = mbconv3d_space(groups)
    data = arch_from_json((ROOT / 'configs/autox3d/archs/x3d.json').read_text())
    arch = space.check_file(data)
    assert arch == space.check(x3d_arch(groups))
    assert {(n.split(".")[0], v) for n, v in arch.items() if n.endswith("channels")} == {
        ("s1", 24), ("s2", 48), ("s3", 96), ("s4", 192),
    }  # fmt: skip
    assert {v for n, v in arch.items() if n.endswith('expansion')} == {2.25}
    assert {v for n, v in arch.items() if n.endswith('kernel')} == {'t3_s3'}
    assert {v for n, v in arch.items() if n.endswith('attention')} == {'none'}


@pytest.mark.parametrize('scale', [1, 1.0, 2, 2.2, 0.5])
def test_depth_scale_leaves_the_space_alone(scale):
    """Rejects a scaled network with another space: AutoX3D-L is S's arch file at twice the depth."""
    groups = mbconv3d_groups(depth_scale=scale)
    assert [g.blocks for g in groups] == [math.ceil(g.blocks * scale) for g in mbconv3d_groups()]
    assert mbconv3d_space(groups).hash == mbconv3d_space(mbconv3d_groups()).hash


def test_widths_as_a_list():
    """Rejects a table that only takes ranges: Auto-TSNet's and ablations' widths are lists."""
    groups = mbconv3d_groups([('values', (7, 13, 17), (1, 2)), ((5, 15, 5), (3,))], spatial_strides=(1, 2))
    assert [g.channels for g in groups] == [(7, 13, 17), (7, 13, 17), (5, 10, 15)]
    assert [(g.blocks, g.stride) for g in groups] == [(1, 1), (2, 1), (3, 2)]


def test_narrowed_groups():
    """Rejects groups that keep offering what was fixed: the pinned network would have slices left in it."""
    groups = mbconv3d_groups()
    space = mbconv3d_space(groups)
    left = narrowed(groups, space.fix({'s2.g1.kernel': 't5_s5', 's3.g2.channels': 72}))
    assert left[2].kernels == ('t5_s5',) and left[2].channels == groups[2].channels
    assert left[5].channels == (72,) and left[4] == groups[4]
    pinned = narrowed(groups, space.fix(space.largest))
    assert mbconv3d_space(pinned).size == 1 and [g.blocks for g in pinned] == [g.blocks for g in groups]


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (dict(stages=(((12, 27, 4), (1,)),)), ['stages[0]', '27', 'max = min']),
        (dict(stages=(((12, 28, 4), (1,)), ((9, 3, 3), (1,)))), ['stages[1]', '9', 'max = min']),
        (dict(stages=(((3, 9, 0), (1,)),)), ['stages[0]', 'step 0']),
        (dict(stages=(((3, 9), (1,)),)), ['stages[0]', '(min, max, step)', 'values']),
        (dict(stages=(((3, 9, 3), (1,), (2,)),)), ['stages[0]', '(min, max, step)']),
        (dict(spatial_strides=(2, 2, 2)), ['spatial_strides', '3 strides', '4 stages']),
        (dict(kernels=('t3_s3', 't7_s3')), ['t7_s3', 't5_s5']),
        (dict(attentions=('none', 'se')), ["'se'", "'nonlocal'"]),
        (dict(expansions=()), ['s1.g1.expansion', 'no values']),
    ],
)
def test_a_malformed_table_is_refused(change, parts):
    """Rejects a KeyError or a quietly shortened range; the error names the stage, what it holds and what
    fits.
    """
    with pytest.raises(ConfigError) as error:
        mbconv3d_space(mbconv3d_groups(**change))
    for part in parts:
        assert part in str(error.value)


def test_tables_are_immutable_data():
    """Rejects lists, which one caller could change for all others."""
    hash(AUTOX3D_STAGES), hash(EXPANSIONS), hash(mbconv3d_groups()[3])
    assert json.dumps(AUTOX3D_STAGES)


@pytest.mark.parametrize('factor', [0, -1.0])
def test_depth_scale_must_leave_blocks(factor):
    """Rejects groups without a block, which no error would meet before the first forward pass."""
    with pytest.raises(ConfigError, match='depth_scale: found'):
        mbconv3d_groups(depth_scale=factor)
