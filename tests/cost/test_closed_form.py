"""Closed forms against torch's own counter on extracted networks, and extremes against brute force."""

import random
from itertools import product

import pytest
import torch

from mmnas_video.cost import Cost, count
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperMBConv3D
from tests.helpers import some_archs

#: Three groups, one of which keeps its width and size; all attentions; SE units of different widths.
SMALL = dict(
    stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (3,))),
    spatial_strides=(1, 2),
    expansions=(1.5, 2.25, 3.0),
    attentions=('none', 'glore', 'nonlocal'),
    stem_channels=7,
    stem_temporal_kernel=3,
    out_channels=11,
    se_ratio=0.5,
    glore_nodes=(3, 5),
    nonlocal_widths=(3, 2),
)
#: 2 groups x (2 kernels x 2 expansions x 2 widths x 3 attentions) = 576 architectures.
TINY = {**SMALL, "stages": (((3, 5, 2), (2, 1)),), "expansions": (1.5, 4.5), "kernels": ("t3_s3", "t1_s5"),
        "spatial_strides": (2,), "glore_nodes": (3,), "nonlocal_widths": (2,)}  # fmt: skip


def counted(cfg, arch, shape) -> Cost:
    with torch.device('meta'):  # no weights are needed to count
        pinned = SuperMBConv3D(**cfg, arch=arch)
    return count(pinned, torch.zeros(1, *shape, device='meta'))[0]


@pytest.mark.parametrize(('sharing', 'number'), [('fair', 80), ('prefix', 20)])
def test_small_space_equals_the_counter(sharing, number):
    """Rejects a closed form that is exact for some archs only: rounding, strides on odd sizes, identity
    shortcuts, SE by another rule, attention left out. Exactly equal, 104 archs on two odd shapes.
    """
    supernet = SuperMBConv3D(**SMALL, sharing=sharing)
    for i, arch in enumerate(some_archs(supernet.space, number, seed=number)):
        shape = ((3, 5, 13, 11), (3, 4, 17, 8))[i % 2]
        assert supernet.cost(arch, shape) == counted(SMALL, arch, shape), dict(arch)


def test_autox3d_space_equals_the_counter():
    """Rejects agreement by smallness: whole-size archs of the published space, with the third attention, at
    13 x 160².
    """
    cfg, shape = dict(attentions=('none', 'glore', 'nonlocal')), (3, 13, 160, 160)
    with torch.device('meta'):
        supernet = SuperMBConv3D(**cfg)
    for arch in some_archs(supernet.space, 5, seed=1):
        assert supernet.cost(arch, shape) == counted(cfg, arch, shape)
    doubled = dict(cfg, depth_scale=2.0)
    with torch.device('meta'):
        large = SuperMBConv3D(**doubled)
    arch = large.space.sample(random.Random(2))
    assert large.cost(arch, (3, 16, 312, 312)) == counted(doubled, arch, (3, 16, 312, 312))


def test_costs_of_shapes_and_archs_do_not_mix():
    """Rejects a table that forgets the shape or the channels a group is given: the first answer would come
    again.
    """
    supernet = SuperMBConv3D(**SMALL)
    chosen, shapes = some_archs(supernet.space, 10, seed=3), ((3, 5, 13, 11), (3, 7, 13, 11), (3, 5, 16, 16))
    first = {(a, s): supernet.cost(a, s) for a in chosen for s in shapes}
    for (arch, shape), cost in reversed(first.items()):
        assert supernet.cost(arch, shape) == cost == SuperMBConv3D(**SMALL).cost(dict(arch), list(shape))
    assert len(set(first.values())) == len(first)
    assert len({cost.params for cost in first.values()}) == len(chosen), "parameters depend on the clip's size"


def test_range_equals_brute_force():
    """Rejects extremes taken group by group (the shortcut of a group depends on the width before it), the
    smallest and largest arch for the cheapest and dearest, and an arch that does not have the cost that it
    is reported with.
    """
    supernet, shape = SuperMBConv3D(**TINY), (3, 5, 13, 11)
    space = supernet.space
    every = [supernet.cost(space.decode(i), shape) for i in product(*(range(len(c)) for c in space))]
    assert len(every) == space.size == 576
    found = supernet.cost_range(shape)
    assert set(found) == {'macs', 'params'}
    for quantity, ((least, cheapest), (most, dearest)) in found.items():
        values = [getattr(cost, quantity) for cost in every]
        assert (least, most) == (min(values), max(values))
        assert getattr(supernet.cost(space.check(cheapest), shape), quantity) == least
        assert getattr(supernet.cost(space.check(dearest), shape), quantity) == most
    assert found['macs'][0][0] < supernet.cost(space.smallest, shape).macs, 'the case is too easy to tell'


def test_range_of_a_pinned_network_is_its_cost():
    """Rejects a range over values that have been fixed."""
    supernet, shape = SuperMBConv3D(**TINY), (3, 5, 13, 11)
    arch = supernet.space.decode([1, 0, 1, 2, 0, 1, 0, 1])
    cost = supernet.cost(arch, shape)
    for quantity, ends in SuperMBConv3D(**TINY, arch=arch).cost_range(shape).items():
        assert ends == ((getattr(cost, quantity), arch),) * 2


@pytest.mark.parametrize('shape', [(5, 13, 11), (1, 5, 13, 11), (3, 5, 0, 11), (1, 3, 5, 13, 11)])
def test_a_wrong_shape_is_refused(shape):
    """Rejects a cost for a shape with the batch in it, other channels, or nothing."""
    supernet = SuperMBConv3D(**TINY)
    with pytest.raises(ConfigError, match=r'cost_shape: found \(.*expected \(C, T, H, W\) with C = 3'):
        supernet.cost(supernet.space.smallest, shape)
