"""Cost of two joined streams: against torch's counter and the streams alone, and extremes against brute force."""

import random
from itertools import product

import pytest
import torch

from mmnas_video.cost import Cost, count
from mmnas_video.models.backbones import SuperTSNet

SHAPE = (3, 6, 13, 11)
#: 2 kernels and expansions by turns, 2 x 2 channels, 4 fusions at one site: small enough for every architecture.
TINY = dict(
    sparse=dict(stages=(('values', (3, 7), (1, 2)),), stem_channels=5, out_channels=11, glore_nodes=(3,),
                nonlocal_widths=(2,), kernels=('t1_s3',), expansions=(1.5, 4.5)),
    dense=dict(stages=(('values', (2, 5), (1, 1)),), stem_channels=3, out_channels=13, glore_nodes=(2,),
               nonlocal_widths=(2,), kernels=('t1_s3', 't3_s3'), expansions=(2.25,)),
    attentions=('none',), attention_sites=None, spatial_strides=(1,), sparse_frames=2, dense_frames=6, se_ratio=0.5,
)  # fmt: skip


def every(space):
    return (space.decode(indices) for indices in product(*(range(len(c)) for c in space)))


@pytest.mark.parametrize('merge', ['concat', 'sum'])
def test_range_equals_brute_force(merge):
    """Rejects extremes of each stream on its own (a fusion's cost depends on both and on the block after it), the
    cheapest fusion everywhere for the dearest network, and an arch that does not have the cost it is reported with.
    """
    model = SuperTSNet(**TINY, fusion=dict(merge=merge))
    costs = [model.cost(arch, SHAPE) for arch in every(model.space)]
    assert len(costs) == model.space.size == 2**2 * 2**2 * 2**2 * 2**2 * 4
    found = model.cost_range(SHAPE)
    assert set(found) == {'macs', 'params'}
    for quantity, ((least, cheapest), (most, dearest)) in found.items():
        values = [getattr(cost, quantity) for cost in costs]
        assert (least, most) == (min(values), max(values))
        assert getattr(model.cost(model.space.check(cheapest), SHAPE), quantity) == least
        assert getattr(model.cost(model.space.check(dearest), SHAPE), quantity) == most


def test_range_over_several_sites_equals_brute_force():
    """Rejects a dynamic programme that is right for one site only: what is given to a group depends on two streams'
    channels before it. All fusions and channels of four groups, the other values fixed.
    """
    stages = (('values', (3, 7), (1, 1)), ('values', (5, 11), (1, 1)))
    cfg = {**TINY, 'sparse': {**TINY['sparse'], 'stages': stages, 'glore_nodes': (3, 3), 'nonlocal_widths': (2, 2)},
           'dense': {**TINY['dense'], 'stages': (('values', (2, 3), (1, 1)), ('values', (5,), (1, 1))),
                     'glore_nodes': (2, 2), 'nonlocal_widths': (2, 2)}, 'spatial_strides': (1, 2)}  # fmt: skip
    fixed = {'*.kernel': 't1_s3', 'sparse.*.expansion': 1.5, 'sparse.s2.g2.channels': 5}
    model = SuperTSNet(**cfg, fixed=fixed, fusions=('none', 'time_strided_conv', 'time_to_channel'))
    costs = [model.cost(arch, SHAPE) for arch in every(model.space)]
    assert len(costs) == 2**3 * 2**2 * 3**3
    for quantity, ((least, _), (most, _)) in model.cost_range(SHAPE).items():
        values = [getattr(cost, quantity) for cost in costs]
        assert (least, most) == (min(values), max(values))


def test_streams_and_a_fusion_add_up():
    """Rejects a sum that counts joined channels twice, a fusion without what the next block pays for it or that costs
    nothing, and streams whose cost changes beside another.
    """
    model = SuperTSNet(**TINY)
    rng = random.Random(4)
    for number in range(30):
        arch = model.space.sample(rng)
        cost, without = model.cost(arch, SHAPE), model.cost(arch.replace({'fusion.s1.g1': 'none'}), SHAPE)
        if number < 6:
            assert cost == count(SuperTSNet(**TINY, arch=arch), torch.zeros(1, *SHAPE))[0]
        assert (cost == without) == (arch['fusion.s1.g1'] == 'none')
        alone = Cost()
        for name in ('sparse', 'dense'):
            own = {key: value for key, value in arch.items() if key.startswith(name)}
            alone += SuperTSNet(**TINY, streams=(name,)).cost(own, SHAPE)
        assert alone == without


def test_the_published_space_equals_the_counter():
    """Rejects agreement by smallness: whole-size archs at 4 + 32 frames and 160², of S and at twice the depth."""
    for cfg, seeds in (({}, (0, 1)), (dict(depth_scale=2.0), (2,))):
        with torch.device('meta'):
            model = SuperTSNet(**cfg)
        for seed in seeds:
            arch = model.space.sample(random.Random(seed))
            with torch.device('meta'):
                pinned = SuperTSNet(**cfg, arch=arch)
            counted, _ = count(pinned, torch.zeros(1, 3, 32, 160, 160, device='meta'))
            assert model.cost(arch, (3, 32, 160, 160)) == counted == pinned.cost(arch, (3, 32, 160, 160))


def test_costs_of_shapes_do_not_mix():
    """Rejects a table that forgets the shape: the first answer would come again."""
    model = SuperTSNet(**TINY)
    arch = model.space.largest
    shapes = ((3, 6, 13, 11), (3, 6, 17, 8))
    first = [model.cost(arch, shape) for shape in shapes]
    assert first == [SuperTSNet(**TINY).cost(arch, list(shape)) for shape in shapes] and first[0] != first[1]
