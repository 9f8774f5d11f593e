"""SuperViT in a mixture: one-hot weights are the sampled network, and α has the gradient of that forward pass."""

import math
import random

import pytest
import torch

from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperViT
from mmnas_video.models.blocks import TubeCandidate
from mmnas_video.models.blocks.tube_tokenizer import as_image
from mmnas_video.testing.compare import randomise

CFG = dict(
    table=dict(embed_dims=(7, 11, 13), depths=(1, 2, 3), heads=(2, 3, 5), qkv_dims=(6, 11, 17), mlp_ratios=(1.5, 2.5)),
    tubes=(
        dict(kernels=('1x2x3', '1x3x2'), strides=('2x4x3', '3x3x5'), offsets=('0x0x0', '1x0x1')),
        dict(kernels=('2x2x3', '3x5x4'), strides=('1x4x3', '2x3x5'), offsets=('0x1x0', '1x0x2')),
    ),
)
CLIP, IMAGE = (3, 5, 13, 11), (3, 1, 13, 11)


def build(**cfg):
    torch.manual_seed(0)
    model = SuperViT(**{**CFG, **cfg}).double().eval()
    randomise(model)
    with torch.no_grad():
        for layer in model.layers:  # attention far from uniform, or what it does cannot be seen
            layer.attention.qkv.weight.mul_(15), layer.attention.proj.weight.mul_(15)
    return model


def inputs(shape, batch=2):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def soft(space, seed=0, **fixed):
    """Random weights; ``fixed`` replaces those of some choices."""
    generator = torch.Generator().manual_seed(seed)
    weights = {c.name: torch.randn(len(c), generator=generator, dtype=torch.float64).softmax(0) for c in space}
    return weights | {k.replace('__', '.'): torch.tensor(v, dtype=torch.float64) for k, v in fixed.items()}


def run(model, weights, x):
    with model.use(Mixture(model.space, weights)):
        return model(x)


@pytest.mark.parametrize(
    ('cfg', 'shape'),
    [
        ({}, CLIP),
        (dict(sharing='fair', pool='mean'), CLIP),
        (dict(sharing='fair', patch_grid=(3, 4)), IMAGE),
        (dict(with_cp=True, table={**{k: v for k, v in CFG['table'].items() if k != 'qkv_dims'}, 'head_dim': 5}), CLIP),
    ],
    ids=['prefix', 'fair, mean', 'image, learned', 'fixed head, recomputed'],
)
def test_one_hot_is_the_sampled_network(cfg, shape):
    """Rejects statistics or positions of another width, a mask on the wrong axis, the scale of other heads, a bias
    outside the window, the output after another depth, and a tube that is weighed although it runs alone."""
    model, x, rng = build(**cfg), inputs(shape), random.Random(0)
    for arch in (model.space.smallest, model.space.largest, *(model.space.sample(rng) for _ in range(8))):
        with torch.no_grad():
            with model.use(arch):
                expected = model(x)
            found = run(model, {c.name: Mixture.one_hot(model.space, arch, x)[c.name] for c in model.space}, x)
        assert expected.abs().max() > 0.5 and torch.allclose(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('pool', ['cls', 'mean'])
def test_alphas_gradient_by_finite_differences(pool):
    """Rejects any place where the graph from alpha to the output is cut (a detached mask, weights of tokens taken as
    numbers), for every value of every choice."""
    model, x = build(pool=pool), inputs(CLIP)
    upstream = torch.randn(2, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    alphas = {name: w.log().requires_grad_() for name, w in soft(model.space).items()}

    def loss():
        return (run(model, {name: alpha.softmax(0) for name, alpha in alphas.items()}, x) * upstream).sum()

    loss().backward()
    assert all(alpha.grad.abs().max() > 1e-6 for alpha in alphas.values()), 'a choice that the output does not feel'
    generator = torch.Generator().manual_seed(3)
    for name, alpha in alphas.items():
        direction = torch.randn(len(alpha), dtype=torch.float64, generator=generator)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                alpha += step * direction
                ends.append(loss())
                alpha -= step * direction
        difference, gradient = (ends[0] - ends[1]) / 2e-5, alpha.grad @ direction
        assert math.isclose(difference, gradient, rel_tol=1e-5, abs_tol=1e-7), name


def test_what_weighs_nothing_is_not_run():
    """Rejects layers beyond the deepest candidate, and tubes whose weight is 0, that are run all the same."""
    model, x = build(), inputs(CLIP)
    weights = soft(model.space, depth=(0.5, 0.5, 0), tube2__kernel=(1, 0), tube1__stride=(0, 1))
    ran = []
    for i, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda *_, i=i: ran.append(i))
    seen = []
    for i, tube in enumerate(model.tokenizer.tubes):
        tube.register_forward_pre_hook(lambda _, args, i=i: seen.append((i, args[2].kernel, args[2].stride)))
    run(model, weights, x)
    assert ran == [0, 1]
    assert len(seen) == 4 + 4 and {k for i, k, _ in seen if i == 1} == {(2, 2, 3)}
    assert {s for i, _, s in seen if i == 0} == {(3, 3, 5)}


def test_depths_are_mixed_at_their_outputs():
    """Rejects layers weighed one by one: with the class token after each depth known, the mixture is their
    weighed sum before the last norm."""
    model, x = build(), inputs(CLIP)
    arch = model.space.largest
    weights = {c.name: Mixture.one_hot(model.space, arch, x)[c.name] for c in model.space}
    states = []
    hook = model.norm.register_forward_pre_hook(lambda _, args: states.append(args[0].detach()))
    for depth in model.space['depth'].values:
        with model.use({**arch, 'depth': depth}):
            model(x)
    weights['depth'] = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    run(model, weights, x)
    hook.remove()
    assert torch.allclose(states[3], 0.2 * states[0] + 0.3 * states[1] + 0.5 * states[2], atol=1e-10)


@pytest.mark.parametrize('pool', ['cls', 'mean'])
def test_tubes_are_weighed_as_tokens(pool):
    """Rejects tokens scaled instead of attended to less, weights that are not renormalised over what runs, and a mean
    that counts all tokens alike: two equal candidates of half the weight each are one."""
    tube = {**CFG['tubes'][1], 'kernels': ('2x2x3', '3x5x4'), 'strides': ('1x4x3',), 'offsets': ('0x1x0',)}
    model, x = build(pool=pool, tubes=(CFG['tubes'][0], tube)), inputs(CLIP)
    arch = {**model.space.largest, 'tube2.kernel': '2x2x3'}
    weights = {c.name: Mixture.one_hot(model.space, arch, x)[c.name] for c in model.space}
    expected = run(model, weights, x)
    half = {**weights, 'tube2.kernel': weights['tube2.kernel'] * 0.25}  # it alone: its share is 1
    assert torch.allclose(run(model, half, x), expected, atol=1e-10)
    both = {**weights, 'tube2.kernel': torch.tensor([0.5, 0.25], dtype=torch.float64)}
    fewer = {**both, 'tube2.kernel': both['tube2.kernel'] / 4}  # as where a third value has been taken out
    assert torch.allclose(run(model, fewer, x), run(model, both, x), atol=1e-10)
    mixed = model.windows.mixed
    at = mixed(Mixture(model.space, weights))
    (only,) = at.tubes[1]
    third = torch.tensor(1 / 3, dtype=torch.float64)
    twice = (TubeCandidate(only.at, third), TubeCandidate(only.at, 2 * third))
    model.windows.mixed = lambda _: at._replace(tubes=(at.tubes[0], twice))
    assert torch.allclose(run(model, weights, x), expected, atol=1e-10)


def test_images_merge_candidates_that_differ_in_time():
    """Rejects one image cut twice by the same tube: its weight is the sum of both, stride and offset in time gone. One
    that is left alone has no weight, with which attention would be slower."""
    tube = {**CFG['tubes'][0], 'strides': ('2x4x3', '3x4x3', '3x4x2')}
    for strides, expected in (
        ((0.25, 0.5, 0.25), [((1, 4, 3), 0.75), ((1, 4, 2), 0.25)]),
        ((0.25, 0.75, 0), [((1, 4, 3), None)]),
    ):
        weights = soft(model_space(tube), tube1__kernel=(1, 0), tube1__stride=strides, tube1__offset=(1, 0))
        mixed = build(tubes=(tube, CFG['tubes'][1])).windows.mixed(Mixture(model_space(tube), weights))
        found = [
            (c.at.stride, c.weight if c.weight is None else round(float(c.weight), 12))
            for c in as_image(mixed.tubes[0])
        ]
        assert found == expected


def model_space(tube):
    return SuperViT(**{**CFG, 'tubes': (tube, CFG['tubes'][1])}).space


def test_too_many_candidates_of_a_tube_are_refused():
    """Rejects a search that softens the published space whole: 28 million tubes would be run, one after another."""
    with torch.device('meta'):
        model = SuperViT('vimnas-tiny', clamp_offsets=True)
    weights = {c.name: torch.ones(len(c)) / len(c) for c in model.space}
    with pytest.raises(ConfigError, match=r'mixture: found 3,136,000 combinations .* of tube1 .* at most 64'):
        run(model, weights, torch.zeros(1, 3, 32, 224, 224, device='meta'))


def test_a_mixed_step_reaches_every_weight():
    """Rejects parts of the supernet that a mixture never trains: every parameter but layers and taps that weigh
    nothing has a gradient."""
    model = build().train()
    run(model, soft(model.space), inputs(CLIP)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_under_autocast():
    """Rejects weights of another dtype than what they meet (a bias on the logits, positions, the head's scale) in
    mixed precision, sampled and mixed."""
    model = build().float()
    x, weights = inputs(CLIP).float(), {name: w.float() for name, w in soft(model.space).items()}
    for active in (model.space.largest, Mixture(model.space, weights)):
        with model.use(active):
            expected = model(x)
            with torch.autocast('cpu', torch.bfloat16):
                found = model(x)
        found.float().square().sum().backward()
        assert (found.float() - expected).abs().max() < 0.2 * expected.abs().max()
