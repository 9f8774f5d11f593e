"""One block and the stem against plain torch, step by step, in double precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmnas_video.cost import count
from mmnas_video.entangle import Window, whole
from mmnas_video.errors import ConfigError
from mmnas_video.models.blocks import BlockWindows, MBConv3D, Stem

SAME = Window(5, 4, 7)
AT = {
    'largest': BlockWindows(whole(7), whole(13), whole(7), whole(5), (5, 5)),
    'equal windows': BlockWindows(SAME, Window(11, 6, 13), SAME, Window(3, 4, 5), (3, 5)),
    'other width': BlockWindows(Window(1, 3, 7), Window(2, 9, 13), SAME, Window(0, 2, 5), (1, 3)),
}


def block_formula(block, x, at, plain):
    """Feichtenhofer (CVPR 2020), Fig. 2 of the text: expand, depthwise, SE, swish, project, add, ReLU."""
    t, k = at.kernel
    y = F.conv3d(x, plain.gather(block.expand.weight, at.mid, at.inp))
    y = plain.normalise(y, block.expand_norm, at.mid).clamp(min=0)
    big = plain.gather(block.depthwise.weight, at.mid)
    a, b = (big.shape[2] - t) // 2, (big.shape[3] - k) // 2
    kernel = big[:, :, a : a + t, b : b + k, b : b + k]
    padded = F.pad(y, (k // 2, k // 2, k // 2, k // 2, t // 2, t // 2))
    windows = padded.unfold(2, t, 1).unfold(3, k, block.stride).unfold(4, k, block.stride)
    y = torch.einsum('bcthwijk,cijk->bcthw', windows, kernel[:, 0])
    y = plain.normalise(y, block.depthwise_norm, at.mid)
    if block.se is not None:
        hidden = torch.einsum(
            'oc,bc->bo',
            plain.gather(block.se.fc1.weight, at.squeeze, at.mid)[..., 0, 0, 0],
            y.mean((2, 3, 4)),
        )
        hidden = (hidden + plain.gather(block.se.fc1.bias, at.squeeze)).clamp(min=0)
        gate = torch.einsum('oc,bc->bo', plain.gather(block.se.fc2.weight, at.mid, at.squeeze)[..., 0, 0, 0], hidden)
        y = y * (gate + plain.gather(block.se.fc2.bias, at.mid)).sigmoid()[:, :, None, None, None]
    y = F.conv3d(y * y.sigmoid(), plain.gather(block.project.weight, at.out, at.mid))
    y = plain.normalise(y, block.project_norm, at.out)
    if block.stride == 1 and at.inp.length == at.out.length:
        return (x + y).clamp(min=0)
    x = x[..., :: block.stride, :: block.stride]
    x = plain.normalise(F.conv3d(x, plain.gather(block.shortcut.weight, at.out, at.inp)), block.shortcut_norm, at.out)
    return (x + y).clamp(min=0)


@pytest.mark.parametrize(('stride', 'squeeze', 'training'), [(1, 5, True), (1, 0, False), (2, 5, False), (2, 0, True)])
@pytest.mark.parametrize('name', AT)
def test_block_equals_its_formula(name, stride, squeeze, training, small, plain, close):
    """Rejects swish before SE, ReLU and swish exchanged, the stride on another convolution, an identity where
    the stride or the width changes, a shortcut without norm, and any two windows exchanged; outputs and
    all gradients.
    """
    torch.manual_seed(0)
    block = small.randomise(MBConv3D(7, 13, 7, squeeze, (5, 5), stride, shortcut=True)).double().train(training)
    at = AT[name]
    x = torch.randn(2, at.inp.length, 3, 7, 11, dtype=torch.float64, requires_grad=True)
    inputs = [x, *block.parameters()]
    expected = block_formula(block, x, at, plain)
    y = block(x, at)
    upstream = torch.randn_like(y)
    ours = torch.autograd.grad((y * upstream).sum(), inputs, allow_unused=True)
    theirs = torch.autograd.grad((expected * upstream).sum(), inputs, allow_unused=True)
    assert close(y, expected)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None) and (a is None or close(a, b, 1e-9))


@pytest.mark.parametrize(('stride', 'squeeze'), [(1, 0), (1, 5), (2, 0), (2, 5)])
def test_cost_equals_the_counter(stride, squeeze):
    """Rejects the projection at the size before the stride, the expansion after it, and a shortcut counted or
    left out in the wrong case.
    """
    big = MBConv3D(7, 13, 11, squeeze, (5, 5), stride, shortcut=True)
    for inp, out, kernel in ((3, 5, (1, 5)), (5, 5, (5, 3))):
        small = MBConv3D(inp, 9, out, 4 if squeeze else 0, kernel, stride, stride != 1 or inp != out)
        own = BlockWindows(whole(inp), whole(9), whole(out), whole(4 if squeeze else 0), kernel)
        at = BlockWindows(*(Window(0, w.length, 13) for w in own[:4]), kernel)
        counted, _ = count(small, torch.zeros(1, inp, 3, 7, 11), own)
        assert big.cost(at, (3, 7, 11)) == counted == small.cost(own, (3, 7, 11))


def test_drop_path_drops_whole_samples_in_training_only():
    """Rejects elementwise dropout, a missing 1 / (1 - p), a dropped shortcut, and drops in eval mode."""
    torch.manual_seed(1)
    at = BlockWindows(whole(3), whole(5), whole(3), whole(0), (1, 3))
    block = MBConv3D(3, 5, 3, 0, (1, 3), drop_path=0.3).double()
    for norm in (block.expand_norm, block.depthwise_norm, block.project_norm):
        norm.eval()
    x = torch.rand(1, 3, 2, 3, 5, dtype=torch.float64).expand(2000, -1, -1, -1, -1)
    block.project_norm.bias.data.fill_(5.0)  # keeps the last ReLU out of the way
    full = block.eval()(x[:1], at)[0]
    block.training = True
    y = block(x, at)
    dropped = (y - x).abs().amax((1, 2, 3, 4)) == 0
    assert dropped.float().mean() == pytest.approx(0.3, abs=0.04)
    assert torch.allclose(y[~dropped], x[~dropped] + (full - x[0]) / 0.7)


def test_stem_equals_plain_convolutions():
    """Rejects a temporal stride, the temporal convolution before the spatial one or dense, and norm in
    between.
    """
    torch.manual_seed(2)
    for temporal, stride in ((None, 1), (3, 2), (5, 2)):
        stem = Stem(3, 7, temporal, stride).double().eval()
        stem.norm.running_mean.normal_(), stem.norm.running_var.uniform_(0.5, 1.5)
        x = torch.randn(2, 3, 5, 13, 11, dtype=torch.float64)
        y = F.conv3d(x, stem.spatial.weight, None, (1, stride, stride), (0, 1, 1))
        if temporal:
            y = F.conv3d(y, stem.temporal.weight, None, 1, (temporal // 2, 0, 0), 1, 7)
        y = (y - stem.norm.running_mean.view(1, -1, 1, 1, 1)) / (stem.norm.running_var + 1e-5).sqrt().view(
            1, -1, 1, 1, 1
        )
        assert torch.allclose(stem(x), y.clamp(min=0), atol=1e-10)
        assert stem.size_after((5, 13, 11)) == tuple(y.shape[2:])
        assert stem.cost((5, 13, 11)) == count(stem, x[:1])[0]
        assert {part.name for part in stem.slices('a.')} == {f'a.{name}' for name in stem.state_dict()}


@pytest.mark.parametrize('temporal', [2, 4, -3])
def test_a_stem_keeps_the_number_of_frames(temporal):
    """Rejects an even temporal kernel, whose padding adds a frame that the cost does not count."""
    with pytest.raises(ConfigError, match=rf'stem_temporal_kernel: found {temporal}, expected an odd number'):
        Stem(3, 7, temporal)


def test_blocks_start_as_their_shortcut():
    """Rejects kaiming initialisation over the fan-in, which MMAction2's networks do not use."""
    torch.manual_seed(3)
    block = MBConv3D(31, 401, 37, 0, (3, 5))
    for conv, fan_out in ((block.expand, 401), (block.project, 37)):
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert block.depthwise.weight.std().item() == pytest.approx((2 / (401 * 75)) ** 0.5, rel=0.05)
    assert isinstance(block.expand_norm, nn.BatchNorm3d)
