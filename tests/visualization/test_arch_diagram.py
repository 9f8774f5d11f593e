"""The diagram says what the arch says: one block per group, width = expansion, colour = kernel."""

import itertools
import random

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from mmnas_video.space import Choice, mbconv3d_groups, mbconv3d_space
from mmnas_video.visualization.arch_diagram import arch_figure, describe_arch, read_groups
from mmnas_video.visualization.choice_grid import choices_figure
from mmnas_video.visualization.style import KERNEL_COLOURS, kernel_colour, kernel_label, text_on
from tests.visualization.artists import by_gid

GROUPS = mbconv3d_groups(attentions=('none', 'glore', 'nonlocal'))
BLOCKS = {g.name: g.blocks for g in GROUPS}


def _arch(seed):
    return mbconv3d_space(GROUPS).sample(random.Random(seed))


@pytest.mark.parametrize('seed', [2, 3, 5])
def test_width_is_proportional_to_expansion_and_colour_is_the_kernel(seed):
    """Rejects: equal widths, widths by channels, a colour of the neighbour's kernel, a group left out."""
    arch = _arch(seed)
    blocks = by_gid(arch_figure(arch, BLOCKS), 'block:')
    assert list(blocks) == [g.name for g in GROUPS]
    units = [block.get_width() / arch[f'{name}.expansion'] for name, block in blocks.items()]
    assert np.ptp(units) < 1e-9 and units[0] > 0
    for name, block in blocks.items():
        assert to_hex(block.get_facecolor()) == KERNEL_COLOURS[arch[f'{name}.kernel']]


def test_blocks_run_left_to_right_without_overlap_and_stay_in_the_figure():
    """Rejects: order by name as text ('s10' before 's2'), repeats or stars that push blocks together."""
    arch = {}
    for stage, group in itertools.product((2, 10), (1, 2, 3)):
        arch.update({f's{stage}.g{group}.kernel': 't3_s3', f's{stage}.g{group}.expansion': 6.0})
        arch[f's{stage}.g{group}.attention'] = 'glore'
    figure = arch_figure(arch, {name.rpartition('.')[0]: 4 for name in arch})
    width, height = figure.get_size_inches()
    blocks, stars = by_gid(figure, 'block:'), by_gid(figure, 'star:')
    places = [(block.get_y(), block.get_x(), block.get_width()) for block in blocks.values()]
    # The three repeats peep out by 0.045 inches each, then comes the star, about 0.17 inches wide.
    ends = [star.get_xdata()[0] + 0.085 for star in stars.values()]
    assert all(
        star.get_xdata()[0] - 0.085 > x + w + 3 * 0.045 for star, (_, x, w) in zip(stars.values(), places, strict=True)
    )
    for end, (y, _, _), (next_y, next_x, _) in zip(ends, places, places[1:], strict=False):
        assert next_y < y or (next_y == y and end < next_x)
    assert all(x >= 0 and x + w <= width and 0 <= y <= height for y, x, w in places)


def test_a_star_stands_after_every_group_with_attention_and_nowhere_else():
    """Rejects: a star per block, a star for 'none', GloRe and non-local drawn alike."""
    arch = _arch(7)
    with_attention = [g.name for g in GROUPS if arch[f'{g.name}.attention'] != 'none']
    figure = arch_figure(arch, BLOCKS)
    stars, blocks = by_gid(figure, 'star:'), by_gid(figure, 'block:')
    assert list(stars) == with_attention and 0 < len(with_attention) < len(GROUPS)
    fills = {}
    for name, star in stars.items():
        block = blocks[name]
        assert star.get_xdata()[0] > block.get_x() + block.get_width()
        fills.setdefault(arch[f'{name}.attention'], set()).add(star.get_markerfacecolor())
    assert len(fills) == 2 and not set.intersection(*fills.values())


def test_channels_and_repeats_are_written_in_order():
    """Rejects: the middle width (expansion x channels) in the block, repeats of another group."""
    arch = _arch(11)
    written = [t.get_text() for t in arch_figure(arch, BLOCKS).axes[0].texts]
    numbers = [text for text in written if text.isdigit() and text != '6']
    assert numbers == [str(arch[f'{g.name}.channels']) for g in GROUPS]
    assert [t for t in written if t.startswith('×')] == [f'×{g.blocks}' for g in GROUPS]
    stages = dict.fromkeys(g.name.partition('.')[0] for g in GROUPS)
    assert [t for t in written if t.startswith('stage')] == [f'stage {name[1:]}' for name in stages]


def test_what_is_not_searched_is_not_invented():
    """Rejects: a default kernel or ×1 where the arch says nothing (Table 4 searches two factors)."""
    arch = {'s1.g1.expansion': 3.0, 's1.g1.channels': 17, 's1.g2.expansion': 1.5, 's1.g2.channels': 19}
    figure = arch_figure(arch)
    colours = {to_hex(block.get_facecolor()) for block in by_gid(figure, 'block:').values()}
    assert colours.isdisjoint(KERNEL_COLOURS.values())
    assert not [t for t in figure.axes[0].texts if t.get_text().startswith('×')]
    assert 'Kernels' not in describe_arch(read_groups(arch))


def test_description_counts_kernels():
    """Rejects: counts over blocks instead of groups."""
    arch = {f's1.g{i}.kernel': kernel for i, kernel in enumerate(['t3_s5'] * 3 + ['t1_s3'] * 2, start=1)}
    assert '3×5² in 3, 1×3² in 2 of 5 groups' in describe_arch(read_groups(arch, {'s1.g1': 7}))


@pytest.mark.parametrize(
    ('ratios', 'words'), [((1.5, 1.5, 1.5), 'Expansion: 1.5. '), ((3.0, 1.5, 1.5), 'Expansion: 1.5 to 3, mean 2.00. ')]
)
def test_description_of_expansions(ratios, words):
    """Rejects: a range from a value to itself."""
    arch = {f's1.g{i}.expansion': ratio for i, ratio in enumerate(ratios, start=1)}
    assert words in describe_arch(read_groups(arch))


@pytest.mark.parametrize('arch', [{}, {'depth': 11}, {'layer0.heads.extra': 3}, {'a.b.channels': 5}])
def test_other_spaces_have_no_diagram(arch):
    """Rejects: an empty picture for a space that has no groups."""
    assert read_groups(arch) == ()
    with pytest.raises(ValueError, match='expected <stage>'):
        arch_figure(arch)


# Machado, Oliveira and Fernandes (2009), "A physiologically-based model for simulation of color vision
# deficiency", severity 1.0, on linear RGB.
DEFICIENCIES = {
    'none': np.eye(3),
    'protan': [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    'deutan': [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    'tritan': [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def _lab(colour, deficiency):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize('deficiency', DEFICIENCIES)
def test_kernel_colours_can_be_told_apart(deficiency):
    """Rejects: a red-green pair, or the default colour cycle (green and purple: 11 under tritanopia).

    A CIE76 difference of 2.3 is just noticeable; 15 is told apart at a glance.
    """
    for one, other in itertools.combinations(KERNEL_COLOURS.values(), 2):
        assert np.linalg.norm(_lab(one, deficiency) - _lab(other, deficiency)) > 15, (one, other)


@pytest.mark.parametrize('colour', KERNEL_COLOURS.values())
def test_numbers_read_on_their_block(colour):
    """Rejects: white on the light colours. WCAG 2 asks for a contrast of 4.5 for small text."""
    contrast = [(_luminance(c) + 0.05) for c in (colour, text_on(colour))]
    assert max(contrast) / min(contrast) >= 4.2


def _luminance(colour):
    rgb = np.array(to_rgb(colour))
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_kernel_names():
    """Rejects: time and space swapped."""
    assert kernel_label('t3_s5') == '3×5²' and kernel_label('swin') == 'swin'
    assert kernel_colour('swin') not in KERNEL_COLOURS.values()


def test_grid_frames_the_chosen_value_and_shades_by_probability(grid_space):
    """Rejects: the frame on the most probable value instead of the chosen one; a shade that ignores probs."""
    arch = dict(zip(grid_space.names, (13, 192, 9, 3.5), strict=True))
    probs = {'layer0.heads': [0.1, 0.05, 0.55, 0.2, 0.1]}
    figure = choices_figure(grid_space.choices, arch, probs)
    cells, frames = by_gid(figure, 'cell:'), by_gid(figure, 'chosen:')
    assert list(frames) == list(grid_space.names)
    assert frames['layer0.heads'].get_xy() == cells['layer0.heads:3'].get_xy()
    shades = [1 - cells[f'layer0.heads:{i}'].get_facecolor()[0] for i in range(5)]  # less red: a deeper blue
    assert np.argsort(shades, kind='stable').tolist() == [1, 0, 4, 3, 2]
    # without probabilities the chosen cell alone is filled
    shades = [1 - cells[f'embed:{i}'].get_facecolor()[0] for i in range(3)]
    assert shades[0] > 0.8 and max(shades[1:]) < 0.15


def test_a_long_choice_names_the_chosen_value():
    """Rejects: twenty cells without a word."""
    choice = Choice('ratio', tuple(i / 4 for i in range(1, 24)))
    texts = [t.get_text() for t in choices_figure([choice], {'ratio': 4.75}).axes[0].texts]
    assert texts == ['ratio', '4.75']


@pytest.mark.parametrize('seed', [2, 3])
def test_nothing_is_drawn_outside(seed):
    """Rejects: a legend or a last star that is cut off (a small network is narrower than its legend)."""
    attentions = ('glore', 'nonlocal')
    groups = mbconv3d_groups((((12, 28, 4), (1, 2)),), attentions=attentions)
    arch = {
        **mbconv3d_space(groups).sample(random.Random(seed)),
        's1.g1.expansion': 5.25,
        's1.g2.expansion': 6.0,
    }
    arch.update({'s1.g1.attention': 'glore', 's1.g2.attention': 'nonlocal'})
    figure = arch_figure(arch, {g.name: g.blocks for g in groups})
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    for artist in (*figure.axes[0].texts, *figure.axes[0].patches, *figure.axes[0].lines):
        box = artist.get_window_extent(renderer)
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, artist


def test_grid_of_an_arch_from_a_wider_space_has_no_frame(grid_space):
    """Rejects: an error, or the first value framed, for a value that is not offered."""
    frames = by_gid(choices_figure(grid_space.choices, {'depth': 12, 'embed': 240}), 'chosen:')
    assert list(frames) == ['embed']
