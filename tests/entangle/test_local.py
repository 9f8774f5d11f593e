"""Local weights: what an architecture sees, where gradients go, what is extracted, frozen and inherited."""

import copy
import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.func import functional_call

from mmnas_video.entangle import Mixture, copy_slices, extract_state, inherit, take
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperViT
from mmnas_video.models.blocks import ViTWindows
from mmnas_video.registry import MODELS
from mmnas_video.search.bilevel import placed
from mmnas_video.search.freeze import frozen_unsampled
from mmnas_video.space import vit_table
from mmnas_video.testing.compare import assert_close, randomise
from tests.helpers import some_archs, unused_masks

MODEL_CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
SMALL = dict(
    table=dict(embed_dims=(7, 11, 13), depths=(1, 2, 3), heads=(2, 3, 5), qkv_dims=(6, 11, 17), mlp_ratios=(1.5, 2.5)),
    tubes=(
        dict(kernels=('1x2x3', '1x3x2'), strides=('2x2x3', '3x3x3'), offsets=('0x0x0', '1x0x1')),
        dict(kernels=('2x2x3', '3x5x4'), strides=('1x2x3', '2x3x2'), offsets=('0x1x0', '1x0x2')),
    ),
)
SOME = ('*norm*', 'layers.1.expand.*', 'tokenizer.tubes.1.weight')


def vit(groups=2, names=SOME, spread=True, **cfg):
    """In float64, with nothing left at a value that could hide a mistake; ``spread``: offsets that are not zero."""
    torch.manual_seed(13)
    model = SuperViT(**SMALL, local_weights=dict(groups=groups, names=names), **cfg).double()
    randomise(model, seed=3)
    if spread and model.local_weights:
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for offset in model.local_weights.offsets.values():
                offset.normal_(0, 0.3, generator=generator)
    return model


def clip(seed=0):
    return torch.randn(2, 3, 5, 13, 11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(model, arch):
    """The effective weights as the docstring says them, over the choices that ``arch`` has (those of its layers), and
    as the first of Q-K-V dimensions that are the same."""
    local, space = model.local_weights, model.space
    arch, row, logits = model.canonical(arch), 0, torch.zeros(local.groups, dtype=torch.float64)
    for choice in space.open:
        layer = choice.name.partition('.')[0]
        if not layer.startswith('layer') or int(layer[5:]) <= arch['depth']:
            logits = logits + local.table[row + choice.index(arch[choice.name])]
        row += len(choice)
    assignment = logits.exp() / logits.exp().sum()
    weights = dict(model.named_parameters())
    for name, key in local.keys.items():
        offsets = weights[f'local_weights.offsets.{key}']
        weights[name] = weights[name] + sum(assignment[g] * offsets[g] for g in range(local.groups))
    return assignment, {name: value for name, value in weights.items() if not name.startswith('local_weights')}


# ---------------------------------------------------------------------------- what the network is
@pytest.mark.parametrize('groups', [2, 3])
def test_effective_weights_and_their_gradients(groups):
    """Output and every gradient (w, offsets, rows) against the same network without local weights, run by torch's
    functional_call with weights that are computed by hand. Rejects an assignment that layers beyond the depth take
    part in, offsets that reach the wrong parameter or the wrong group, and a graph that is cut."""
    model, plain = vit(groups), SuperViT(**SMALL).double()
    assert set(model.local_weights.keys) > {'norm.weight', 'layers.2.mlp_norm.bias', 'tokenizer.tubes.1.weight'}
    for arch in some_archs(model.space, 5, seed=1):
        upstream = torch.randn(2, 13, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        parameters = dict(model.named_parameters())
        with model.use(arch), plain.use(arch):
            found = model(clip())
            assignment, weights = by_hand(model, arch)
            expected = functional_call(plain, weights, clip())
        assert_close(found, expected, 'output')
        assert_close(model.local_weights.assignment(arch), assignment, 'assignment')
        pair = [
            torch.autograd.grad(y, list(parameters.values()), upstream, allow_unused=True) for y in (found, expected)
        ]
        for name, ours, theirs in zip(parameters, *pair, strict=True):
            assert (ours is None) == (theirs is None), name
            if ours is not None:
                assert_close(ours, theirs, f'gradient of {name}')
        assert pair[0][list(parameters).index('local_weights.table')].abs().max() > 1e-4


def test_one_hot_assignments_are_separately_held_weights():
    """Rows so large that the embedding alone says the group. Rejects groups that are mixed with each other (an average
    of the offsets), and a gradient that reaches the other group's."""
    model, plain = vit(3, names='*'), SuperViT(**SMALL).double()
    local = model.local_weights
    with torch.no_grad():
        local.table.zero_()
        start = sum(len(c) for c in model.space.open[: model.space.open.index(model.space['embed_dim'])])
        for row, group in enumerate((2, 0, 1)):
            local.table[start + row, group] = 1e4
    base = {n: p.detach() for n, p in model.named_parameters() if not n.startswith('local_weights')}
    for arch in some_archs(model.space, 3, seed=1):
        group = (2, 0, 1)[model.space['embed_dim'].index(arch['embed_dim'])]
        own = {name: base[name] + local.offsets[key][group].detach() for name, key in local.keys.items()}
        with model.use(arch), plain.use(arch):
            found = model(clip())
            assert_close(found, functional_call(plain, own, clip()), f'group {group}')
        model.zero_grad()
        found.square().sum().backward()
        grads = [offset.grad for offset in local.offsets.values() if offset.grad is not None]
        for other in range(3):
            assert (max(float(g[other].abs().max()) for g in grads) > 0) == (other == group)


def test_without_groups_nothing_is_there():
    """Rejects a single group that leaves parameters or hooks, other initial weights than without (a shared random
    stream), and offsets that begin as anything but the same network."""
    torch.manual_seed(11)
    plain, stream = SuperViT(**SMALL), torch.get_rng_state()
    for groups in (1, 2):
        torch.manual_seed(11)
        model = SuperViT(**SMALL, local_weights=dict(groups=groups))
        assert torch.equal(torch.get_rng_state(), stream), 'the head would begin with other weights'
        own = {k: v for k, v in model.state_dict().items() if not k.startswith('local_weights')}
        assert list(own) == list(plain.state_dict())
        assert all(torch.equal(value, own[key]) for key, value in plain.state_dict().items())
        assert (len(own) < len(model.state_dict())) == bool(model._forward_hooks) == (groups == 2)
    found, expected = model(clip().float()), plain(clip().float())
    assert torch.equal(found, expected) and model.local_weights.table.std() > 0.1
    pinned = SuperViT(**SMALL, **model.pinned_cfg(model.space.smallest), local_weights=dict(groups=2))
    assert pinned.local_weights is None


def test_assignments_start_by_the_runs_seed():
    """Rejects one start for every seed: runs of several seeds would not tell how far a search depends on it."""
    tables = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        tables.append(SuperViT(**SMALL, local_weights=dict(groups=2)).local_weights.table)
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


@pytest.mark.parametrize('pinned', [{'depth': 2}, {'depth': 1, 'layer3.heads': 5}])
def test_a_pinned_depth_leaves_no_choice_that_does_nothing(pinned):
    """Rejects choices of layers beyond a depth that the config pins: they would be sampled, learned and selected, and
    decide the weights of a network that they are no part of."""
    model = vit(fixed=pinned, names=('*norm*',))
    depth = pinned['depth']
    assert len(model.layers) == depth
    assert max(int(c.name[5:].split('.')[0]) for c in model.space.open if c.name.startswith('layer')) == depth
    assert model.space['layer3.heads'].values == (pinned.get('layer3.heads', 2),)
    # What is pinned at a mixture's making counts no more than what is pinned in the config.
    whole = SuperViT(**SMALL).space
    windows = ViTWindows(whole.fix(pinned), vit_table(SMALL['table']), 'floor', 'prefix')
    mixture = Mixture.one_hot(windows.space, {**whole.largest, **pinned})
    found = windows.occurrence(mixture)
    assert not any(found[f'layer3.{part}'].any() for part in ('heads', 'qkv', 'mlp_ratio'))
    assert all(found[f'layer{depth}.{part}'].sum() == 1 for part in ('heads', 'qkv', 'mlp_ratio'))


def test_same_network_same_assignment():
    """Rejects values of layers that are not there, or a Q-K-V dimension that the rounding makes equal to another, that
    decide what the weights are: evolution scores and remembers one of all such architectures."""
    model = vit()
    arch = model.space.smallest.replace({'depth': 2, 'layer2.heads': 3})
    twins = [
        arch.replace({'layer3.heads': 5, 'layer3.mlp_ratio': 2.5, 'layer3.qkv': 17}),
        arch.replace({'layer2.heads': 5, 'layer2.qkv': 11}),  # floor(11 / 5) = 2, not 1 as of 6
    ]
    table = dict(SMALL['table'], qkv_dims=(11, 13, 17), heads=(3, 5))
    other = SuperViT(table, SMALL['tubes'], local_weights=dict(groups=2)).double()
    same = other.space.smallest.replace({'layer1.heads': 5, 'layer1.qkv': 11})
    assert other.canonical(same) == other.canonical(same.replace({'layer1.qkv': 13}))
    for network, first, second, equal in (
        (model, arch, twins[0], True),
        (model, arch, twins[1], False),
        (other, same, same.replace({'layer1.qkv': 13}), True),
        (other, same, same.replace({'layer1.qkv': 17}), False),
    ):
        assignments = [network.local_weights.assignment(a) for a in (first, second)]
        assert torch.equal(*assignments) == equal


def test_mixtures():
    """One-hot weights are the sampled network, also of an architecture with values that do nothing; between them the
    weights' gradient is that of central differences. Rejects an assignment that α does not reach, that counts layers
    as often in every depth, and one that is a mean of assignments (softmax after the mean, not before)."""
    model = vit()
    for arch in some_archs(model.space, 4, seed=1):
        with model.use(arch):
            expected = model(clip())
        with model.use(Mixture.one_hot(model.space, arch, expected)):
            assert_close(model(clip()), expected, 'one-hot')
    generator = torch.Generator().manual_seed(2)
    alpha = {c.name: torch.randn(len(c), generator=generator, dtype=torch.float64) for c in model.space.open}
    for tensor in alpha.values():
        tensor.requires_grad_()

    def assignment():
        mixture = Mixture(model.space, {name: row.softmax(0) for name, row in alpha.items()})
        return model.local_weights.assignment(mixture)

    grads = torch.autograd.grad(assignment()[0], list(alpha.values()))
    with torch.no_grad():
        for row, grad in zip(alpha.values(), grads, strict=True):
            row[0] += 1e-6
            high = assignment()[0]
            row[0] -= 2e-6
            slope = (high - assignment()[0]) / 2e-6
            row[0] += 1e-6
            assert torch.isclose(grad[0], slope, atol=1e-8)
    assert min(float(grad.abs().max()) for grad in grads) > 1e-5


# ---------------------------------------------------------------------------- beside the parameters
def test_parameters_are_what_they_were():
    """Rejects effective weights that stay behind (after a forward pass, or an error in it), that stand in a state dict
    or a copy, and weights put in the place of parameters (the virtual step of DARTS) that are overlooked."""
    model = vit()
    before, state = dict(model.named_parameters()), {k: v.clone() for k, v in model.state_dict().items()}
    model.layers[0].register_forward_hook(lambda *_: 1 / 0 if model.training else None)
    with model.use(model.space.smallest), pytest.raises(ZeroDivisionError):
        model(clip())
    model.eval()
    with model.use(model.space.smallest):
        expected = model(clip())
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        twin = copy.deepcopy(model)
        assert_close(twin(clip()), expected, 'copy')
        twin.local_weights.offsets['norm/weight'].data += 1
        assert (twin(clip()) - expected).abs().max() > 0.1 and torch.equal(model(clip()), expected)
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    parameters = list(model.parameters())
    with placed(model, parameters, [p.detach() * 2 for p in parameters]):
        doubled = model(clip())
    with torch.no_grad():
        for parameter in parameters:
            parameter *= 2
    assert_close(doubled, model(clip()), 'placed')


def test_recomputed_layers():
    """Rejects a backward pass that recomputes a layer with the parameters in the place of the effective weights (its
    gradients would be those of another network); also when it is asked for twice."""
    kept, again = vit(names='*'), vit(names='*', with_cp=True)
    for arch in some_archs(kept.space, 2, seed=1):
        grads = []
        for model in (kept, again):
            with model.use(arch):
                loss = model(clip()).square().sum()
            twice = [
                torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
                for _ in range(2)
            ]
            grads += twice
        for name, *rows in zip(dict(kept.named_parameters()), *grads, strict=True):
            for row in rows[1:]:
                assert (row is None) == (rows[0] is None)
                if row is not None:
                    assert_close(row, rows[0], name)


# ---------------------------------------------------------------------------- slices
@pytest.mark.parametrize(('names', 'sharing'), [(SOME, 'prefix'), ('*', 'fair')])
def test_extraction(names, sharing):
    """Supernet at a = network extracted for a, whose state has no local weights. Rejects the slices of w alone, and an
    offset that is sliced in another way than its parameter."""
    model = vit(names=names, sharing=sharing)
    for arch in some_archs(model.space, 6, seed=1):
        assert not any('local' in key for key in extract_state(model, arch))
        pinned = SuperViT(**SMALL, sharing=sharing, **model.pinned_cfg(arch)).double()
        copy_slices(model, arch, pinned)
        with model.use(arch):
            assert_close(take(model(clip()), 1, model.output(arch)), pinned(clip()), f'{arch}')


@pytest.mark.parametrize('name', ['mbconv3d', 'tsnet', 'p3d', 'vit'])
def test_every_backbone(name):
    """The demo networks, everything local: rejects a backbone that takes the option and does nothing with it, one whose
    slices name local weights, and one whose streams or recomputed blocks run on the parameters themselves."""
    cfg = Config.fromfile(MODEL_CONFIGS / f'super_{name}_demo.py')
    torch.manual_seed(13)
    model = MODELS.build({**cfg.model.backbone, 'local_weights': dict(groups=2, names='*')}).double().eval()
    randomise(model)
    clips = torch.randn(1, *cfg.cost_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for arch in some_archs(model.space, 2, seed=1)[2:]:
        outputs = []
        for factor in (0.0, 0.1):
            with torch.no_grad():
                for offset in model.local_weights.offsets.values():
                    offset.normal_(0, factor, generator=torch.Generator().manual_seed(5))
            pinned = MODELS.build({**cfg.model.backbone, **model.pinned_cfg(arch)}).double().eval()
            copy_slices(model, arch, pinned)
            with torch.no_grad(), model.use(arch):
                found, expected = model(clips), pinned(clips)
            window = model.output(arch)
            assert_close(found if window is None else take(found, 1, window), expected, f'{name} at {arch}')
            outputs.append(expected)
        assert not torch.allclose(*outputs, rtol=1e-3)


def test_recomputed_blocks():
    """As of layers, of the groups of SuperMBConv3D. Rejects torch's own checkpoint there."""
    grads = []
    for with_cp in (False, True):
        cfg = Config.fromfile(MODEL_CONFIGS / 'super_mbconv3d_demo.py')
        torch.manual_seed(13)
        model = MODELS.build({**cfg.model.backbone, 'local_weights': dict(groups=2, names='*'), 'with_cp': with_cp})
        randomise(model.double())
        with torch.no_grad():
            for offset in model.local_weights.offsets.values():
                offset.normal_(0, 0.1, generator=torch.Generator().manual_seed(5))
        clips = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        with model.use(model.space.smallest):
            loss = model(clips).square().sum()
        grads.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
    for first, second in zip(*grads, strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            assert_close(second, first, 'gradient')


def test_inherited_network():
    """The supernet at the inherited architecture is the network, also where offsets are not zero. Rejects w that is
    set to the network's weights, to which the offsets would be added."""
    source, target = vit(), vit(names='*', spread=True)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter *= 1.3
    arch = source.space.sample(random.Random(4))
    state = extract_state(source, arch)
    inherit(target, state, arch)
    found = extract_state(target, arch)
    for key, value in state.items():
        assert_close(found[key], value, key)
    with source.use(arch), target.use(arch):
        assert_close(target(clip()), source(clip()), 'output')


def test_frozen():
    """A step of AdamW with decay and moments from before, after two architectures: offsets outside their slices, and
    the rows of values that neither has, stay bit for bit with their moments, all others move. Rejects masks of the
    parameters alone."""
    model = vit(names='*')
    local, space = model.local_weights, model.space
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    archs = [space.smallest, space.smallest.replace({'embed_dim': 11, 'depth': 2})]
    for step in range(2):
        for arch in archs if step else [space.largest]:
            with model.use(arch):
                model(clip(step)).square().sum().backward()
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        moments = {n: optimizer.state[p]['exp_avg'].clone() for n, p in model.named_parameters() if step}
        if not step:
            optimizer.step()
            optimizer.zero_grad()
    with frozen_unsampled(model, archs, optimizer):
        optimizer.step()
    masks = unused_masks(model, archs)
    for name, key in local.keys.items():
        mask = masks.get(name, torch.zeros(model.get_parameter(name).shape, dtype=torch.bool))
        found, offset = masks.get(f'local_weights.offsets.{key}'), local.offsets[key]
        assert (found is None and not mask.any()) or torch.equal(found, mask.expand_as(offset)), name
        moved = offset != before[f'local_weights.offsets.{key}']
        assert not (moved & mask).any() and moved[:, ~mask].all(), name
        kept = optimizer.state[offset]['exp_avg'] == moments[f'local_weights.offsets.{key}']
        assert kept[:, mask].all()
    rows = [(choice.name, value) for choice in space.open for value in choice.values]
    moved = (local.table != before['local_weights.table']).any(1).tolist()
    for (name, value), row in zip(rows, moved, strict=True):
        there = any(a[name] == value and not name.startswith(f'layer{a["depth"] + 1}') for a in archs)
        there &= not name.startswith('layer3')
        assert row == there, (name, value)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(groups=0), r'local_weights\.groups: found 0, expected a whole number from 1'),
        (dict(groups=True), r'local_weights\.groups: found True'),
        (2, r'local_weights: found 2, expected dict\(groups=\.\.\.'),
        (dict(names='*'), r'local_weights\.groups: found None'),
        (dict(groups=2, init_std=0), r'local_weights\.init_std: found 0, expected a positive'),
        (dict(groups=2, name='*'), r"local_weights: found the unknown key 'name'.*Did you mean 'names'"),
        (
            dict(groups=2, names='bn*'),
            r"names: found the pattern 'bn\*', expected one that fits .* such as 'norm.bias'",
        ),
    ],
)
def test_refused(cfg, message):
    """Rejects options that are taken and ignored."""
    with pytest.raises(ConfigError, match=message):
        SuperViT(**SMALL, local_weights=cfg)
