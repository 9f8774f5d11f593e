"""Closed form of vision transformers against torch's counter and brute force, and the cost of the heads."""

import random
from itertools import product

import pytest
import torch
from torch import nn

from mmnas_video.cost import Cost, RestCost, count, output_readers, total_range
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperViT
from mmnas_video.testing.toy import ToyBackbone

#: 2 depths x 2 embeddings x (2 x 2 x 2 tubes)^2 x (2 x 2 x 2 layers)^2 = 16,384 architectures. Of no kernels, of the
#: first tube's strides and of the second's offsets, one is larger on every axis.
TINY = dict(
    table=dict(embed_dims=(5, 7), depths=(1, 2), heads=(2, 3), qkv_dims=(7, 11), mlp_ratios=(1.5, 2.0)),
    tubes=(
        dict(kernels=('1x2x5', '1x3x3'), strides=('2x2x3', '1x3x2'), offsets=('0x0x0', '1x0x1')),
        dict(kernels=('2x2x3', '3x1x1'), strides=('1x2x3', '2x2x4'), offsets=('0x1x0', '1x0x2')),
    ),
)
CLIP, IMAGE = (3, 5, 13, 11), (3, 1, 13, 11)


@pytest.mark.parametrize('shape', [CLIP, IMAGE], ids=['clip', 'image'])
def test_range_equals_brute_force(shape):
    """Rejects tubes taken one by one for the fewest multiply-adds of their own (fewer tokens make every layer
    cheaper), the smallest arch for the cheapest, strides compared by one axis, and an arch that does not have the
    cost that it is reported with. Against all 16,384."""
    with torch.device('meta'):
        model = SuperViT(**TINY)
    every = [model.cost(model.space.decode(i), shape) for i in product(*(range(len(c)) for c in model.space))]
    assert len(every) == model.space.size == 16_384
    for quantity, ends in model.cost_range(shape).items():
        values = [getattr(cost, quantity) for cost in every]
        assert [cost for cost, _ in ends] == [min(values), max(values)]
        for cost, arch in ends:
            assert getattr(model.cost(model.space.check(arch), shape), quantity) == cost


@pytest.mark.parametrize('shape', [CLIP, IMAGE], ids=['clip', 'image'])
def test_range_where_fewest_tokens_cost_most(shape):
    """Of a kernel of 81 taps or more 2 tokens are dearer than 12 of one tap, layer included. Rejects an end of the
    range that looks at the fewest (or most) tokens alone: a budget that can be met would be refused."""
    tubes = [dict(kernels=('1x1x1', f'{frames}x9x9'), strides=('5x4x4',)) for frames in (1, 5)]
    model = SuperViT(dict(embed_dims=(5,), depths=(1,), heads=(2,), qkv_dims=(2,), mlp_ratios=(0.5,)), tubes)
    every = [model.cost(model.space.decode(i), shape).macs for i in product(*(range(len(c)) for c in model.space))]
    (low, cheapest), (high, dearest) = model.cost_range(shape)['macs']
    assert (low, high) == (min(every), max(every)) and len(set(every)) > 1
    assert cheapest['tube1.kernel'] == '1x1x1' and dearest['tube1.kernel'] == '1x9x9'


@pytest.mark.parametrize('size', ['vimnas-tiny', 'vimnas-base', 'autoformer-small'])
@pytest.mark.parametrize('frames', [32, 1])
def test_published_spaces_equal_the_counter(size, frames):
    """Rejects agreement by smallness: whole-size archs, with all their tubes, at 32 x 224² and on an image;
    attention products included, which a CPU counts as 0."""
    cfg, shape = dict(table=size, clamp_offsets=True, max_kernel_volume=1024), (3, frames, 224, 224)
    with torch.device('meta'):
        model = SuperViT(**cfg)
        arch = model.space.sample(random.Random(frames))
        pinned = SuperViT(**cfg, arch=arch)
    counted, _ = count(pinned, torch.zeros(1, *shape, device='meta'))
    assert model.cost(arch, shape) == counted == pinned.cost(arch, shape)


def test_shapes_do_not_mix():
    """Rejects tables that forget the shape or the number of tokens: the first answer would come again."""
    model = SuperViT(**TINY)
    archs = [model.space.sample(random.Random(i)) for i in range(5)]
    shapes = (CLIP, IMAGE, (3, 7, 13, 11), (3, 5, 13, 17))
    first = {(a, s): model.cost(a, s) for a in archs for s in shapes}
    for (arch, shape), cost in reversed(first.items()):
        assert model.cost(dict(arch), list(shape)) == cost == SuperViT(**TINY).cost(arch, shape)
    assert len({cost.params for cost in first.values()}) == len({model.canonical(a) for a in archs})


class TwoHeads(nn.Module):
    """A backbone with a head for each of two data sets, of which a forward pass runs one, twice."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict({'a': nn.Linear(7, 11), 'b': nn.Sequential(nn.Linear(7, 13), nn.Linear(13, 17))})

    def forward(self, x, mode='tensor', stage='head'):
        features = self.backbone(x.flatten(0, 1))
        return self.heads['b'](features) + self.heads['b'](features)


def test_heads_shrink_with_the_embedding():
    """Rejects layers taken for readers because they are linear, multiply-adds of a head that is not run, a head
    that is run twice counted once, and parameters of the head that is not run left out."""
    model = TwoHeads(SuperViT(**TINY))
    assert list(output_readers(model, model.backbone)) == ['heads.a', 'heads.b.0']
    rest = RestCost(model, model.backbone, CLIP)
    for embed in (5, 7):
        macs, params = 2 * (embed * 13 + 13 * 17), embed * 11 + 11 + embed * 13 + 13 + 13 * 17 + 17
        assert rest({**model.backbone.space.smallest, 'embed_dim': embed}) == Cost(macs, params)
    found = total_range(model, model.backbone, CLIP)
    for quantity, ends in model.backbone.cost_range(CLIP).items():
        assert found[quantity] == tuple(cost + getattr(rest(arch), quantity) for cost, arch in ends)
    assert not model.heads['a']._forward_pre_hooks, 'counting leaves its hooks behind'


@pytest.mark.parametrize('hidden', [5, 7])
def test_a_hidden_layer_as_wide_as_the_output_is_refused(hidden):
    """Rejects a hidden layer taken for the output, which then loses columns, in a head of its own, beside others, and
    behind a neck."""
    head = nn.Sequential(nn.Linear(7, hidden), nn.ReLU(), nn.Linear(hidden, 17))
    for made in (
        nn.Sequential(head),
        nn.ModuleDict({'a': nn.Linear(7, 11), 'b': head}),
        nn.ModuleList([head[0], nn.ModuleDict({'b': head[2]})]),
    ):
        model = nn.Module()
        model.backbone, model.cls_head = SuperViT(**TINY), made
        if hidden == 7:
            with pytest.raises(ConfigError, match='found 2 linear layers of 7 input features'):
                output_readers(model, model.backbone)
        else:
            found = output_readers(model, model.backbone).values()
            assert head[0] in found and head[2] not in found


def test_a_network_of_one_width_has_no_readers():
    """Rejects layers cut because they happen to be as wide as something."""
    model = nn.Module()
    model.backbone, model.head = ToyBackbone(), nn.Linear(5, 3)
    assert output_readers(model, model.backbone) == {} == output_readers(model.backbone, model.backbone)
