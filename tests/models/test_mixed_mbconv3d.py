"""SuperMBConv3D under a mixture: the parts that differ from one sampled network to another."""

from functools import partial
from itertools import product

import pytest
import torch

from mmnas_video.entangle import Mixture, Window, whole
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.models.blocks import JoinedInput, SuperGloRe, SuperNonLocal
from mmnas_video.testing import check_mixture
from mmnas_video.testing.mixture import random_weights

#: One group offers less than the next; the stem's width is offered by the first group; two stages share some widths.
CASES = {
    'stem width': dict(stem_channels=6),
    'fixed width': dict(fixed={'s1.g1.channels': 6}),
    'no stride': dict(stages=(((3, 9, 3), (1, 2)), ((6, 15, 3), (2,))), spatial_strides=(1, 1)),
    'widths on both sides of a stride': dict(stages=(((3, 9, 3), (1,)), ((6, 15, 3), (1,))), spatial_strides=(1, 2)),
    'no SE': dict(se_ratio=None, stem_temporal_kernel=3),
    'recomputed': dict(with_cp=True, stages=(((3, 6, 3), (1,)),), spatial_strides=(1,), kernels=('t1_s3', 't3_s5')),
}


@pytest.mark.parametrize('case', CASES)
def test_one_hot_is_the_sampled_network_and_gradients_are_right(case, small):
    """Rejects a shortcut that is run as the convolution where it is an identity (or the other way round), one that
    leaves the channels where they are although equal widths have other windows, or halves no picture where the stride
    is 2, and middle windows by expansion alone;
    and weights whose gradient is cut or doubled."""
    make = partial(SuperMBConv3D, **{**small.cfg, 'zero_init_residual': False, **CASES[case]})
    x = torch.randn(2, *small.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    check_mixture(make, x, small.some_archs(make().space, 4, seed=5)[2:])


@pytest.mark.parametrize('sharing', ['fair', 'prefix'])
def test_twenty_architectures_as_one_hot(sharing, small, close):
    """The law after a head, for smallest, largest and 20 random ones, in both modes. Rejects an output whose unused
    channels are not 0 by the time the last convolution sums over them."""
    model, x = small.build(sharing=sharing), torch.randn(2, *small.shape, dtype=torch.float64)
    head = torch.nn.Linear(small.cfg['out_channels'], 5).double()
    for training, arch in product((False, True), small.some_archs(model.space, 20, seed=9)):
        model.train(training)
        logits = []
        for active in (arch, Mixture.one_hot(model.space, arch, x)):
            with torch.no_grad(), model.use(active):
                kept = {name: value.clone() for name, value in model.state_dict().items()}
                logits.append(head(model(x).mean((2, 3, 4))))
                model.load_state_dict(kept)
        assert close(logits[1], logits[0], 1e-10)


def test_middle_windows_are_mixed_over_all_pairs(small):
    """Brute force over (expansion, channels). Rejects the transposed outer product, and windows of the middle width
    laid over the expansions alone."""
    model = small.build()
    weights = random_weights(model.space, seed=3)
    group = model.groups[1]
    at = group.at(Mixture(model.space, weights), 's1.g1.channels')
    mask = torch.zeros(int(3.0 * 9), dtype=torch.float64)
    for (i, e), (j, c) in product(enumerate((1.5, 2.25, 3.0)), enumerate((3, 6, 9))):
        window: Window = group.mids[e, c]
        for n in range(int(e * c)):
            mask[(window.start + n) % window.total] += weights['s1.g2.expansion'][i] * weights['s1.g2.channels'][j]
    assert torch.allclose(at.rest.mid.mask, mask, rtol=0, atol=1e-14)
    assert torch.equal(at.first.mid.mask, at.rest.mid.mask)


def test_the_shortcuts_shares(small):
    """Between two groups with the same widths: the identity weighs sum p_i q_i, the convolution the rest, also where
    the weights do not sum to one. Rejects 1 - sum p_i q_i, which a masked value makes wrong."""
    model = small.build()
    weights = random_weights(model.space, seed=4)
    weights['s1.g1.channels'] = torch.tensor([0.0, 0.5, 0.25], dtype=torch.float64)
    p, q = weights['s1.g1.channels'], weights['s1.g2.channels']
    at = model.groups[1].at(Mixture(model.space, weights), 's1.g1.channels')
    assert torch.isclose(at.first.shortcut.convolved, p.sum() * q.sum() - p @ q, rtol=1e-12)
    # Windows of 3, 6, 9: 0-2, 3-8, 0-8. Channel 0 is in those of 3 and 9, channel 5 in those of 6 and 9.
    move = at.first.shortcut.move
    assert torch.isclose(move[0, 0], p[2] * q[2]) and torch.isclose(move[5, 5], p[1] * q[1] + p[2] * q[2])
    assert torch.equal(move, move.diag().diag()) and at.rest.shortcut is None


def test_the_shortcuts_shares_where_another_stream_joins(small):
    """The identity holds where nothing joins and the widths are the same; all else is convolved. Rejects an identity of
    full weight beside the joined channels, and other widths that count again where something joins."""
    model = small.build()
    at = model.groups[1].at(Mixture(model.space, random_weights(model.space, seed=4)), 's1.g1.channels')
    move, convolved, _ = at.first.shortcut
    alone, beside = torch.tensor([0.25, 0.75], dtype=torch.float64)
    joined = at.joined_by(JoinedInput((('fused', whole(2)),), alone, beside)).first.shortcut
    assert torch.equal(joined.move, 0.25 * move) and convolved > 0.1
    assert torch.isclose(joined.convolved, 0.75 + 0.25 * convolved, rtol=1e-12)
    always = at.joined_by(JoinedInput((('fused', whole(2)),), None, alone + beside)).first.shortcut
    assert always.move is None and torch.isclose(always.convolved, torch.ones((), dtype=torch.float64), rtol=1e-12)


@pytest.mark.parametrize('alone', [0.25, None])
def test_a_masked_width_takes_its_weight_from_the_shortcut_where_another_stream_joins(small, alone):
    """Brute force over (fusion, input width, output width), of weights that do not sum to one. Rejects a convolution
    that keeps the weight of a masked width because something joins."""
    model, beside = small.build(), 0.75
    weights = random_weights(model.space, seed=4)
    weights['s1.g1.channels'] = torch.tensor([0.0, 0.5, 0.25], dtype=torch.float64)
    weights['s1.g2.channels'] = torch.tensor([0.5, 0.125, 0.0], dtype=torch.float64)
    terms = product(((alone or 0.0, False), (beside, True)), *(enumerate(weights[f's1.g{g}.channels']) for g in (1, 2)))
    expected = sum(f * p * q for (f, joins), (i, p), (o, q) in terms if joins or i != o)
    joined = JoinedInput(
        (('fused', whole(2)),), *(None if w is None else torch.tensor(w).double() for w in (alone, beside))
    )
    at = model.groups[1].at(Mixture(model.space, weights), 's1.g1.channels').joined_by(joined)
    assert torch.isclose(at.first.shortcut.convolved, expected, rtol=1e-12)


def counted(module, counts, name):
    module.register_forward_hook(lambda *_: counts.update({name: counts.get(name, 0) + 1}))


def test_what_weighs_exactly_nothing_is_not_run(small):
    """Rejects a mixture that runs every attention block and multiplies by 0, and a shortcut convolution that no pair of
    widths needs. Its parameters then have no gradient at all: momentum must not move them."""
    model, x = small.build(), torch.randn(2, *small.shape, dtype=torch.float64)
    weights = random_weights(model.space, seed=5)
    weights['s1.g1.attention'] = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)  # no GloRe
    for name in ('s1.g1.channels', 's1.g2.channels'):
        weights[name] = torch.tensor([0.0, 0.7, 0.0], dtype=torch.float64)  # equal widths: only the identity
    counts: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, (SuperGloRe, SuperNonLocal)) or name.endswith('.shortcut'):
            counted(module, counts, name)
    with model.use(Mixture(model.space, weights)):
        model(x).sum().backward()
    assert 'groups.0.glore' not in counts and counts['groups.0.nonlocal_block'] == counts['groups.1.glore'] == 1
    assert 'groups.1.blocks.0.shortcut' not in counts and counts['groups.0.blocks.0.shortcut'] == 1
    assert model.groups[0].glore.state.weight.grad is None
    assert model.groups[1].blocks[0].shortcut.weight.grad is None


def test_attention_is_mixed_at_its_output(small, close):
    """One group, everything fixed but the attention: the sum of the three networks' features before the last layer.
    Rejects attention that is mixed inside its block, or weights that are normalised."""
    cfg = dict(
        stages=(((6, 6, 3), (1,)),), spatial_strides=(1,), kernels=('t3_s3',), expansions=(1.5,), out_channels=11
    )
    model, x = small.build(**cfg).eval(), torch.randn(2, *small.shape, dtype=torch.float64)
    weights = torch.tensor([0.5, 0.2, 0.7], dtype=torch.float64)
    group, features = model.groups[0], model.stem(x)
    expected = 0
    for weight, name in zip(weights, ('none', 'glore', 'nonlocal'), strict=True):
        arch = model.space.smallest.replace({'s1.g1.attention': name})
        expected = expected + weight * group(features, group.at(arch, 7))
    found = group(features, group.at(Mixture(model.space, {'s1.g1.attention': weights}), 7))
    assert close(found, expected, 1e-12)


def test_a_shortcut_without_identity_keeps_its_weight(small, close):
    """Widths that never agree, and weights that do not sum to one: the convolution weighs what is left of its pairs.
    Rejects a shortcut that is run at full weight because nothing stands beside it."""
    model, x = small.build(stem_channels=7), torch.randn(2, *small.shape, dtype=torch.float64)
    weights = random_weights(model.space, seed=6)
    weights['s1.g1.channels'] = torch.tensor([0.25, 0.0, 0.0], dtype=torch.float64)
    weights['s1.g2.channels'] = torch.tensor([0.0, 0.5, 0.125], dtype=torch.float64)
    group, block = model.groups[1], model.groups[1].blocks[0].eval()
    at = group.at(Mixture(model.space, weights), 's1.g1.channels').first
    features = torch.randn(2, 9, *x.shape[2:], dtype=torch.float64)
    assert at.shortcut.move is None and float(at.shortcut.convolved) == 0.25 * 0.625
    expected = 0.25 * 0.625 * block.shortcut_norm(block.shortcut(features, at.out, at.inp), at.out)
    assert close(block._shortcut(features, at), expected, 1e-12)
