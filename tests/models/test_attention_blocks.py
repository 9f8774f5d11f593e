"""GloRe, the non-local block and SE against their formulas, written out in double precision."""

import pytest
import torch
from torch import nn

from mmnas_video.cost import count
from mmnas_video.entangle import Window, whole
from mmnas_video.models.blocks import SuperGloRe, SuperNonLocal, SuperSqueezeExcite, squeeze_width

WINDOWS = [whole(7), Window(1, 5, 7), Window(5, 4, 7)]


def glore_formula(block, x, window, plain):
    """Chen et al. (CVPR 2019), Sec. 3, with the division by L: one einsum a step."""

    def by_position(conv, h, *windows):
        weight = plain.gather(conv.weight, *windows)[:, :, 0, 0, 0]
        return torch.einsum('oc,bcthw->bothw', weight, h)

    state = (by_position(block.state, x, None, window) + block.state.bias.view(1, -1, 1, 1, 1)).flatten(2)
    project = (by_position(block.projection, x, None, window) + block.projection.bias.view(1, -1, 1, 1, 1)).flatten(2)
    nodes = torch.einsum('bsl,bnl->bsn', state, project) / x[0, 0].numel()
    mixed = torch.einsum('nm,bsm->bsn', block.node_conv.weight[:, :, 0], nodes) + block.node_conv.bias
    reasoned = torch.einsum('os,bsn->bon', block.state_conv.weight[:, :, 0], (nodes + mixed).clamp(min=0))
    back = torch.einsum('bon,bnl->bol', reasoned, project).unflatten(2, x.shape[2:])
    return x + plain.normalise(by_position(block.extend, back, window), block.extend_norm, window)


def nonlocal_formula(block, x, window, plain):
    """Wang et al. (CVPR 2018), embedded Gaussian: softmax over all positions, without a scale."""

    def embed(conv, h):
        weight = plain.gather(conv.weight, None, window)[:, :, 0, 0, 0]
        return torch.einsum('oc,bcl->bol', weight, h.flatten(2)) + conv.bias[None, :, None]

    pooled = nn.functional.max_pool3d(x, (1, min(2, x.shape[3]), min(2, x.shape[4])))
    scores = torch.einsum('bci,bcj->bij', embed(block.theta, x), embed(block.phi, pooled))
    attended = torch.einsum('bij,bcj->bci', scores.exp() / scores.exp().sum(2, keepdim=True), embed(block.g, pooled))
    out = torch.einsum('oc,bcl->bol', plain.gather(block.out.weight, window)[:, :, 0, 0, 0], attended)
    out = (out + plain.gather(block.out.bias, window)[None, :, None]).unflatten(2, x.shape[2:])
    return x + plain.normalise(out, block.out_norm, window)


BLOCKS = {
    'glore': (lambda: SuperGloRe(7, 3), glore_formula),
    'nonlocal': (lambda: SuperNonLocal(7, 3), nonlocal_formula),
}


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', BLOCKS)
def test_block_equals_its_formula(name, training, small, plain, close):
    """Rejects nodes and states exchanged, a missing 1/L or a 1/sqrt(d) too many, a residual in the wrong
    place, keys that are not subsampled, sliced inner sizes, and a window in the wrong order; outputs and
    all gradients.
    """
    torch.manual_seed(0)
    make, formula = BLOCKS[name]
    block = small.randomise(make()).double().train(training)
    for norm in (getattr(block, 'extend_norm', None), getattr(block, 'out_norm', None)):
        if norm is not None:
            norm.weight.data.uniform_(0.5, 1.5)
    for window in WINDOWS:
        x = torch.randn(2, window.length, 3, 5, 4, dtype=torch.float64, requires_grad=True)
        upstream = torch.randn_like(x)
        inputs = [x, *block.parameters()]
        expected = formula(block, x, window, plain)
        expected_grads = torch.autograd.grad((expected * upstream).sum(), inputs)
        y = block(x, window)
        grads = torch.autograd.grad((y * upstream).sum(), inputs)
        assert close(y, expected)
        assert all(close(a, b, 1e-9) for a, b in zip(grads, expected_grads, strict=True))


@pytest.mark.parametrize('name', BLOCKS)
def test_a_new_block_is_the_identity(name):
    """Rejects a last norm that starts at one: inserting the block would disturb a trained network."""
    block = BLOCKS[name][0]().double()
    x = torch.randn(2, 7, 3, 5, 4, dtype=torch.float64)
    for mode in (True, False):
        assert torch.equal(block.train(mode)(x, whole(7)), x)


@pytest.mark.parametrize(('channels', 'nodes', 'params'), [(32, 16, 3968), (64, 32, 15616), (512, 128, 411136)])
def test_glore_has_the_published_parameters(channels, nodes, params):
    """Rejects other biases, state widths, an affine-free norm or one with torch's epsilon: 5CM + 5M² + 4M + 2C,
    measured on the authors' unit.
    """
    assert params == 5 * channels * nodes + 5 * nodes**2 + 4 * nodes + 2 * channels
    block = SuperGloRe(channels, nodes)
    assert sum(p.numel() for p in block.parameters()) == params
    assert block.cost(channels, (3, 5, 7)).params == params and block.extend_norm.eps == 1e-4


def test_glore_keeps_its_scale_when_the_clip_grows():
    """Rejects a sum over positions: a network tested on larger crops than it was trained on would change
    scale.
    """
    torch.manual_seed(1)
    block = SuperGloRe(7, 3).double().eval()
    block.extend_norm.weight.data.fill_(1)
    x = torch.randn(1, 7, 2, 3, 5, dtype=torch.float64)
    once, tiled = block(x, whole(7)), block(x.repeat(1, 1, 3, 2, 2), whole(7))
    assert torch.allclose(tiled, once.repeat(1, 1, 3, 2, 2), atol=1e-12)


@pytest.mark.parametrize('size', [(3, 5, 4), (2, 1, 3), (1, 1, 1), (5, 2, 2)])
@pytest.mark.parametrize('name', BLOCKS)
def test_cost_equals_the_counter(name, size):
    """Rejects forgotten matrix products (a CPU's counter sees no attention), a pooled size rounded up, and
    sides of 1 that are pooled away.
    """
    block = BLOCKS[name][0]()
    x = torch.zeros(1, 7, *size)
    counted, _ = count(block, x, whole(7))
    assert block.cost(7, size) == counted
    narrow = type(block)(5, 3)
    assert block.cost(5, size) == count(narrow, x[:, :5], whole(5))[0]


def test_nonlocal_cost_by_hand():
    """Rejects a counter and a closed form that share a mistake: 60 queries, 12 keys (3 x 2 x 2), inner width
    3.
    """
    cost = SuperNonLocal(7, 3).cost(5, (3, 5, 4))
    assert cost.macs == 2 * 60 * 5 * 3 + 2 * 12 * 5 * 3 + 2 * 60 * 12 * 3
    assert cost.params == 4 * 5 * 3 + 3 * 3 + 5 + 2 * 5


def test_squeeze_excite_equals_its_formula(plain, close):
    """Rejects the two windows exchanged, a maximum for the mean, a missing bias, and gates on
    other channels.
    """
    torch.manual_seed(2)
    block = SuperSqueezeExcite(7, 5).double()
    for conv in (block.fc1, block.fc2):
        nn.init.normal_(conv.bias)
    for window, squeeze in (
        (whole(7), whole(5)),
        (Window(5, 4, 7), Window(1, 3, 5)),
        (Window(2, 3, 7), Window(3, 4, 5)),
    ):
        x = torch.randn(2, window.length, 3, 5, 4, dtype=torch.float64)
        first = plain.gather(block.fc1.weight, squeeze, window)[:, :, 0, 0, 0]
        second = plain.gather(block.fc2.weight, window, squeeze)[:, :, 0, 0, 0]
        hidden = (x.mean((2, 3, 4)) @ first.T + plain.gather(block.fc1.bias, squeeze)).clamp(min=0)
        gate = 1 / (1 + (-(hidden @ second.T + plain.gather(block.fc2.bias, window))).exp())
        assert close(block(x, window, squeeze), x * gate[:, :, None, None, None])


def test_squeeze_excite_cost():
    """Rejects counting the gates at every position, and forgotten biases."""
    counted, _ = count(SuperSqueezeExcite(7, 5), torch.zeros(1, 7, 3, 5, 4), whole(7), whole(5))
    assert SuperSqueezeExcite(11, 13).cost(7, 5) == counted == (2 * 7 * 5, 2 * 7 * 5 + 7 + 5)


def test_squeeze_width_is_the_hosts():
    """Rejects ``int(channels / 16)``, rounding down below 90 %, and widths under 8: X3D's checkpoints would
    not load.
    """
    from mmaction.models.backbones.x3d import SEModule

    for channels in range(1, 2000, 7):
        for ratio in (1 / 16, 1 / 4, 0.5):
            assert squeeze_width(channels, ratio) == SEModule._round_width(channels, ratio)
    assert [squeeze_width(c, 1 / 16) for c in (54, 108, 216, 432)] == [8, 8, 16, 32]
