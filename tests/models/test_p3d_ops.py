"""Each pseudo-3D operator against its composition in plain PyTorch, at odd and tiny sizes."""

import pytest
import torch
import torch.nn.functional as F

from mmnas_video.cost import Cost, count
from mmnas_video.models.blocks.p3d_ops import BUILDERS, FactorizedReduce, OpOptions, Pool
from mmnas_video.testing.compare import randomise

SIZES = [(5, 13, 11), (3, 7, 8), (2, 1, 2), (1, 2, 1)]


def made(op, stride, channels=3, options=None, seed=0):
    torch.manual_seed(seed)
    module = BUILDERS[op](channels, stride, options or OpOptions()).double().eval()
    randomise(module, seed)
    return module


def clip(size, channels=3, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)


def normalised(x, norm):
    """BN in eval mode by its formula."""
    shape = (1, -1, 1, 1, 1)
    y = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return y if norm.weight is None else y * norm.weight.view(shape) + norm.bias.view(shape)


def by_frames(x, function):
    """A 2-D operation on every frame."""
    return torch.stack([function(x[:, :, t]) for t in range(x.shape[2])], 2)


def temporal(x, weight):
    """Three taps over time, written out: frame t sees t - 1, t and t + 1."""
    padded = F.pad(x, (0, 0, 0, 0, 1, 1))
    taps = [torch.einsum('oi,bithw->bothw', weight[:, :, k, 0, 0], padded[:, :, k : k + x.shape[2]]) for k in range(3)]
    return sum(taps)


def plain(op, module, x, stride):
    """What Table 1 says, one frame and one tap at a time."""
    weights = [conv.weight for conv in module.convs]
    y = F.relu(x)
    if op == 'conv_1':
        y = torch.einsum('oi,bithw->bothw', weights[0][:, :, 0, 0, 0], y[..., ::stride, ::stride])
    elif op == 'spe_conv_3':
        y = by_frames(y, lambda f: F.conv2d(f, weights[0][:, :, 0], None, (stride, 1), (1, 0)))
        y = by_frames(y, lambda f: F.conv2d(f, weights[1][:, :, 0], None, (1, stride), (0, 1)))
        y = temporal(y, weights[2])
    else:
        dilation = 2 if op == 'dil_conv_3' else 1
        y = by_frames(y, lambda f: F.conv2d(f, weights[0][:, :, 0], None, stride, dilation, dilation))
        y = temporal(y, weights[1])
    return normalised(y, module.norm)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('op', ['conv_1', 'conv_3', 'spe_conv_3', 'dil_conv_3'])
def test_convolutions_are_their_composition(op, stride, size):
    """Rejects a 3-D kernel in the place of two, time before space, BN or ReLU between them, dilation in time, padding
    that moves the dilated kernel, a stride in time or twice in one axis."""
    module, x = made(op, stride), clip(size)
    found = module(x)
    torch.testing.assert_close(found, plain(op, module, x, stride), rtol=1e-10, atol=1e-10)
    assert found.shape[2:] == (size[0], -(-size[1] // stride), -(-size[2] // stride))


def test_fields_of_the_convolutions():
    """Rejects a dilated kernel of 3 x 3 or 7 x 7 pixels, and one that looks 5 frames far."""
    fields = {}
    for op in ('conv_1', 'conv_3', 'spe_conv_3', 'dil_conv_3'):
        x = clip((9, 11, 13)).abs().requires_grad_()  # nothing that the ReLU cuts off
        made(op, 1)(x)[0, 0, 4, 5, 6].backward()
        seen = x.grad[0].abs().sum(0).nonzero()
        fields[op] = tuple((seen.max(0).values - seen.min(0).values + 1).tolist())
    assert fields == {'conv_1': (1, 1, 1), 'conv_3': (3, 3, 3), 'spe_conv_3': (3, 3, 3), 'dil_conv_3': (3, 5, 5)}


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kind', ['max', 'avg'])
def test_pooling_is_space_then_time(kind, stride, size):
    """Rejects zeros that count in an average or win a maximum at the edges, a stride in time, and a pooling that
    refuses maps smaller than its kernel."""
    x = clip(size) - 3  # all but surely negative: a zero from the padding would show
    found = Pool(kind, 3, stride)(x)
    pick = {'max': torch.amax, 'avg': torch.mean}[kind]
    expected = torch.empty_like(found)
    for t in range(size[0]):
        for i in range(found.shape[3]):
            for j in range(found.shape[4]):
                near = [slice(max(stride * n - 1, 0), stride * n + 2) for n in (i, j)]
                # An average of averages: all frames have the same number of pixels here, so it is the average of all.
                expected[:, :, t, i, j] = pick(x[:, :, max(t - 1, 0) : t + 2, near[0], near[1]], (2, 3, 4))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_norm_after_pooling():
    """Rejects a BN that learns (it could undo the weight of the operator), and one where none is asked for."""
    x = clip((5, 7, 6))
    module = made('avg_pool_3', 2, options=OpOptions(pool_norm=True))
    assert not list(module.parameters())
    torch.testing.assert_close(module(x), normalised(Pool('avg', 3, 2)(x), module.norm))
    assert Pool('max', 3).norm is None
    for op in ('conv_1', 'conv_3'):
        assert made(op, 1, options=OpOptions(affine=False)).norm.weight is None


@pytest.mark.parametrize('size', SIZES)
def test_factorized_reduce_sees_two_pixels_of_four(size):
    """Rejects both halves on the same pixels, a size that is rounded down where it is odd, and a lost channel where
    their number is odd."""
    torch.manual_seed(0)
    module, x = FactorizedReduce(3, 5).double().eval(), clip(size)
    randomise(module)
    y = F.relu(x)
    height, width = -(-size[1] // 2), -(-size[2] // 2)
    padded = F.pad(y, (0, 2 * width - size[2], 0, 2 * height - size[1]))
    halves = [
        torch.einsum('oi,bithw->bothw', conv.weight[:, :, 0, 0, 0], padded[..., first::2, first::2])
        for first, conv in ((0, module.even), (1, module.odd))
    ]
    assert [half.shape[1] for half in halves] == [2, 3]
    torch.testing.assert_close(module(x), normalised(torch.cat(halves, 1), module.norm), rtol=1e-10, atol=1e-10)


def test_skip():
    """Rejects a skip that is not the input itself, and one that drops pixels where the resolution is halved."""
    x = clip((5, 13, 11))
    assert made('skip', 1)(x) is x
    assert isinstance(made('skip', 2), FactorizedReduce)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('op', BUILDERS)
def test_costs_are_what_torch_counts(op, stride, size):
    """Rejects a cost at the input's size where the output is smaller, also half-way through three 1-D filters."""
    module = made(op, stride, channels=5)
    counted, _ = count(module, torch.zeros(1, 5, *size, dtype=torch.float64))
    assert module.cost(size) == counted


def test_costs_by_hand():
    """Rejects a closed form and a counter that are wrong alike: C² times taps, and BN's two parameters a channel."""
    c, (t, h, w) = 5, (3, 7, 11)
    parameters = {'conv_1': c * c, 'spe_conv_3': 9 * c * c, 'conv_3': 12 * c * c, 'dil_conv_3': 12 * c * c}
    for op, weights in parameters.items():
        assert made(op, 1, c).cost((t, h, w)) == Cost(weights * t * h * w, weights + 2 * c)
    # Strided: 3 taps after H is halved, 3 after W is too, 3 over time.
    assert made('spe_conv_3', 2, c).cost((t, h, w)).macs == 3 * c * c * t * (4 * 11 + 4 * 6 + 4 * 6)
    assert made('skip', 2, c).cost((t, h, w)) == Cost(c * c * t * 4 * 6, c * c + 2 * c)
    assert made('skip', 1, c).cost((t, h, w)) == made('max_pool_3', 2, c).cost((t, h, w)) == Cost()
