"""SuperMBConv3D as a module: what it builds, where SE stands, what it refuses, how it trains."""

import json
from itertools import product

import pytest
import torch
from torch import nn

from mmnas_video.entangle import lay_windows
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.registry import MODELS
from mmnas_video.space import Arch, arch_to_json
from tests.helpers import x3d_arch


def test_it_is_built_from_a_config(small):
    """Rejects a class that is not in MMAction2's registry under its name."""
    model = MODELS.build(dict(type='SuperMBConv3D', **small.cfg))
    assert isinstance(model, SuperMBConv3D) and model.space.name == 'autox3d'
    assert model.space.size == (6 * 3 * 3 * 3) ** 3


def test_windows_of_groups(small):
    """Rejects groups that lay the same values differently (a shortcut would add other channels), middle
    windows by expansion alone, and a pinned network with windows left.
    """
    model = small.build()
    assert (
        model.groups[0].outputs == model.groups[1].outputs == dict(zip((3, 6, 9), lay_windows((3, 6, 9)), strict=True))
    )
    group = model.groups[2]
    pairs = list(product((1.5, 2.25, 3.0), (5, 10, 15)))
    assert group.mids == dict(zip(pairs, lay_windows([int(e * c) for e, c in pairs]), strict=True))
    assert sum(window.wraps for window in group.mids.values()) > 1
    arch = model.space.decode([1] * 12)
    at = small.extract(model, arch).groups[2].at(arch, 6)
    assert all(window.full for block in at[:2] for window in block[:4]) and at.rest.mid.length == 22


def test_se_alternates_through_the_stage():
    """Rejects alternation within the group: X3D's blocks 0, 2, 4... of a stage have it, wherever the groups
    end.
    """
    model = SuperMBConv3D(arch=x3d_arch(SuperMBConv3D().group_specs))
    per_stage: dict[str, list[bool]] = {}
    for group in model.groups:
        per_stage.setdefault(group.spec.stage, []).extend(block.se is not None for block in group.blocks)
    assert per_stage == {f's{s}': [b % 2 == 0 for b in range(n)] for s, n in ((1, 3), (2, 5), (3, 11), (4, 7))}
    assert not any(hasattr(group, name) for group in model.groups for name in ('glore', 'nonlocal_block'))


def test_a_network_starts_as_if_it_had_no_attention(small):
    """Rejects features that are added to an attention block's, which has them in it: it starts as the identity."""
    model, x = SuperMBConv3D(**small.cfg).double().eval(), torch.randn(1, *small.shape, dtype=torch.float64)
    outputs = []
    for attention in ('none', 'glore', 'nonlocal'):
        with torch.no_grad(), model.use({**model.space.largest, 's1.g2.attention': attention}):
            outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2]) and outputs[0].any()


def test_output_shape_and_strides(small):
    """Rejects a stride in time, strides rounded down, and a stride at another block than a stage's first."""
    model = small.build().eval()
    assert model(torch.zeros(2, 3, 5, 13, 11, dtype=torch.float64)).shape == (2, 11, 5, 4, 3)
    full = SuperMBConv3D(arch=x3d_arch(SuperMBConv3D().group_specs)).eval()
    with torch.no_grad():
        assert full(torch.zeros(1, 3, 3, 64, 32)).shape == (1, 432, 3, 2, 1)


def test_the_default_arch_is_the_largest_and_nothing_is_left_of_a_block(small):
    """Rejects state in the layers or a forward that moves it: in a block the arch stays, after it the old one
    is back.
    """
    model, x = small.build().eval(), torch.randn(1, *small.shape, dtype=torch.float64)
    before = model(x)
    with model.use(model.space.smallest):
        inside = model(x)
        assert not torch.equal(inside, before) and torch.equal(model(x), inside)
    assert torch.equal(model(x), before)
    with model.use(model.space.largest):
        assert torch.equal(model(x), before)


def test_norm_eval_and_zero_init(small):
    """Rejects ``train()`` that forgets ``norm_eval``, and blocks that do not start as their shortcut."""
    model = SuperMBConv3D(**small.cfg, norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert model.training and not any(norm.training for norm in norms) and len(norms) > 20
    blocks = [block for group in model.groups for block in group.blocks]
    assert all((block.project_norm.weight == 0).all() for block in blocks)
    other = SuperMBConv3D(**small.cfg, zero_init_residual=False)
    assert all((block.project_norm.weight == 1).all() for group in other.groups for block in group.blocks)
    assert all(m.training for m in other.train().modules())


def test_drop_path_grows_through_the_network(small):
    """Rejects one probability for all blocks, and a count that starts again with each group."""
    model = SuperMBConv3D(**small.cfg, drop_path=0.4)
    assert [b.drop_path for g in model.groups for b in g.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize('training', [False, True])
def test_checkpointing_gives_the_same_gradients(training, small):
    """Rejects a recomputation with other windows, one that never happens, and running statistics that it moves a second
    time."""
    x = torch.randn(2, *small.shape, dtype=torch.float64)
    grads = []
    for with_cp in (False, True):
        model = small.build(with_cp=with_cp).train(training)
        calls = []
        for group in model.groups:
            group.blocks[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        with model.use(model.space.decode([1] * 12)):
            model(x).square().sum().backward()
        grads.append([*(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()])
        assert len(calls) == (6 if with_cp else 3)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*grads, strict=True))


def test_arch_from_a_file(small, tmp_path):
    """Rejects a path that is read otherwise than the values, and an arch file of another space."""
    supernet = small.build()
    arch = supernet.space.decode([2, 0, 1] * 4)
    path = tmp_path / 'arch.json'
    path.write_text(arch_to_json(arch, supernet.space.identity))
    models = [
        SuperMBConv3D(**small.cfg, arch=a) for a in (path, str(path), arch, dict(arch), json.loads(path.read_text()))
    ]
    assert {tuple(tuple(p.shape) for p in m.parameters()) for m in models} == {
        tuple(tuple(p.shape) for p in small.extract(supernet, arch).parameters())
    }
    assert models[0].arch == arch and models[0].space.size == 1 and supernet.pinned_cfg(arch) == {'arch': dict(arch)}
    path.write_text(arch_to_json(Arch(arch), {'name': 'vimnas', 'hash': '00'}))
    with pytest.raises(ConfigError, match=r"backbone\.arch.*arch\.json.*'vimnas'.*'autox3d'"):
        SuperMBConv3D(**small.cfg, arch=path)


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (dict(sharing='fare'), ['sharing', "'fare'", 'prefix']),
        (dict(glore_nodes=(3,)), ['backbone.glore_nodes', '1 values', '2 stages']),
        (dict(nonlocal_widths=()), ['backbone.nonlocal_widths', '0 values']),
        (dict(spatial_strides=(1,)), ['spatial_strides', '2 stages']),
        (dict(fixed={'*.kernal': 't3_s3'}), ['backbone.fixed', '*.kernal', 's1.g1.kernel']),
        (dict(fixed={'*.kernel': 't9_s9'}), ['s1.g1.kernel', 't9_s9', 't5_s5']),
        (dict(arch={'s1.g1.kernel': 't3_s3'}), ['backbone.arch', 's1.g1.expansion', 'more']),
        (dict(arch='no/such/arch.json'), ['no/such/arch.json', 'not found']),
        (dict(stages=(((3, 8, 3), (1,)), ((5, 15, 5), (2,)))), ['stages[0]', '8']),
    ],
)
def test_a_wrong_config_is_one_clear_error(change, parts, small):
    """Rejects a KeyError or IndexError from the middle of the construction; the message names the key and the
    remedy.
    """
    with pytest.raises(ConfigError) as error:
        SuperMBConv3D(**{**small.cfg, **change})
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize('size', [(3, 11), (13, 3), (1, 1)])
def test_a_crop_smaller_than_the_strides_is_refused(size, small):
    """Rejects a network on less than one pixel (padding would stand for the picture), by either side, in a
    forward pass or in a cost; and a limit that is one pixel too high.
    """
    model = small.build().eval()
    text = rf'crop size: found {size[0]}x{size[1]} pixels, expected at least 4 '
    for ask in (
        lambda: model(torch.zeros(1, 3, 5, *size, dtype=torch.float64)),
        lambda: model.cost(model.arch, (3, 5, *size)),
        lambda: model.cost_range((3, 5, *size)),
    ):
        with pytest.raises(ConfigError, match=text):
            ask()
    assert model(torch.zeros(1, 3, 1, 4, 4, dtype=torch.float64)).shape == (1, 11, 1, 1, 1)
    assert small.build(stem_stride=1, spatial_strides=(1, 2, 7)).total_stride == 2  # of two stages
    assert model.cost(model.arch, (3, 1, 4, 4)).macs > 0


def test_it_describes_its_blocks(small):
    """Rejects block counts of the table without the depth scale: pictures would show another network."""
    assert small.build().describe() == {'blocks': {'s1.g1': 1, 's1.g2': 2, 's2.g1': 2}}
    assert small.build(depth_scale=2.0).describe() == {'blocks': {'s1.g1': 2, 's1.g2': 4, 's2.g1': 4}}


def test_deterministic_and_twice_the_same_bit_for_bit(small):
    """Rejects an operation that torch refuses in its deterministic mode (``randomness=dict(deterministic=True)``), and
    a step that is another the second time. (On our kernels: tests/kernels/interpreted/test_networks.py.)"""
    found = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model, x = small.build(), torch.randn(2, 3, 5, 13, 11, dtype=torch.float64, generator=seeded())
            y = model.train()(x)
            y.square().sum().backward()
            found.append([y, *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(found[0]) > 50 and all(map(torch.equal, *found))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
