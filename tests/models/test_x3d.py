"""X3D is a point: MMAction2's weights load and give the same output; parameters and MACs are the published
ones.
"""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.cost import rest_cost, total_cost
from mmnas_video.errors import ConfigError
from mmnas_video.models import x3d_state_dict
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.registry import MODELS
from mmnas_video.space import AUTOX3D_STAGES
from tests.helpers import x3d_arch

ROOT = Path(__file__).resolve().parents[2]
X3D = ROOT / 'configs/autox3d/archs/x3d.json'
HOST = dict(type='X3D', gamma_w=1, gamma_b=2.25, gamma_d=2.2)
#: X3D-L's 5, 10, 25, 15 blocks over AutoX3D's groups, in two ways.
L_BLOCKS = (((2, 3), (5, 5), (7, 6, 6, 6), (5, 5, 5)), ((1, 4), (3, 7), (1, 2, 11, 11), (13, 1, 1)))


def backbone() -> SuperMBConv3D:
    return SuperMBConv3D(arch=str(X3D), stem_temporal_kernel=5)


@pytest.fixture(autouse=True)
def scope():
    """Recognizers build their parts in the default scope, as under a Runner."""
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def host():
    """MMAction2's X3D with random norm weights and statistics."""
    torch.manual_seed(0)
    model = MODELS.build(HOST)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.3)
    model.eval()  # returns nothing in X3D
    return model


def test_mmaction2s_weights_give_the_same_output(host):
    """Rejects any difference from X3D: activation, SE place and width, alternation, padding, shortcut, stem,
    epsilon.

    Strictly loaded, with random norm weights and statistics (at its default the last norm of a block is
    zero, and nothing inside a block can be seen).
    """
    ours = backbone().eval()
    ours.load_state_dict(x3d_state_dict(host.state_dict(), ours), strict=True)
    x = torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y, expected = ours(x), host(x)
    assert 0.1 < expected.abs().max() < 1e3
    assert torch.allclose(y, expected, rtol=1e-5, atol=1e-5 * expected.abs().max())


def test_the_key_map_is_one_to_one(host):
    """Rejects two keys that become one, a key that is left out, and a value that is copied or changed."""
    ours = backbone()
    renamed = x3d_state_dict(host.state_dict(), ours)
    assert set(renamed) == set(ours.state_dict()) and len(renamed) == len(host.state_dict())
    originals = {value.data_ptr() for value in host.state_dict().values() if value.numel()}
    assert all(value.data_ptr() in originals for value in renamed.values())


def test_a_recognizer_keeps_its_head():
    """Rejects a map that drops or renames the head's keys: a whole MMAction2 checkpoint must load
    as it is.
    """
    cfg = Config.fromfile(ROOT / 'configs/autox3d/x3d_s.py').model
    with torch.device('meta'):
        stock = MODELS.build({**copy.deepcopy(cfg), 'backbone': HOST})
        ours = MODELS.build(cfg)
    renamed = x3d_state_dict(stock.state_dict(), ours.backbone)
    assert {k: tuple(v.shape) for k, v in renamed.items()} == {k: tuple(v.shape) for k, v in ours.state_dict().items()}


@pytest.mark.parametrize(
    ('key', 'parts'),
    [
        ('layer1.0.conv9.conv.weight', ['layer1.0.conv9.conv.weight', 'X3D']),
        ('layer4.7.conv1.conv.weight', ['block 8 in stage 4', '7 blocks', 'depth_scale']),
        ('layer5.0.conv1.conv.weight', ['stage 5', '0 blocks']),
        ('conv1_x.conv.weight', ['conv1_x.conv.weight']),
        ('blocks.0.attn.qkv.weight', ['blocks.0.attn.qkv.weight']),
    ],
)
def test_wrong_keys_are_refused(key, parts, host):
    """Rejects a KeyError, and keys that are silently left out: the network would keep random
    weights there.
    """
    for prefix in ('', 'backbone.'):
        state = {prefix + name: value for name, value in host.state_dict().items()}
        state[prefix + key] = torch.zeros(1)
        with pytest.raises(ConfigError) as error:
            x3d_state_dict(state, backbone())
        for part in ['checkpoint', *parts]:
            assert part in str(error.value)


def stages(blocks):
    """AutoX3D's table of widths with other numbers of blocks."""
    return tuple((widths, n) for (widths, _), n in zip(AUTOX3D_STAGES, blocks, strict=True))


def recognizer(**cfg):
    model = Config.fromfile(ROOT / 'configs/autox3d/x3d_s.py').model
    model.backbone.update(cfg)
    with torch.device('meta'):
        return MODELS.build(model)


@pytest.mark.parametrize(
    ('blocks', 'shape', 'params', 'macs'),
    [
        (None, (3, 13, 160, 160), 3_794_322, 1_962_892_112),
        (None, (3, 16, 224, 224), 3_794_322, 4_732_468_736),
        (L_BLOCKS[0], (3, 16, 312, 312), 6_153_432, 18_367_710_176),
    ],
    ids=['S', 'M', 'L'],
)
def test_parameters_and_macs_are_the_published_ones(blocks, shape, params, macs):
    """Rejects fvcore's totals (they count BN), a shortcut without norm (fewer parameters), a stem without the
    temporal part, a head left out, and any layer at another size.
    """
    model = recognizer() if blocks is None else recognizer(stages=stages(blocks))
    cost = total_cost(model, model.backbone, model.backbone.arch, shape)
    assert cost == (macs, params)
    assert sum(p.numel() for p in model.parameters()) == params
    head = 432 * 2048 + 2048 * 400  # one position: the head pools first
    assert rest_cost(model, model.backbone, shape) == (head, head + 400)


def test_how_a_stage_is_split_into_groups_does_not_matter():
    """Rejects SE, strides or shortcuts that start again with each group: X3D-L over two different splits."""
    with torch.device('meta'):
        one, two = (SuperMBConv3D(arch=str(X3D), stem_temporal_kernel=5, stages=stages(b)) for b in L_BLOCKS)
    assert [g.blocks for g in one.group_specs] != [g.blocks for g in two.group_specs]
    assert one.cost(one.arch, (3, 16, 312, 312)) == two.cost(two.arch, (3, 16, 312, 312))


def test_x3ds_arch_is_the_same_point_in_the_supernet():
    """Rejects a supernet whose closed form at X3D differs from the pinned network's: searches compare with
    this figure.
    """
    with torch.device('meta'):
        supernet = SuperMBConv3D(stem_temporal_kernel=5)
    arch = x3d_arch(supernet.group_specs)
    for shape in ((3, 13, 160, 160), (3, 16, 224, 224)):
        assert supernet.cost(arch, shape) == backbone().cost(arch, shape)
