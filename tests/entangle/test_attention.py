"""Shared linear layers, LayerNorm and attention against plain ones built from gathered weights, in fp64."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import (
    HeadsAt,
    MixedWindow,
    SuperAttention,
    SuperLayerNorm,
    SuperLinear,
    TubeEmbed,
    Window,
    lay_windows,
    mix_heads,
    mix_windows,
    spread,
    whole,
)
from mmnas_video.entangle.attention import attend
from mmnas_video.testing import check_layer
from mmnas_video.testing.compare import randomise

EMBED = [whole(11), Window(0, 7, 11), Window(3, 5, 11), Window(9, 7, 11)]
HEADS = [whole(5), Window(1, 3, 5), Window(4, 2, 5)]
DIM = [whole(3), Window(0, 2, 3), Window(2, 2, 3)]


def close(a, b):
    assert a.shape == b.shape
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def test_linear_equals_a_plain_one(plain):
    """Rejects input and output windows exchanged, a bias that is not sliced, and wrapped features in another
    order."""
    torch.manual_seed(0)
    layer = SuperLinear(11, 13).double()
    nn.init.normal_(layer.bias)
    for inp, out in product(EMBED, [whole(13), Window(2, 5, 13), Window(8, 7, 13)]):
        x = torch.randn(2, 3, inp.length, dtype=torch.float64)
        weight, bias = plain.gather(layer.weight, out, inp), plain.gather(layer.bias, out)
        assert close(layer(x, out, inp), torch.einsum('bni,oi->bno', x, weight) + bias)


def test_weights_start_as_those_of_a_vision_transformer():
    """Rejects torch's own initialisation, or another size of it: normal numbers of 0.02, and biases of 0."""
    torch.manual_seed(0)
    attention = SuperAttention(101, 5, 19)
    layers = [SuperLinear(101, 97), attention.qkv, attention.proj, TubeEmbed(3, 101, [(2, 5, 7), (3, 3, 5)])]
    assert [float(layer.weight.detach().std()) for layer in layers] == pytest.approx([0.02] * 4, rel=0.05)
    assert not any(layer.bias.any() for layer in layers)


def test_layer_norm_by_its_formula(plain):
    """Rejects statistics over all channels instead of the window's, an unbiased variance, and another eps."""
    layer = SuperLayerNorm(11, eps=0.25).double()
    randomise(layer)
    for window in EMBED:
        x = torch.randn(2, 3, window.length, dtype=torch.float64)
        centred = x - x.mean(-1, keepdim=True)
        normal = centred / (centred.square().mean(-1, keepdim=True) + 0.25).sqrt()
        expected = normal * plain.gather(layer.weight, window) + plain.gather(layer.bias, window)
        assert close(layer(x, window), expected)
    assert SuperLayerNorm(11).eps == 1e-6


def reference(layer, x, embed, at, plain):
    """Attention head by head, each with its own rows of gathered weights."""
    out = plain.gather(layer.proj.bias, embed)
    for head in plain.indices(at.heads).tolist():
        q, k, v = (
            x @ plain.gather(layer.qkv.weight[part, head], at.dim, embed).T
            + plain.gather(layer.qkv.bias[part, head], at.dim)
            for part in range(3)
        )
        shares = (q @ k.transpose(1, 2) / math.sqrt(at.dim.length)).softmax(-1)
        out = out + shares @ v @ plain.gather(layer.proj.weight[:, head], embed, at.dim).T
    return out


@pytest.mark.parametrize('heads', HEADS)
@pytest.mark.parametrize('dim', DIM)
def test_attention_is_head_consistent(heads, dim, plain):
    """Rejects rows of Q, K and V cut as one block (a head would get another's channels), queries of one head
    with keys of another, the scale of the largest head, and output columns in another order: primes
    everywhere."""
    layer = SuperAttention(11, 5, 3).double()
    randomise(layer, seed=3)
    layer.qkv.weight.data.mul_(20), layer.proj.weight.data.mul_(20)  # far from uniform attention
    for embed in EMBED:
        x = torch.randn(2, 13, embed.length, dtype=torch.float64)
        found = layer(x, embed, HeadsAt(heads, dim))
        assert found.std() > 0.1 and close(found, reference(layer, x, embed, HeadsAt(heads, dim), plain))


def test_attention_with_weighed_keys():
    """Rejects a bias on the queries, one added after the softmax, and one that is scaled: a weight of 2 on a key
    is that key twice, a weight of 0 is none."""
    layer = SuperAttention(11, 5, 3).double()
    randomise(layer)
    x = torch.randn(2, 7, 11, dtype=torch.float64)
    at = HeadsAt(whole(5), whole(3))
    twice = layer(torch.cat([x, x[:, 2:3]], 1), whole(11), at)
    weight = torch.ones(7, dtype=torch.float64)
    weight[2] = 2
    assert close(layer(x, whole(11), at, weight.log()), twice[:, :7])
    weight[2] = 0
    without = layer(torch.cat([x[:, :2], x[:, 3:]], 1), whole(11), at)
    found = layer(x, whole(11), at, weight.log())
    assert close(torch.cat([found[:, :2], found[:, 3:]], 1), without)


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_weighed_attention_has_linear_memory(dtype, tolerance):
    """Rejects a mask of tokens × tokens (what is kept for the backward pass is looked at), a scaled bias, one that is
    rounded before it meets the scale, and a gradient of it that is none; -inf leaves keys out."""
    tokens, generator = 401, torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, tokens, 7, generator=generator, dtype=torch.float64) for _ in range(3))
    bias = torch.randn(tokens, generator=generator, dtype=torch.float64)
    bias[:13] = -torch.inf
    bias.requires_grad_()
    logits = 0.4 * q @ k.transpose(-1, -2) + bias
    expected = logits.softmax(-1) @ v
    (slope,) = torch.autograd.grad(expected[..., 0].sum(), bias)

    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        found = attend(*(x.to(dtype).requires_grad_() for x in (q, k, v)), 0.4, bias)
    assert max(kept) <= 2 * 3 * tokens * 8
    assert (found.double() - expected).abs().max() < tolerance
    assert torch.allclose(torch.autograd.grad(found[..., 0].sum(), bias)[0], slope, rtol=0, atol=100 * tolerance)


def test_one_hot_mixtures_are_the_sampled_layers():
    """Rejects a mask on the wrong axis, LayerNorm statistics over all channels, and the scale of another head
    width, for windows that start past 0 and wrap."""
    torch.manual_seed(1)
    pairs = list(product((2, 3, 5), (2, 3)))
    for sharing in ('prefix', 'fair'):
        heads = dict(zip((2, 3, 5), lay_windows((2, 3, 5), sharing), strict=True))
        dims = lay_windows([d for _, d in pairs], sharing)
        ats = [HeadsAt(heads[h], window) for (h, _), window in zip(pairs, dims, strict=True)]
        embeds = lay_windows((5, 7, 11), sharing)
        attention, norm = SuperAttention(11, 5, 3).double(), SuperLayerNorm(11).double()
        randomise(attention), randomise(norm)
        for (i, embed), (j, at) in product(enumerate(embeds), enumerate(ats)):
            one = mix_windows(embeds, torch.eye(3, dtype=torch.float64)[i])
            several = mix_heads(ats, torch.eye(6, dtype=torch.float64)[j])
            x = torch.randn(2, 13, embed.length, dtype=torch.float64)
            y, wide = norm(x, embed), norm(spread(x, embed), one)
            assert close(wide, spread(y, embed))
            assert close(attention(wide, one, several), spread(attention(y, embed, at), embed))


def test_mixed_layer_norm_counts_the_expected_width():
    """Rejects statistics over all channels, and over those that any width has: two widths that share their weight
    count the channels of the wider one half."""
    norm = SuperLayerNorm(5, eps=0.0).double()
    mask = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5], dtype=torch.float64)
    x = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0], dtype=torch.float64)
    mean = (2 + 3 + 5 + 3.5 + 5.5) / 4
    variance = sum(m * (v - mean) ** 2 for m, v in zip(mask.tolist(), x.tolist(), strict=True)) / 4
    expected = (x - mean) / math.sqrt(variance) * mask
    assert close(norm(x[None], MixedWindow(mask, 5))[0], expected)


def test_mixed_heads_are_not_a_product_of_masks():
    """Rejects a mask from the two choices apart: two heads of three channels or three of two never use the third
    channel of the third head."""
    pairs = [HeadsAt(Window(0, 2, 3), whole(3)), HeadsAt(whole(3), Window(0, 2, 3))]
    mixed = mix_heads(pairs, torch.tensor([0.25, 0.75], dtype=torch.float64))
    expected = torch.tensor([[1, 1, 0.25], [1, 1, 0.25], [0.75, 0.75, 0]], dtype=torch.float64)
    assert close(mixed.mask, expected)
    assert close(mixed.scale, torch.tensor(0.25 / math.sqrt(3) + 0.75 / math.sqrt(2), dtype=torch.float64))


@pytest.mark.parametrize('weighed', [False, True])
@pytest.mark.parametrize(
    ('sharing', 'groups'),
    [('prefix', ((2, 7), (1, 5), (2, 3))), ('fair', ((2, 7), (3, 5)))],
)
def test_heads_of_several_widths_in_one_mixture(sharing, groups, weighed):
    """Heads of 7, 5 and 3 channels, against all heads with 7 whose unused channels weigh nothing. Rejects heads as
    narrow as their neighbours or as the first candidate that has them, groups whose outputs meet other columns of the
    projection, and a key's weight that only the first group heeds."""
    torch.manual_seed(2)
    layer = SuperAttention(11, 5, 7).double()
    randomise(layer)
    layer.qkv.weight.data.mul_(20)
    shares = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    heads = lay_windows((2, 3, 5), sharing)
    mixed = mix_heads([HeadsAt(h, Window(0, d, 7)) for h, d in zip(heads, (7, 5, 3), strict=True)], shares)
    assert mixed.groups == groups
    x, embed = torch.randn(2, 13, 11, dtype=torch.float64), mix_windows([whole(11), Window(0, 5, 11)], shares[:2])
    bias = torch.randn(13, dtype=torch.float64) if weighed else None
    mask = mixed.mask[..., None] * embed.mask
    q, k, v = (
        torch.einsum('bnd,hcd->bhnc', x, layer.qkv.weight[part] * mask) + (layer.qkv.bias[part] * mixed.mask)[:, None]
        for part in range(3)
    )
    logits = mixed.scale * q @ k.mT + (bias if weighed else 0)
    y = torch.einsum('bhnc,dhc->bnd', logits.softmax(-1) @ v, layer.proj.weight * mask.permute(2, 0, 1))
    assert close(layer(x, embed, mixed, bias), y + layer.proj.bias * embed.mask)


def test_spread_is_the_inverse_of_take(plain):
    """Rejects zeros on the wrong side, and wrapped channels that are not moved back."""
    for window in EMBED:
        x = torch.randn(2, window.length, dtype=torch.float64)
        wide = spread(x, window)
        assert close(plain.gather(wide, None, window), x) and close(wide.abs().sum(), x.abs().sum())


def test_cost_by_hand():
    """Rejects one product of attention instead of two, heads counted twice, biases forgotten."""
    assert SuperAttention.cost(11, 5, 3, 7) == Cost(4 * 11 * 15 * 7 + 2 * 7 * 7 * 15, 4 * 11 * 15 + 3 * 15 + 11)
    assert SuperLinear(13, 17).cost(3, 5, 7) == Cost(3 * 5 * 7, 3 * 5 + 3)
    assert SuperLinear(13, 17, bias=False).cost(3, 5, 7) == Cost(3 * 5 * 7, 15)
    assert SuperLayerNorm.cost(7) == Cost(0, 14)


@pytest.mark.parametrize('bias', [True, False])
def test_layers_obey_the_law_of_shared_weights(bias):
    """Rejects slices that are not what forward reads, gradients outside them, and a cost that torch does not
    count."""
    check_layer(
        lambda out, inp: SuperLinear(inp.length, out.length, bias),
        (whole(11), whole(13)),
        [(EMBED[1], Window(8, 7, 13)), (EMBED[3], Window(2, 5, 13))],
        lambda out, inp: (5, inp.length),
        lambda layer, out, inp: layer.cost(out.length, inp.length, 5),
    )
    check_layer(
        lambda at: SuperLayerNorm(at.length),
        (whole(11),),
        [(window,) for window in EMBED[1:]],
        lambda at: (5, at.length),
        lambda layer, at: layer.cost(at.length),
    )


def test_masks_of_heads_are_not_rounded_under_autocast():
    """Rejects a matrix product of the weights: under autocast it runs in 16 bits."""
    candidates = [HeadsAt(Window(0, h, 3), Window(0, d, 7)) for h, d in ((1, 7), (2, 5), (3, 2))]
    weights = torch.tensor([0.1, 0.3, 0.6])
    plain = mix_heads(candidates, weights)
    with torch.autocast('cpu', torch.bfloat16):
        found = mix_heads(candidates, weights)
    assert torch.equal(found.mask, plain.mask)
    assert torch.equal(found.scale, plain.scale)
