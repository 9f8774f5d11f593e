"""The picture of two streams says what the arch says: each stream's blocks, what joins them where, and attention."""

import random

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mmnas_video.space import (
    ATTENTION_SITES,
    DENSE_STAGES,
    FUSIONS,
    SPARSE_STAGES,
    STREAMS,
    SearchSpace,
    mbconv3d_groups,
    mbconv3d_space,
    tsnet_space,
)
from mmnas_video.visualization import describe_streams, diagram, read_streams, streams_figure
from mmnas_video.visualization.style import KERNEL_COLOURS
from mmnas_video.visualization.two_streams import FUSION_LABELS
from tests.visualization.artists import by_gid, outside, overlapping_texts, repeated_gids, texts

PUBLISHED = {
    name: mbconv3d_groups(stages, attention_sites=ATTENTION_SITES)
    for name, stages in zip(STREAMS, (SPARSE_STAGES, DENSE_STAGES), strict=True)
}
SPACE = tsnet_space(PUBLISHED)
BLOCKS = {f'{stream}.{g.name}': g.blocks for stream, groups in PUBLISHED.items() for g in groups}
NAMES = [g.name for g in PUBLISHED['sparse']]
SITES = [name for name in SPACE.names if name.startswith('fusion.')]


def arch_of(seed):
    return dict(SPACE.sample(random.Random(seed)))


def draw(arch, **options):
    return streams_figure(read_streams(arch, BLOCKS), **options)


def middle(block):
    return block.get_y() + block.get_height() / 2


@pytest.mark.parametrize('seed', [2, 3])
def test_each_stream_has_its_own_blocks_under_one_another(seed):
    """Rejects: the dense stream drawn with the sparse one's kernels or widths, dense above sparse, groups of one name
    that do not begin under one another, and a legend whose widths are on another scale than the blocks."""
    arch = arch_of(seed)
    figure = draw(arch)
    blocks = by_gid(figure, 'block:')
    assert sorted(blocks) == sorted(f'{stream}.{name}' for stream in STREAMS for name in NAMES)
    units = [block.get_width() / arch[f'{name}.expansion'] for name, block in blocks.items()]
    assert np.ptp(units) < 1e-9 and units[0] > 0
    ratios = [arch[f'{name}.expansion'] for name in blocks]
    scale = [np.ptp(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 4][:2]
    np.testing.assert_allclose(scale, [units[0] * min(ratios), units[0] * max(ratios)])  # of the legend
    for name, block in blocks.items():
        assert to_hex(block.get_facecolor()) == KERNEL_COLOURS[arch[f'{name}.kernel']]
    for name in NAMES:
        sparse, dense = (blocks[f'{stream}.{name}'] for stream in STREAMS)
        assert sparse.get_x() == dense.get_x() and sparse.get_y() > dense.get_y() + dense.get_height()


@pytest.mark.parametrize('seed', [2, 3, 5])
def test_an_arrow_stands_wherever_the_dense_stream_joins(seed):
    """Rejects: an arrow for 'none', one that points from sparse to dense, one before its group or after the next, and a
    kind drawn as another."""
    arch = arch_of(seed)
    figure = draw(arch)
    joined = {name.removeprefix('fusion.'): arch[name] for name in SITES if arch[name] != 'none'}
    arrows, kinds, blocks = (by_gid(figure, f'{kind}:') for kind in ('fusion', 'kind', 'block'))
    assert list(arrows) == list(kinds) == list(joined) and 0 < len(joined) < len(SITES)
    words = {(round(t.get_position()[0], 6), round(t.get_position()[1], 6)): t.get_text() for t in figure.axes[0].texts}
    for name, kind in joined.items():
        (x, low), (x_end, high) = arrows[name]._posA_posB
        sparse, dense = (blocks[f'{stream}.{name}'] for stream in STREAMS)
        assert x == x_end and low == middle(dense) and high == pytest.approx(middle(sparse), abs=0.03) and low < high
        following = blocks[f'sparse.{NAMES[NAMES.index(name) + 1]}']
        same_row = following.get_y() == sparse.get_y()
        assert max(b.get_x() + b.get_width() for b in (sparse, dense)) < x
        assert not same_row or x < following.get_x()
        short, _, colour = FUSION_LABELS[kind]
        label = kinds[name].get_bbox()
        assert {to_hex(arrows[name].get_edgecolor()), to_hex(kinds[name].get_facecolor())} == {colour}
        assert words[round((label.x0 + label.x1) / 2, 6), round((label.y0 + label.y1) / 2, 6)] == short


def test_a_fusion_between_two_rows_is_drawn():
    """Rejects: an arrow that is lost where the picture goes on in a new row, and a head after each row."""
    arch = {**SPACE.largest, **dict.fromkeys(SITES, 'time_to_channel')}
    figure = draw(arch)
    assert len({block.get_y() for block in by_gid(figure, 'block:sparse').values()}) > 1
    assert list(by_gid(figure, 'fusion:')) == NAMES[:-1] and texts(figure).count('head') == 1


@pytest.mark.parametrize('seed', [2, 3])
def test_a_star_stands_after_the_groups_with_attention_of_its_own_stream(seed):
    """Rejects: both streams starred for one's attention, and a star in the other stream."""
    arch = arch_of(seed)
    figure = draw(arch)
    stars, blocks = by_gid(figure, 'star:'), by_gid(figure, 'block:')
    expected = {f'{s}.{n}' for s in STREAMS for n in NAMES if arch[f'{s}.{n}.attention'] != 'none'}
    assert set(stars) == expected and 0 < len(expected) < 12
    assert {name.removeprefix('sparse.') for name in expected} != {name.removeprefix('dense.') for name in expected}
    for name, star in stars.items():
        block, place = blocks[name], NAMES.index(name.partition('.')[2])
        x, y = star.get_xdata()[0], star.get_ydata()[0]
        assert y == middle(block) and x > block.get_x() + block.get_width()
        after = [blocks[f'sparse.{n}'] for n in NAMES[place + 1 :]]
        assert all(x < b.get_x() for b in after if abs(b.get_y() - blocks[f'sparse.{NAMES[place]}'].get_y()) < 1e-9)


@pytest.mark.parametrize('arch', [arch_of(2), arch_of(7), SPACE.smallest, SPACE.largest])
def test_it_can_be_read(arch):
    """Rejects: words on words (labels of narrow blocks, fusions, repeats, the legend), and what is cut off."""
    figure = draw(arch, frames={'sparse': 4, 'dense': 32}, title='The chosen network: 2,031.47 M MACs')
    assert not outside(figure) and not overlapping_texts(figure) and not repeated_gids(figure)
    assert {'sparse\n4 frames', 'dense\n32 frames', 'head'} <= set(texts(figure))


def test_the_channels_fit_into_the_narrowest_block():
    """Rejects: three digits in the font of the wider blocks of a single chain, which reach out of an expansion of
    1.5."""
    arch = {**SPACE.largest, **{f'{stream}.{name}.expansion': 1.5 for stream in STREAMS for name in NAMES}}
    figure = draw(arch)
    renderer, blocks = figure.canvas.get_renderer(), by_gid(figure, 'block:sparse.s4')
    words = [text for text in figure.axes[0].texts if text.get_text() == '344']
    assert len(words) == len(blocks) == 3
    for text, block in zip(words, blocks.values(), strict=True):
        # A text's extent is in whole pixels in some releases of matplotlib.
        inner, outer = text.get_window_extent(renderer), block.get_window_extent(renderer).padded(0.5)
        assert outer.x0 < inner.x0 and inner.x1 < outer.x1 and outer.y0 < inner.y0 and inner.y1 < outer.y1


def test_one_stream_alone():
    """Rejects: an empty second row, arrows from nowhere, and names that are read only where both streams are."""
    space = tsnet_space({'sparse': PUBLISHED['sparse']})
    figure, words = diagram(space.sample(random.Random(3)), {'blocks': BLOCKS, 'frames': {'sparse': 4}})
    assert {name.partition('.')[0] for name in by_gid(figure, 'block:')} == {'sparse'}
    assert not by_gid(figure, 'fusion:') and 'dense' not in ' '.join(texts(figure)) and 'Fusion' not in words
    assert [t for t in texts(figure) if t.startswith('×')] == [f'×{g.blocks}' for g in PUBLISHED['sparse']]


def test_an_unknown_fusion_is_named():
    """Rejects: an error, or no arrow, for a fusion that a fusion module of one's own offers, and one under another's
    name."""
    arch = {**arch_of(2), 'fusion.s2.g1': 'attention_bridge'}
    figure = draw(arch)
    assert 's2.g1' in by_gid(figure, 'fusion:') and 'attention_bridge' in texts(figure)
    assert set(FUSION_LABELS) == set(FUSIONS) - {'none'}
    assert {kind: label[:2] for kind, label in FUSION_LABELS.items()} == {
        'time_strided_sampling': ('sample', 'time-strided sampling'),
        'time_strided_conv': ('conv', 'time-strided convolution'),
        'time_to_channel': ('T→C', 'time-to-channel'),
    }


def test_in_words():
    """Rejects: fusions of another site, and a stream's attention told as the other's."""
    arch = {**SPACE.smallest, 'fusion.s1.g2': 'time_strided_conv', 'fusion.s3.g1': 'time_strided_conv'}
    arch['sparse.s3.g2.attention'] = 'glore'
    words = describe_streams(read_streams(arch))
    assert 'Fusion: time-strided convolution after s1.g2, s3.g1; none at 8 of 10 places.' in words
    sparse, dense = words.split('Dense stream: ')
    assert sparse.startswith('Sparse stream: Kernels') and 'GloRe after s3.g2' in sparse and 'GloRe' not in dense


def test_other_spaces_have_no_streams():
    """Rejects: AutoX3D's single chain drawn as a stream, or streams as a chain."""
    groups = mbconv3d_groups()
    chain = mbconv3d_space(groups).smallest
    assert read_streams(chain) == () == read_streams({'fusion.s1.g1': 'none', 'sparse.depth': 3})
    assert not by_gid(diagram(chain)[0], 'head') and by_gid(diagram(arch_of(2))[0], 'head')
    renamed = SearchSpace.union('x', mbconv3d_space(groups).prefixed('slow.'))
    assert diagram(renamed.smallest) is None
