"""A recognizer's cost: the searched part in closed form, the rest counted once."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmnas_video.cost import Cost, RestCost, count, rest_cost, total_cost, total_range
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.registry import MODELS
from mmnas_video.testing.toy import ToyBackbone

SHAPE = (3, 5, 13, 11)
BACKBONE = dict(
    type='SuperMBConv3D',
    stages=(((3, 9, 3), (1, 2)),),
    spatial_strides=(2,),
    stem_channels=7,
    out_channels=11,
)


@pytest.fixture
def build():
    """A recognizer with a head of 11 -> 17, or X3D's 11 -> 2048 -> 17."""
    init_default_scope('mmaction')

    def make(head='I3DHead', **backbone):
        model = dict(
            type='Recognizer3D',
            backbone={**BACKBONE, **backbone},
            cls_head=dict(type=head, in_channels=11, num_classes=17, dropout_ratio=0.5),
            data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW'),
        )
        return MODELS.build(model)

    return make


@pytest.mark.parametrize(('head', 'macs', 'params'), [('I3DHead', 187, 204), ('X3DHead', 57344, 57361)])
def test_rest_is_the_head(head, macs, params, build):
    """Rejects a rest that counts the backbone twice or leaves the head's parameters out: 11 x 17 (+ 17
    biases), and 11 x 2048 + 2048 x 17 (+ 17), at one position.
    """
    model = build(head)
    assert rest_cost(model, model.backbone, SHAPE) == Cost(macs, params)
    assert rest_cost(model.backbone, model.backbone, SHAPE) == Cost()


def test_total_is_the_pinned_recognizer(build):
    """Rejects a total at the active arch instead of the asked one: against the whole pinned recognizer,
    counted.
    """
    model = build()
    for indices in ((0,) * 8, (2, 3, 1, 1, 5, 0, 2, 0), (5, 6, 2, 1) * 2):
        arch = model.backbone.space.decode(indices)
        pinned = build(arch=dict(arch))
        clip = torch.zeros(1, 1, *SHAPE)
        counted, _ = count(pinned, clip, forward=lambda m, x: m(x, mode='tensor', stage='head'))
        assert total_cost(model, model.backbone, arch, SHAPE) == counted
        assert counted.params == sum(p.numel() for p in pinned.parameters())


def test_the_searched_part_is_found_and_the_rest_counted_once(build):
    """Rejects an AttributeError for the recognizer in the place of its backbone, and a head that is counted anew for
    every architecture: ``rest`` is asked, whatever the model has become."""
    model = build()
    backbone, arch = model.backbone, model.backbone.space.smallest
    rest = RestCost(model, backbone, SHAPE)
    cost, ends = total_cost(model, backbone, arch, SHAPE), total_range(model, backbone, SHAPE)
    assert total_cost(model, None, arch, SHAPE) == total_cost(model, model, arch, SHAPE) == cost
    assert total_range(model, None, SHAPE) == total_range(model, model, SHAPE) == ends
    model.cls_head = None
    assert total_cost(model, backbone, arch, SHAPE, rest) == total_cost(model, None, arch, SHAPE, rest) == cost
    for wrong in (torch.nn.Identity(), torch.nn.ModuleList([build().backbone, backbone])):
        with pytest.raises(ConfigError, match=r'found (0|2) modules with choices in .*expected one'):
            total_cost(wrong, None, arch, SHAPE)


@pytest.mark.parametrize('arch', [{}, {'width': 3, 'scale': 7.0}])
def test_the_cost_of_what_is_no_architecture_is_refused(arch):
    """Of a backbone whose own cost reads the width alone. Rejects its KeyError, and a cost of what is not offered."""
    model = ToyBackbone()
    assert total_cost(model, None, {'width': 3, 'scale': 2.0}, (7,)) == Cost(21, 31)
    with pytest.raises(ConfigError, match='not an architecture of the space'):
        total_cost(model, None, arch, (7,))


def test_counting_leaves_the_model_alone(build):
    """Rejects a count that moves the model itself to the meta device, changes its mode or its statistics."""
    model = build().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rest_cost(model, model.backbone, SHAPE), count(model.backbone, torch.zeros(2, *SHAPE))
    assert all(module.training for module in model.modules())
    after = model.state_dict()
    assert all(value.device.type == 'cpu' and torch.equal(value, after[name]) for name, value in before.items())


def test_count_is_of_the_whole_batch_and_in_macs():
    """Rejects FLOPs for MACs (a factor of 2) and a count per sample; attention products count, which a CPU
    leaves out.
    """
    model = SuperMBConv3D(**{k: v for k, v in BACKBONE.items() if k != 'type'})
    once, three = (count(model, torch.zeros(n, *SHAPE)) for n in (1, 3))
    assert three[0].macs == 3 * once[0].macs and three[0].params == once[0].params
    assert three[1].shape == (3, 11, 5, 4, 3) and three[1].device.type == 'meta'
    linear = torch.nn.Linear(5, 7)
    assert count(linear, torch.zeros(11, 5))[0] == Cost(11 * 5 * 7, 5 * 7 + 7)
    attention, _ = count(
        torch.nn.Identity(),
        torch.zeros(2, 3, 5, 7),
        forward=lambda _, q: torch.nn.functional.scaled_dot_product_attention(q, q, q),
    )
    assert attention == Cost(2 * (2 * 3 * 5 * 5 * 7))


def test_costs_add():
    """Rejects ``NamedTuple``'s own ``+``, which joins two pairs to four numbers."""
    assert Cost(2, 3) + Cost(5, 7) == Cost(7, 10) and sum([Cost(1, 2), Cost(3, 5)], Cost()) == (4, 7)
    assert sum([Cost(1, 2), Cost(3, 5)]) == Cost(4, 7)
    with pytest.raises(TypeError):
        Cost(1, 2) + (3, 4)  # noqa: RUF005
