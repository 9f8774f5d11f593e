"""Fusion of two streams: each operation against its formula, joined weights against gathered ones, and the neck."""

import pytest
import torch
import torch.nn.functional as F

from mmnas_video.entangle import JoinedWindow, SuperConv3d, Window, lay_windows, whole
from mmnas_video.errors import ConfigError
from mmnas_video.models.blocks import SuperFusion, time_to_channel
from mmnas_video.models.necks import TSFusion
from mmnas_video.registry import MODELS

B, C, D, T, R, H, W = 2, 11, 5, 2, 3, 7, 13  # R dense frames to a sparse frame
ALL = ('none', 'time_strided_sampling', 'time_strided_conv', 'time_to_channel')


def tensor(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def streams():
    """Sparse and dense features."""
    return tensor(B, C, T, H, W), tensor(B, D, T * R, H, W, seed=1)


def site(fusions=ALL, dense=(D,), sparse=(C,), **cfg):
    """A site with fair windows over these widths."""
    torch.manual_seed(0)
    widths = (dict(zip(values, lay_windows(values), strict=True)) for values in (sparse, dense))
    made = SuperFusion(*widths, fusions, R, **cfg).double().eval()
    for name, parameter in made.named_parameters():
        if parameter.ndim == 1:
            parameter.data.uniform_(0.5, 1.5)
        assert parameter.any(), name
    return made


# ---------------------------------------------------------------- each operation
def test_time_to_channel_is_a_reshape(streams):
    """Rejects frame-major channels (a window of dense channels would fall apart), a reshape that mixes channels with
    time without moving the axis, and frames of the next sparse frame.
    """
    _, dense = streams
    found = time_to_channel(dense, R)
    assert found.shape == (B, D * R, T, H, W)
    for c in range(D):
        for r in range(R):
            for t in range(T):
                assert torch.equal(found[:, c * R + r, t], dense[:, c, t * R + r])


def test_sampling_takes_the_first_of_every_r_frames(streams):
    """Rejects the last or middle frame (the sparse stream saw the first), and a stride in space."""
    sparse, dense = streams
    made = site()
    found = made(sparse, dense, made.at('time_strided_sampling', C, D))
    expected = torch.stack([dense[:, :, 0], dense[:, :, R]], 2)
    assert torch.equal(found, torch.cat([sparse, expected], 1))


def test_strided_convolution_by_its_sum(streams):
    """Rejects a convolution without padding (T comes out short), centred elsewhere than on the sparse frame, of stride
    1, of another width than twice the dense one, or without BN and ReLU.
    """
    sparse, dense = streams
    made = site()
    found = made(sparse, dense, made.at('time_strided_conv', C, D))[:, C:]
    weight, norm = made.conv.weight, made.conv_norm
    assert weight.shape == (2 * D, D, 5, 1, 1) and found.shape == (B, 2 * D, T, H, W)
    for t in range(T):
        total = 0
        for tap in range(5):
            frame = t * R + tap - 2
            if 0 <= frame < T * R:
                total = total + torch.einsum('oi,bihw->bohw', weight[:, :, tap, 0, 0], dense[:, :, frame])
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, 1, 1)
        expected = torch.relu((total - norm.running_mean.view(1, -1, 1, 1)) * scale + norm.bias.view(1, -1, 1, 1))
        assert torch.allclose(found[:, :, t], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('fusion', 'channels'), list(zip(ALL, (0, D, 2 * D, R * D), strict=True)))
def test_concatenated_channels_are_slowfasts(fusion, channels, streams):
    """Rejects fused channels before the sparse ones, and another number than c, 2c, alpha c; and a site that changes
    the sparse features when nothing joins.
    """
    sparse, dense = streams
    made = site()
    at = made.at(fusion, C, D)
    found = made(sparse, dense, at)
    assert found.shape == (B, C + channels, T, H, W) and torch.equal(found[:, :C], sparse)
    joined = made.joined(at)
    assert (joined is None) == (channels == 0)
    assert joined is None or [(name, w.length) for name, w in joined.parts] == [(fusion, channels)]


@pytest.mark.parametrize('fusion', ALL[1:])
def test_sum_adds_a_projection_and_starts_as_no_fusion(fusion, streams):
    """Rejects a sum that changes an inherited sparse stream from the first step, one without norm, and one that joins
    channels as well.
    """
    sparse, dense = streams
    fresh = SuperFusion({C: whole(C)}, {D: whole(D)}, ALL, R, 'sum').double().eval()
    assert torch.equal(fresh(sparse, dense, fresh.at(fusion, C, D)), sparse)
    made, concat = site(merge='sum'), site()
    concat.load_state_dict({k: v for k, v in made.state_dict().items() if k.startswith('conv')})
    at = made.at(fusion, C, D)
    fused = concat(sparse, dense, concat.at(fusion, C, D))[:, C:]
    norm, y = made.project_norm, F.conv3d(fused, made.project[fusion].weight)
    shape = (1, -1, 1, 1, 1)
    y = (y - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    expected = sparse + y * norm.weight.view(shape) + norm.bias.view(shape)
    assert torch.allclose(made(sparse, dense, at), expected, rtol=1e-12, atol=1e-12) and made.joined(at) is None


@pytest.mark.parametrize('weights', [(0.98, 0.02), (0.3, 0.7)])
def test_a_mixture_of_sums_is_the_sum_of_the_networks(weights, streams):
    """Rejects a norm after the weights, whose batch statistics take them out again (a fusion of weight 0.02 would count
    as one of 0.98, and α of no fusion would have no gradient): in training, to 1e-12, with the gradient of the weights.
    """
    sparse, dense = streams
    made = site(merge='sum').train()
    outputs = [made(sparse, dense, made.at(fusion, C, D)) for fusion in ('none', 'time_strided_conv')]
    p = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    found = made(sparse, dense, made.mixed(dict(zip(('none', 'time_strided_conv'), p, strict=True)), one, one))
    assert torch.allclose(found, weights[0] * outputs[0] + weights[1] * outputs[1], rtol=0, atol=1e-12)
    probe = tensor(*found.shape, seed=2)
    (slope,) = torch.autograd.grad((found * probe).sum(), p)
    assert torch.allclose(slope, torch.stack([(output * probe).sum() for output in outputs]), rtol=0, atol=1e-9)


# ---------------------------------------------------------------- shared weights
@pytest.mark.parametrize('fusion', ALL[1:])
def test_windows_follow_the_dense_channels(fusion, plain):
    """Rejects windows that start at 0, or that are laid over the fused channels on their own: what comes out of dense
    channel c must always be read by the same weights. By features that carry their channel's number, for windows that
    start past 0 and that wrap.
    """
    widths = (2, 5, 7)
    made = site(dense=widths, sparse=(3,))
    windows = dict(zip(widths, lay_windows(widths), strict=True))
    assert any(w.wraps for w in windows.values()) or windows[5].start
    full = torch.arange(7.0).double().view(1, 7, 1, 1, 1).expand(1, 7, R, 1, 1)
    factor = {'time_strided_sampling': 1, 'time_strided_conv': 2, 'time_to_channel': R}[fusion]
    for width, window in windows.items():
        parts = made.joined(made.at(fusion, 3, width)).parts
        assert parts == ((fusion, Window(window.start * factor, width * factor, 7 * factor)),)
        if fusion != 'time_strided_conv':
            own = made(torch.zeros(1, 3, 1, 1, 1), plain.gather(full, None, window), made.at(fusion, 3, width))
            everything = made(torch.zeros(1, 3, 1, 1, 1), full, made.at(fusion, 3, 7))[:, 3:]
            assert torch.equal(own[:, 3:], plain.gather(everything, None, parts[0][1]))


def test_joined_weights_by_gathering(plain):
    """Rejects joined weights taken from the other place, in the other order, or at whole width; their slices under
    another name; and a cost without them.
    """
    conv = SuperConv3d(7, 11, (3, 1, 1), joined_channels={'a': 5, 'b': 13}).double()
    out, own, joined = Window(9, 5, 11), Window(5, 3, 7), Window(11, 5, 13)  # all wrap
    inp = JoinedWindow(own, (('b', joined),))
    x = tensor(B, 8, T, 2, 3)
    weight = torch.cat([plain.gather(conv.weight, out, own), plain.gather(conv.joined['b'], out, joined)], 1)
    assert torch.allclose(conv(x, out, inp), F.conv3d(x, weight, padding=(1, 0, 0)), rtol=1e-12, atol=1e-12)
    parts = {part.name: part for part in conv.slices('p.', out, inp)}
    assert set(parts) == {'p.weight', 'p.joined.b'}
    assert torch.equal(parts['p.joined.b'](conv.joined['b']), weight[:, 3:])
    assert inp.length == 8 and conv.cost(5, inp.length, (T, 2, 3)) == (5 * 8 * 3 * T * 6, 5 * 8 * 3)
    assert set(dict(SuperConv3d(7, 11).named_parameters())) == {'weight'}


def test_mixed_fusions_are_the_weighted_sum_of_the_next_layer(streams):
    """Rejects weights on the wrong fusion, sparse features that are counted once per fusion, a fusion of weight 0 that
    still runs, and weights in the joined windows a second time.
    """
    sparse, dense = streams
    made = site()
    conv = SuperConv3d(C, 3, joined_channels=made.joined_channels).double()
    shares = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    names = ('none', 'time_strided_conv', 'time_to_channel')
    at = made.mixed(dict(zip(names, shares, strict=True)), one, one)
    joined = made.joined(at)
    found = conv(made(sparse, dense, at), whole(3), JoinedWindow(whole(C), joined.parts))
    expected = 0
    for name, share in zip(names, shares, strict=True):
        own = made.at(name, C, D)
        parts = made.joined(own)
        inp = whole(C) if parts is None else JoinedWindow(whole(C), parts.parts)
        expected = expected + share * conv(made(sparse, dense, own), whole(3), inp)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert [name for name, _ in joined.parts] == list(names[1:])
    assert joined.alone == 0.2 and joined.beside == pytest.approx(0.8)


# ---------------------------------------------------------------- the neck
def test_the_neck_takes_one_level_or_a_list(streams):
    """Rejects a neck that returns anything but MMAction2's (features, losses), that drops the dense features, or that
    gives every level the first level's weights.
    """
    neck = MODELS.build(dict(type='TSFusion', in_channels=[(C, D)], ratio=R)).double().eval()
    (fused, dense), losses = neck(streams)
    assert fused.shape[1] == C + 2 * D and dense is streams[1] and losses == {}
    levels = [streams, (tensor(B, 3, 1, 2, 2), tensor(B, 2, R, 2, 2))]
    cfg = dict(type='TSFusion', in_channels=[(C, D), (3, 2)], fusions=['none', 'time_to_channel'], ratio=R)
    (fused, _), _ = MODELS.build(cfg)(tuple(zip(*levels, strict=True)))
    assert torch.equal(fused[0], streams[0]) and torch.equal(fused[1][:, 3:], time_to_channel(levels[1][1], R))


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (dict(merge='add'), ['fusion.merge', "'add'", 'concat']),
        (dict(kernel_size=4), ['fusion.kernel_size', '4', 'odd']),
        (dict(fusions='time_to_chanel'), ['time_to_chanel', 'time_to_channel']),
        (dict(in_channels=[]), ['neck.fusions', 'at least one level']),
        (dict(fusions=['none', 'none']), ['neck.fusions', '2 fusions', '1 levels']),
    ],
)
def test_a_wrong_neck_is_one_clear_error(change, parts):
    """Rejects a KeyError from the middle of the construction."""
    with pytest.raises(ConfigError) as error:
        TSFusion(**{'in_channels': [(C, D)], 'ratio': R, **change})
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ('shapes', 'text'),
    [
        (
            ((B, C, T, H, W), (B, D, T * R - 1, H, W)),
            r'neck\.ratio: found 5 dense and 2 sparse frames, expected 3 times',
        ),
        (
            ((B, C + 1, T, H, W), (B, D, T * R, H, W)),
            r'neck\.in_channels: found \(11, 5\), the backbone gives \(12, 5\)',
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(shapes, text):
    """Rejects frames that are dropped silently, and a KeyError for channels."""
    neck = TSFusion([(C, D)], ratio=R)
    with pytest.raises(ConfigError, match=text):
        neck(tuple(torch.zeros(shape) for shape in shapes))
    with pytest.raises(ConfigError, match=r'neck\.in_channels: found 1 levels, the backbone gives 2'):
        neck(([torch.zeros(B, C, T, H, W)] * 2, [torch.zeros(B, D, T * R, H, W)] * 2))
