"""The picture of a vision transformer says what the arch says: each tube's box in the clip, each layer's bars."""

import itertools
import random

import numpy as np
import pytest
import torch

from mmnas_video.models.backbones import SuperViT
from mmnas_video.space import TUBES, VITS, TubeAt, vit_space, vit_table, vit_tubes
from mmnas_video.visualization import diagram, read_vit, vit_figure
from tests.visualization.artists import by_gid, outside, overlapping_texts, repeated_gids, texts

#: Every kind of choice, primes, and pairs of Q-K-V dimension and heads that do not divide.
TABLE = vit_table(
    dict(embed_dims=(7, 11, 13), depths=(2, 3, 5), heads=(2, 3, 5), qkv_dims=(6, 11, 17), mlp_ratios=(1.5, 2.5, 3.0))
)
FLAT = dict(kernels=('1x2x3', '1x5x2'), strides=('2x2x3', '3x3x5'), offsets=('0x0x0', '1x0x2', '0x1x3'))
LONG = dict(kernels=('2x3x5', '5x2x3'), strides=('1x2x7', '3x5x2'), offsets=('0x0x0', '2x1x0', '1x3x2'))
SPACE = vit_space(TABLE, vit_tubes((FLAT, LONG, LONG)), 'toy')
SHAPE = [3, 11, 23, 17]
AXES = 'tyx'


def arch_of(seed):
    return dict(SPACE.sample(random.Random(seed)))


def draw(arch, **described):
    return vit_figure(read_vit(arch, {'shape': SHAPE, **described}))


def numbers(text):
    return np.array([int(part) for part in text.split('x')])


def box(figure, what, panel):
    """(corner, edges along t, y, x) of a drawn box, in inches, from the faces that are seen."""
    front, top = (by_gid(figure, f'{what}:{face}:{panel}')[''].get_xy() for face in ('front', 'top'))
    return front[0], np.array([top[3] - top[0], front[3] - front[0], front[1] - front[0]])


@pytest.mark.parametrize('seed', range(5))
def test_boxes_have_the_extents_and_places_of_the_kernels(seed):
    """Rejects: H and W swapped, frames on the scale of pixels, a box of the stride's size, a box in the corner whatever
    its offset, a neighbour's kernel."""
    arch = arch_of(seed)
    figure = draw(arch)
    for panel in ('tube1', 'tube2', 'tube3'):
        corner, clip = box(figure, 'clip', panel)
        first, edges = box(figure, 'kernel', panel)
        kernel, offset = (numbers(arch[f'{panel}.{part}']) for part in ('kernel', 'offset'))
        per_unit = clip / np.array(SHAPE[1:])[:, None]
        np.testing.assert_allclose(edges, per_unit * kernel[:, None], atol=1e-9)
        np.testing.assert_allclose(first, corner + offset @ per_unit, atol=1e-9)
        assert bool(by_gid(figure, f'offset:{panel}')) == bool(offset.any())


@pytest.mark.parametrize('seed', range(5))
def test_marks_stand_at_the_centre_of_every_token(seed):
    """Rejects: as many marks as strides fit in the clip (without the kernel), marks at the starts of kernels, and
    the stride of another axis."""
    arch = arch_of(seed)
    figure = draw(arch)
    for panel in ('tube1', 'tube2', 'tube3'):
        kernel, stride, offset = (numbers(arch[f'{panel}.{part}']) for part in TubeAt._fields)
        corner, clip = box(figure, 'clip', panel)
        for i, axis in enumerate(AXES):
            size = SHAPE[1 + i]
            starts = [s for s in range(offset[i], size, stride[i]) if s + kernel[i] <= size]
            ticks = by_gid(figure, f'marks:{axis}:{panel}')['']
            begins = np.stack([ticks.get_xdata()[::3], ticks.get_ydata()[::3]], 1)
            assert len(begins) == len(starts)
            share = (begins - corner) @ clip[i] / (clip[i] @ clip[i])
            # The ticks stand on edges of the clip that lie elsewhere: along the edge only differences count.
            centres = (np.array(starts) + kernel[i] / 2) / size
            np.testing.assert_allclose(np.diff(share), np.diff(centres), atol=1e-9)
            if axis != 't':  # at the edges that begin in the front's corners, also where they are
                side = 0 if axis == 'x' else 1
                np.testing.assert_allclose(begins[:, side], corner[side] + centres * clip[i][side], atol=1e-9)


@pytest.mark.parametrize('seed', range(5))
def test_the_next_boxes_are_one_stride_on(seed):
    """Rejects: a next box that leaves the clip, one that is a kernel on instead of a stride, and places in a frame that
    are counted as rows times rows."""
    arch = arch_of(seed)
    figure = draw(arch)
    for tube in read_vit(arch, {'shape': SHAPE}).tubes:
        panel = f'tube{tube.number}'
        _, clip = box(figure, 'clip', panel)
        first, _ = box(figure, 'kernel', panel)
        for i, axis in enumerate(AXES):
            found = by_gid(figure, f'next:{axis}:{panel}')
            assert bool(found) == (tube.counts[i] > 1)
            if found:
                moved = found[''].get_path().vertices[0] - first
                np.testing.assert_allclose(moved, clip[i] * tube.at.stride[i] / SHAPE[1 + i], atol=1e-9)
        places = by_gid(figure, f'places:{panel}')[''].get_path()
        starts = places.vertices[places.codes == places.MOVETO] - first
        down, right = clip[1:] * np.array(tube.at.stride[1:])[:, None] / np.array(SHAPE[2:])[:, None]
        expected = [i * down + j * right for i in range(tube.counts[1]) for j in range(tube.counts[2])]
        np.testing.assert_allclose(starts, expected, atol=1e-9)


def test_a_tube_that_ends_the_clip_has_no_next_box_in_time():
    """Rejects: a box that is drawn beyond the last frame."""
    arch = {**arch_of(1), 'tube2.kernel': '5x2x3', 'tube2.stride': '3x5x2', 'tube2.offset': '0x0x0'}
    assert not by_gid(draw(arch, shape=[3, 7, 23, 17]), 'next:t:tube2')
    assert by_gid(draw(arch, shape=[3, 8, 23, 17]), 'next:t:tube2')


@pytest.mark.parametrize(('pool', 'clamp'), [('cls', False), ('mean', True)])
@pytest.mark.parametrize('frames', [11, 1])
def test_tokens_are_those_that_the_network_has(pool, clamp, frames):
    """Rejects: tokens counted in another way than the network cuts them: of an image by all tubes, or where the tube is
    moved back into the clip."""
    model = SuperViT(TABLE, tubes=(FLAT, LONG, LONG), pool=pool, clamp_offsets=clamp, space_name='toy')
    seen = []
    model.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    size = (5, 6, 7) if clamp else (11, 23, 17)
    for seed in range(5):
        arch = model.space.sample(random.Random(seed))
        with model.use(arch), torch.no_grad():
            model(torch.zeros(1, 3, min(frames, size[0]), *size[1:]))
        vit = read_vit(arch, {**model.describe(), 'shape': [3, min(frames, size[0]), *size[1:]]})
        assert 1 + vit.tokens == seen.pop()
        assert len(vit.tubes) == (1 if frames == 1 else 3) and (vit.image is None) == (frames == 1)
        assert vit.pool == pool


def test_tubevit_has_its_published_tokens():
    """Rejects: padded tubes (559 tokens, as the paper's text says), and an image cut by all tubes. Facts: 98 + 147 + 98
    + 196 = 539 tokens of 32 x 224 x 224, 196 of an image."""
    space = vit_space(VITS['tubevit-base'], TUBES['tubevit'], 'tubevit')
    figure, words = diagram(space.largest, {'shape': [3, 32, 224, 224], 'head_dim': 64, 'pool': 'cls'})
    written = texts(figure)
    for line in ('1×14×14 = 196 tokens', '2×7×7 = 98 tokens', '3×7×7 = 147 tokens', 'kernel 16×4×4', 'stride 6×32×32'):
        assert line in written
    assert (
        '539 tokens' in words
        and 'Heads: 12. MLP ratio: 4. Q-K-V: 768.' in words
        and 'An image takes tube 1 alone: 1×14×14 = 196 tokens.' in words
    )
    assert written.count('12×64') == 12 and 'class token\nto the head' in written and 'offset 4×8×8' in written


@pytest.mark.parametrize('seed', range(4))
def test_bars_are_the_layers_that_run(seed):
    """Rejects: the supernet's layers beyond the depth, Q-K-V as the choice says and not as the heads divide it, heads
    cut in another number, MLPs on the scale of another layer, the embedding on another scale than Q-K-V."""
    arch = arch_of(seed)
    figure = draw(arch)
    attention, heads, mlp = (by_gid(figure, f'{kind}:') for kind in ('attention', 'heads', 'mlp'))
    numbers = [str(i) for i in range(1, arch['depth'] + 1)]
    assert list(attention) == list(heads) == list(mlp) == numbers
    real = [arch[f'layer{i}.qkv'] // arch[f'layer{i}.heads'] * arch[f'layer{i}.heads'] for i in numbers]
    channel = [attention[i].get_height() / width for i, width in zip(numbers, real, strict=True)]
    assert np.ptp(channel) < 1e-9
    embedding = by_gid(figure, 'embedding:')['1'].get_ydata()[0] - attention['1'].get_y()
    assert embedding == pytest.approx(channel[0] * arch['embed_dim'])
    assert np.ptp([mlp[i].get_height() / arch[f'layer{i}.mlp_ratio'] for i in numbers]) < 1e-9
    for i in numbers:
        bar, cuts = attention[i], np.array(heads[i].get_ydata()[::3])
        count = arch[f'layer{i}.heads']
        np.testing.assert_allclose(cuts, bar.get_y() + bar.get_height() * np.arange(1, count) / count, atol=1e-9)
        assert mlp[i].get_x() == bar.get_x() and mlp[i].get_y() + mlp[i].get_height() < bar.get_y()
        centre = bar.get_x() + bar.get_width() / 2
        below = [t.get_text() for t in figure.axes[0].texts if t.get_position()[0] == centre][1:]
        assert below == [f'{arch[f"layer{i}.mlp_ratio"]:g}', i]


def test_rounding_of_heads_is_the_networks():
    """Rejects: a picture that always rounds down."""
    arch = {**SPACE.smallest, 'layer1.heads': 5, 'layer1.qkv': 11, 'layer2.heads': 3, 'layer2.qkv': 17}
    written = [t for t in texts(draw(arch, qkv_rounding='ceil')) if t in ('5×2', '5×3', '3×5', '3×6')]
    assert written == ['5×3', '3×6']
    assert {'5×2', '3×5'} <= set(texts(draw(arch)))


def test_what_is_not_known_is_not_invented():
    """Rejects: tokens of a clip whose size nobody told, and channels of heads that are not searched."""
    figure, words = diagram(arch_of(2))
    assert 'tokens' not in words and not [t for t in texts(figure) if ('tokens' in t and '=' in t) or 'pixels' in t]
    assert 'to the head' in texts(figure) and by_gid(figure, 'kernel:front:tube3')
    space = vit_space(VITS['autoformer-tiny'], TUBES['patch16'], 'x')
    figure, words = diagram(space.smallest, {'shape': [3, 1, 224, 224]})
    assert not by_gid(figure, 'embedding') and 'Q-K-V' not in words and not by_gid(figure, 'clip:front:image')
    assert '196 tokens of an image of 1×224×224' in words


def test_a_tube_that_is_moved_back_says_so():
    """Rejects: the offset of the table shown for one that does not fit, and a box that leaves the clip."""
    arch = {**SPACE.smallest, 'tube2.kernel': '5x2x3', 'tube2.offset': '2x1x0'}
    figure = draw(arch, shape=[3, 6, 5, 7], clamp_offsets=True)
    assert 'offset 2×1×0 → 1×1×0' in texts(figure)
    corner, clip = box(figure, 'clip', 'tube2')
    first, edges = box(figure, 'kernel', 'tube2')
    np.testing.assert_allclose(first - corner + edges[0], clip[0] + clip[1] / 5, atol=1e-9)
    unclamped = draw(arch, shape=[3, 6, 5, 7])
    assert 'does not fit: no token' in texts(unclamped) and not by_gid(unclamped, 'kernel:front:tube2')


LARGE = vit_space(VITS['vimnas-huge'], vit_tubes('vimnas', 1024), 'x')


@pytest.mark.parametrize(
    ('arch', 'shape'),
    [
        (arch_of(3), SHAPE),
        (LARGE.sample(random.Random(3)), [3, 32, 224, 224]),
        ({**LARGE.largest, 'tube1.stride': '4x8x8'}, [3, 64, 256, 320]),
        (vit_space(TABLE, vit_tubes((FLAT, *[LONG] * 6)), 'x').sample(random.Random(5)), SHAPE),
        (vit_space(vit_table(dict(vars(TABLE), depths=(53,))), vit_tubes((FLAT,)), 'x').smallest, SHAPE),
    ],
)
def test_it_can_be_read(arch, shape):
    """Rejects: words on words (26 layers in a row, 3-digit heads), a second row over the first, and what is cut off."""
    figure = vit_figure(read_vit(arch, {'shape': shape}), 'The chosen network: 9,932.10 M MACs, 53.712 M parameters')
    assert not outside(figure) and not overlapping_texts(figure) and not repeated_gids(figure)
    bars = [*by_gid(figure, 'attention:').values(), *by_gid(figure, 'mlp:').values()]
    assert len(bars) == 2 * arch['depth']
    for one, other in itertools.combinations([bar.get_bbox() for bar in bars], 2):
        assert one.x1 < other.x0 or other.x1 < one.x0 or one.y1 < other.y0 or other.y1 < one.y0


@pytest.mark.parametrize(
    'wrong',
    [
        {'depth': 0}, {'depth': '3'}, {'depth': True}, {'depth': 10**9}, {'embed_dim': None}, {'layer1.heads': 0},
        {'layer1.mlp_ratio': 'wide'}, {'layer2.qkv': -3}, {'tube1.kernel': '1x2'}, {'tube2.stride': '0x2x2'},
        {'tube3.kernel': '1x1x999999999'}, {'tube2.offset': None}, {'tube1.kernel': None},
    ],
)  # fmt: skip
def test_other_archs_have_no_such_picture(wrong):
    """Rejects: a report that fails, or eats all memory, for a file that was edited by hand."""
    assert diagram({**SPACE.smallest, **wrong}, {'shape': SHAPE}) is None


@pytest.mark.parametrize('shape', [None, 'x', [3, 11], [3, 10**9, 23, 17], [3, 0, 23, 17], [3, 11.0, 23, 17]])
def test_a_shape_that_is_none_is_not_known(shape):
    """Rejects: an error for a search whose config names no clip."""
    vit = read_vit(arch_of(1), {'shape': shape, 'pool': 7, 'head_dim': [], 'qkv_rounding': 'up'})
    assert not vit.sized and vit.pool == '' and vit_figure(vit)
