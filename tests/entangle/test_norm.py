"""Shared BatchNorm against a plain one built from gathered values, and the three ways to treat statistics."""

import pytest
import torch
from torch import nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import (
    SuperBatchNorm3d,
    Window,
    batch_statistics,
    kept_statistics,
    norm_layers,
    recalibrate,
    whole,
)

WINDOWS = [whole(7), Window(0, 3, 7), Window(2, 5, 7), Window(5, 4, 7), Window(6, 7, 7)]


def close(a, b):
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def randomise(norm: nn.Module) -> nn.Module:
    norm.double()
    for tensor in (norm.weight.data, norm.running_var):
        tensor.uniform_(0.5, 1.5)
    for tensor in (norm.bias.data, norm.running_mean):
        tensor.normal_()
    return norm


def state(module: nn.Module) -> dict:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize('window', WINDOWS)
def test_norm_equals_a_plain_one(window, plain):
    """Rejects statistics of the wrong channels, a wrapped window whose update is lost (it is a copy) or goes
    to the
    wrong place, biased variance, a double update, and an in-place write that makes a later backward fail.

    Two training steps whose backward passes come after both forwards, then eval mode.
    """
    torch.manual_seed(0)
    norm = randomise(SuperBatchNorm3d(7, eps=1e-3, momentum=0.3))
    before = state(norm)
    reference = nn.BatchNorm3d(window.length, eps=1e-3, momentum=0.3).double()
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
        getattr(reference, name).data.copy_(plain.gather(getattr(norm, name), window))
    losses = []
    for _ in range(2):
        x = torch.randn(2, window.length, 3, 5, 11, dtype=torch.float64) * 2 + 1
        y, expected = norm(x, window), reference(x)
        assert close(y, expected)
        upstream = torch.randn_like(y)
        losses.append(((y * upstream).sum(), (expected * upstream).sum()))
    for ours, theirs in losses:
        ours.backward(), theirs.backward()
    for name in ('weight', 'bias'):
        grad = plain.scatter(getattr(reference, name).grad, (7,), window)
        assert close(getattr(norm, name).grad, grad)
    outside = ~plain.scatter(torch.ones(window.length), (7,), window).bool()
    for name in ('running_mean', 'running_var'):
        assert close(plain.gather(getattr(norm, name), window), getattr(reference, name))
        assert torch.equal(getattr(norm, name)[outside], before[name][outside])
    assert norm.num_batches_tracked == reference.num_batches_tracked == 2
    norm.eval(), reference.eval()
    assert close(norm(x, window), reference(x))
    assert norm.num_batches_tracked == 2


def test_windows_of_several_archs_before_one_backward():
    """Rejects statistics written back in place: the view that the other window's forward has saved would
    count as changed, and its backward pass fail.
    """
    torch.manual_seed(1)
    norm = randomise(SuperBatchNorm3d(7))
    losses, before = [], norm.running_mean.clone()
    for window in (Window(2, 5, 7), Window(5, 4, 7), Window(2, 5, 7)):
        x = torch.randn(2, window.length, 3, 5, 11, dtype=torch.float64)
        losses.append(norm(x, window).square().sum())
    sum(losses).backward()
    assert (norm.weight.grad != 0).all() and (norm.running_mean != before).all()


@pytest.mark.parametrize('window', WINDOWS)
def test_eval_statistics_are_the_windows(window):
    """Rejects eval mode with batch statistics, or with those of the first channels: by the formula."""
    norm = randomise(SuperBatchNorm3d(7)).eval()
    x = torch.randn(2, window.length, 3, 5, 11, dtype=torch.float64)
    y = norm(x, window)
    for i in range(window.length):
        c = (window.start + i) % 7
        scale = norm.weight[c] / (norm.running_var[c] + norm.eps).sqrt()
        assert close(y[:, i], (x[:, i] - norm.running_mean[c]) * scale + norm.bias[c])


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('activation', ['none', 'relu', 'swish'])
def test_what_follows_is_the_same_without_gradients_and_writes_into_nothing_of_the_callers(activation, residual, dtype):
    """Rejects an activation or a sum in place that reaches the input or the shortcut, that rounds a shortcut of
    float64 to what the norm has, or that differs from the one with gradients."""
    norm = randomise(SuperBatchNorm3d(7)).to(dtype).eval()
    x = torch.randn(2, 5, 3, 11, 13, dtype=dtype)
    shortcut = torch.randn(2, 5, 3, 11, 13, dtype=torch.float64) if residual else None
    before = x.clone(), None if shortcut is None else shortcut.clone()
    expected = norm(x, Window(2, 5, 7), activation, shortcut)
    with torch.no_grad():
        found = norm(x, Window(2, 5, 7), activation, shortcut)
    assert found.dtype == expected.dtype == (torch.float64 if residual else dtype) and torch.equal(found, expected)
    assert torch.equal(x, before[0]) and (shortcut is None or torch.equal(shortcut, before[1]))


def test_slices_name_all_of_its_state():
    """Rejects a slice that forgets a buffer: the extracted network would keep the statistics it was built
    with.
    """
    norm = randomise(SuperBatchNorm3d(7))
    parts = {part.name: part(norm.state_dict()[part.name[2:]]) for part in norm.slices('a.', Window(5, 4, 7))}
    assert set(parts) == {f'a.{name}' for name in norm.state_dict()}
    assert torch.equal(parts['a.running_var'], norm.running_var[[5, 6, 0, 1]])
    assert SuperBatchNorm3d.cost(5) == Cost(0, 10) and sum(p.numel() for p in SuperBatchNorm3d(5).parameters()) == 10


class Net(nn.Module):
    """A shared norm, a plain one and dropout: what a supernet is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.plain_norm, self.norm = randomise(nn.BatchNorm3d(4)), randomise(SuperBatchNorm3d(7))
        self.drop = nn.Dropout(0.5)
        self.untracked = nn.BatchNorm3d(4, track_running_stats=False).double()

    def forward(self, x, window=Window(5, 4, 7)):  # noqa: B008
        return self.untracked(self.norm(self.drop(self.plain_norm(x)), window))


def clips(batch=2):
    return torch.randn(batch, 4, 3, 5, 11, dtype=torch.float64) * 3 + 2


@pytest.mark.parametrize('training', [True, False])
def test_batch_statistics_uses_each_batchs_own_and_writes_nothing(training):
    """Rejects plain train mode (writes, counts batches, drops out) and plain eval mode (running statistics),
    and a
    context that forgets to restore after an error.
    """
    torch.manual_seed(3)
    net, x = Net().train(training), clips()
    before = state(net)
    with batch_statistics(net):
        y = net(x)
    assert same(before, state(net))
    reference = Net().train()
    reference.load_state_dict(before)
    reference.drop.eval()
    assert close(y, reference(x))
    with pytest.raises(ZeroDivisionError), batch_statistics(net):
        net(x), 1 / 0
    assert same(before, state(net))
    assert all(m.training == training for m in net.modules())
    assert [m.track_running_stats for m in (net.plain_norm, net.norm, net.untracked)] == [True, True, False]
    net.train()(x)
    assert net.norm.num_batches_tracked == net.plain_norm.num_batches_tracked == 1


def test_kept_statistics_gives_back_every_bit():
    """Rejects saved references (no copies), a forgotten counter, and no restoring after an error."""
    torch.manual_seed(4)
    net = Net().train()
    net(clips())
    before = state(net)
    with kept_statistics(net):
        net(clips()), net(clips())
        assert not torch.equal(before['norm.running_mean'], net.norm.running_mean)
    assert same(before, state(net))
    with pytest.raises(ZeroDivisionError), kept_statistics(net):
        net(clips()), 1 / 0
    assert same(before, state(net))


def test_recalibrate_is_the_plain_mean_over_batches():
    """Rejects a moving average that keeps a part of the old statistics or weighs late batches more,
    statistics taken
    with dropout on, and statistics outside the window that move.
    """
    torch.manual_seed(5)
    net = Net().train()
    net.norm.momentum = 0.3
    batches, before = [clips(b) for b in (2, 3, 5)], state(net)
    assert recalibrate(net, [lambda x=x: net(x) for x in batches]) == 3
    inner = []
    for x in batches:  # the second norm sees the first one's output with that batch's statistics
        mean, var = x.mean((0, 2, 3, 4), keepdim=True), x.var((0, 2, 3, 4), keepdim=True, correction=0)
        shape = (1, 4, 1, 1, 1)
        weight, bias = net.plain_norm.weight.view(shape), net.plain_norm.bias.view(shape)
        inner.append(((x - mean) / (var + 1e-5).sqrt() * weight + bias).detach())
    for norm, inputs, channels in ((net.plain_norm, batches, [0, 1, 2, 3]), (net.norm, inner, [5, 6, 0, 1])):
        mean = torch.stack([x.mean((0, 2, 3, 4)) for x in inputs]).mean(0)
        var = torch.stack([x.var((0, 2, 3, 4), correction=1) for x in inputs]).mean(0)
        assert close(norm.running_mean[channels], mean) and close(norm.running_var[channels], var)
    assert torch.equal(net.norm.running_mean[2:5], before['norm.running_mean'][2:5])
    assert net.norm.momentum == 0.3 and net.plain_norm.momentum == 0.1
    assert all(m.training for m in net.modules())


def test_recalibrate_leaves_no_trace_but_statistics():
    """Rejects one that trains weights, builds a graph, resets statistics when there is no batch, or leaves
    modes and
    momenta changed after an error.
    """
    torch.manual_seed(6)
    net = Net().eval()
    before = state(net)
    assert recalibrate(net, []) == 0 and same(before, state(net))
    outputs = []
    recalibrate(net, [lambda: outputs.append(net(clips()))])
    assert not outputs[0].requires_grad and torch.equal(net.norm.weight, before['norm.weight'])

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recalibrate(net, [broken])
    assert {norm.momentum for norm in norm_layers(net)} == {0.1} and not any(m.training for m in net.modules())
    assert norm_layers(net) == [net.plain_norm, net.norm]
