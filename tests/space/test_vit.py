"""Tables of vision transformers: what VIM-NAS, AutoFormer and TubeViT print, and what a malformed table is told."""

import random
from itertools import product

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.space import (
    TUBES,
    VITS,
    Choice,
    SearchSpace,
    Tube,
    canonical_vit,
    extent,
    grid,
    head_dim,
    shallow,
    vit_space,
    vit_table,
    vit_tubes,
)

TINY = dict(embed_dims=(7, 11), depths=(1, 3), heads=(2, 3), qkv_dims=(6, 7, 13), mlp_ratios=(1.5, 2.5))
TUBE = dict(kernels=('1x2x3',), strides=('2x2x3',))


def steps(low, high, step):
    return tuple(range(low, high + 1, step))


@pytest.mark.parametrize(
    ('name', 'embed', 'qkv', 'ratios', 'heads', 'depth'),
    [
        ('tiny', (192, 240, 24), (192, 256, 64), (3.5, 4.0), (3, 4, 1), (12, 14, 1)),
        ('small', (324, 444, 60), (324, 444, 60), (3.0, 3.5, 4.0), (5, 7, 1), (14, 14, 1)),
        ('base', (528, 624, 48), (512, 640, 64), (3.0, 3.5, 4.0), (8, 10, 1), (14, 16, 1)),
        ('large', (768, 948, 90), (768, 948, 90), (3.0, 3.5, 4.0), (13, 14, 1), (20, 22, 1)),
    ],
)
def test_vimnas_tables_are_table_2(name, embed, qkv, ratios, heads, depth):
    """Rejects a slip in a table, and Large's tuples read as lowest, highest, step like the others'."""
    table = VITS[f'vimnas-{name}']
    assert (table.embed_dims, table.qkv_dims) == (steps(*embed), steps(*qkv))
    assert (table.mlp_ratios, table.heads, table.depths) == (ratios, steps(*heads), steps(*depth))
    assert table.tubes == 'vimnas' and table.head_dim is None


@pytest.mark.parametrize(('name', 'divide', 'of'), [('tiny', 3, 4), ('small', 3, 9), ('base', 5, 9), ('large', 1, 6)])
def test_pairs_that_divide(name, divide, of):
    """Rejects a table in which no rounding is needed: most pairs of Tab. 2 do not divide."""
    pairs = list(product(VITS[f'vimnas-{name}'].qkv_dims, VITS[f'vimnas-{name}'].heads))
    assert (sum(qkv % heads == 0 for qkv, heads in pairs), len(pairs)) == (divide, of)


def test_vimnas_tubes_are_table_2():
    """Rejects k1 read as 1, 5, ..., 29 (never 32), a 3-D tube of one frame, three 3-D tubes that differ, and
    strides or offsets of other ranges."""
    flat, *deep = TUBES['vimnas']
    assert len(deep) == 3 and len(set(deep)) == 1
    eights = {4 * i for i in range(1, 9)}
    assert [{extent(k)[axis] for k in flat.kernels} for axis in range(3)] == [{1}, eights, eights]
    assert [{extent(k)[axis] for k in deep[0].kernels} for axis in range(3)] == [eights] * 3
    for tube in (flat, deep[0]):
        assert [{extent(s)[axis] for s in tube.strides} for axis in range(3)] == [eights, *[eights - {4}] * 2]
        assert [{extent(o)[axis] for o in tube.offsets} for axis in range(3)] == [
            {0, 2, 4, 6, 8},
            *[{0, 4, 8, 12, 16}] * 2,
        ]
        assert (len(tube.strides), len(tube.offsets)) == (8 * 7 * 7, 5 * 5 * 5)
    assert (len(flat.kernels), len(deep[0].kernels)) == (64, 512)
    assert '32x4x4' in deep[0].kernels  # the example of Sec. 3.2
    assert {k for tube in TUBES['tubevit'][1:] for k in tube.kernels} <= set(deep[0].kernels)


def test_values_are_ordered_by_volume():
    """Rejects an order in which the first kernel is not the smallest, or the last not the largest."""
    volumes = [h * w * t for t, h, w in map(extent, TUBES['vimnas'][1].kernels)]
    assert volumes == sorted(volumes) and TUBES['vimnas'][1].kernels[-1] == '32x32x32'
    assert grid((2, 1), (3,), (5, 1)) == ('1x3x1', '2x3x1', '1x3x5', '2x3x5')


def test_space_of_a_table():
    """Rejects other names or another order (arch files and recorded indices depend on both), layers of the
    smallest depth only, and a Q-K-V choice where the head's width is given."""
    space = vit_space(vit_table(TINY), vit_tubes([TUBE, {**TUBE, 'kernels': ('2x2x3', '3x3x3')}]), 'toy')
    assert space.names == (
        'depth', 'embed_dim', 'tube1.kernel', 'tube1.stride', 'tube1.offset', 'tube2.kernel', 'tube2.stride',
        'tube2.offset', 'layer1.heads', 'layer1.qkv', 'layer1.mlp_ratio', 'layer2.heads', 'layer2.qkv',
        'layer2.mlp_ratio', 'layer3.heads', 'layer3.qkv', 'layer3.mlp_ratio',
    )  # fmt: skip
    assert space.size == 2 * 2 * 2 * (2 * 3 * 2) ** 3
    tied = vit_table({**{k: v for k, v in TINY.items() if k != 'qkv_dims'}, 'head_dim': 5})
    assert 'layer1.qkv' not in vit_space(tied, vit_tubes([TUBE]), 'toy').names


@pytest.mark.parametrize(
    ('rounding', 'expected'), [('floor', (64, 66, 63)), ('nearest', (65, 66, 63)), ('ceil', (65, 66, 64))]
)
def test_rounding_of_a_head(rounding, expected):
    """Rejects rounding to even (65.5 up to 66 under both 'floor' and int(x + 0.5) errors) and a fourth rule."""
    assert tuple(head_dim(qkv, heads, rounding) for qkv, heads in ((324, 5), (396, 6), (444, 7))) == expected
    assert head_dim(131, 2, 'nearest') == 66 and head_dim(133, 2, 'nearest') == 67  # halves go up


@pytest.mark.parametrize('rounding', ['floor', 'nearest', 'ceil'])
def test_canonical_is_one_for_each_network(rounding):
    """Rejects two canonical archs for one network (layers beyond the depth, Q-K-V dimensions that give a head the
    same channels), one for two networks, and a canonical arch that is another network. Against the network
    itself, written out."""
    space = vit_space(vit_table(TINY), vit_tubes([TUBE]), 'toy')

    def network(arch):
        layers = [
            (arch[f'layer{i}.heads'], head_dim(arch[f'layer{i}.qkv'], arch[f'layer{i}.heads'], rounding),
             arch[f'layer{i}.mlp_ratio'])
            for i in range(1, arch['depth'] + 1)
        ]  # fmt: skip
        return arch['embed_dim'], tuple(layers)

    rng = random.Random(0)
    seen: dict = {}
    for _ in range(3000):
        arch = space.sample(rng)
        found = canonical_vit(space, arch, rounding)
        assert found in space and network(found) == network(arch)
        assert canonical_vit(space, found, rounding) == found
        assert seen.setdefault(network(arch), found) == found
    assert len(set(seen.values())) == len(seen)
    equal = {head_dim(q, 2, rounding) for q in TINY['qkv_dims']}
    assert len(equal) < 3 or rounding != 'floor'  # 6 // 2 == 7 // 2: the case occurs


def test_a_bound_on_the_kernels_volume():
    """Rejects a bound on an axis, one that leaves the 2-D tube out, and a kernel of exactly the bound dropped."""
    bounded = vit_tubes('vimnas', 256)
    assert all(h * w * t <= 256 for tube in bounded for t, h, w in map(extent, tube.kernels))
    assert '16x4x4' in bounded[1].kernels and '1x16x16' in bounded[0].kernels and '1x32x12' not in bounded[0].kernels
    assert bounded[1].strides == TUBES['vimnas'][1].strides
    assert vit_tubes('vimnas') == TUBES['vimnas']
    with pytest.raises(ConfigError, match=r'max_kernel_volume: found 63.*at least 64.*tube 2'):
        vit_tubes('vimnas', 63)


@pytest.mark.parametrize(
    ('make', 'parts'),
    [
        (lambda: vit_table('vimnas-giant'), ['backbone.table', 'vimnas-giant', 'vimnas-huge']),
        (lambda: vit_table({**TINY, 'widths': (3,)}), ['backbone.table', 'widths', 'embed_dims']),
        (lambda: vit_table({k: v for k, v in TINY.items() if k != 'heads'}), ['backbone.table', 'heads']),
        (lambda: vit_table({**TINY, 'head_dim': 5}), ['qkv_dims', 'head_dim 5', 'one of them']),
        (lambda: vit_table({**TINY, 'qkv_dims': ()}), ['qkv_dims', 'head_dim None']),
        (lambda: vit_tubes('patch8'), ['backbone.tubes', 'patch8', 'patch16']),
        (lambda: vit_tubes([{'kernels': ('1x2x3',)}]), ['backbone.tubes[0]', 'strides']),
        (lambda: vit_tubes([TUBE, {**TUBE, 'kernels': ('2x3',)}]), ['backbone.tubes[1].kernels', "'2x3'", '8x12x12']),
        (lambda: vit_tubes([{**TUBE, 'kernels': ((1, 2, 3),)}]), ['kernels', '(1, 2, 3)']),
        (lambda: vit_tubes([{**TUBE, 'strides': ('2x0x3',)}]), ['strides', "'2x0x3'", 'positive']),
        (lambda: vit_tubes([{**TUBE, 'kernels': ('2x2x3',)}]), ['first tube', '1xHxW', 'images']),
        (lambda: vit_tubes([]), ['backbone.tubes', 'first tube']),
        (lambda: vit_tubes(['1x16x16']), ['backbone.tubes[0]', '1x16x16', 'kernels=']),
    ],
)
def test_a_malformed_table_is_refused(make, parts):
    """Rejects a TypeError from the middle of a network; the error names the key, what it holds and what fits."""
    with pytest.raises(ConfigError) as error:
        make()
    for part in parts:
        assert part in str(error.value)


def test_offsets_may_be_left_out_and_zero():
    """Rejects a tube that needs an offset, and an offset of zero refused like a stride of zero."""
    (tube,) = vit_tubes([TUBE])
    assert tube == Tube(('1x2x3',), ('2x2x3',), ('0x0x0',))
    assert isinstance(vit_space(vit_table(TINY), [tube], 'toy')['tube1.offset'], Choice)
    assert isinstance(vit_space(VITS['tubevit-base'], TUBES['tubevit'], 'tubevit-base'), SearchSpace)


def test_layers_that_no_depth_has_any_more_are_no_choices():
    """Rejects a depth that is pinned while layers beyond it can be chosen, a layer that is there pinned with them, a
    pinned value that another one replaces, and archs of the wider space that are not read."""
    space = vit_space(vit_table(TINY), vit_tubes([TUBE]), 'x')
    assert shallow(space) == space
    cut = shallow(space.fix({'depth': 1, 'layer3.heads': 3}))
    assert [choice.name for choice in cut.open] == ['embed_dim', 'layer1.heads', 'layer1.qkv', 'layer1.mlp_ratio']
    assert cut.names == space.names and cut['layer3.heads'].values == (3,) and cut['layer2.qkv'].values == (6,)
    arch = {**space.largest, 'depth': 1}
    assert canonical_vit(cut, arch) == canonical_vit(cut, {**arch, 'layer2.qkv': 6})
    with pytest.raises(ConfigError, match=r'here: not an architecture.*embed_dim'):
        canonical_vit(cut, {**arch, 'embed_dim': 8}, source='here')
    with pytest.raises(ConfigError, match='depth'):
        canonical_vit(cut, space.largest)
