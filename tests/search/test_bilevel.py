"""The second-order gradient of α against closed forms and against differentiation through the unrolled step."""

import copy

import pytest
import torch
from torch.func import functional_call

from mmnas_video.entangle import Mixture
from mmnas_video.entangle.attention import attend
from mmnas_video.errors import ConfigError
from mmnas_video.kernels.batch_norm_reference import ACTIVATIONS
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.search.bilevel import HESSIANS, Bilevel, VirtualStep

RATE = 0.3
#: What a weights' optimiser may be.
SGDS = {
    'plain': dict(lr=0.1),
    'momentum and decay': dict(lr=0.1, momentum=0.9, weight_decay=0.05),
    'dampened': dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.05),
    'Nesterov': dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def quadratic():
    """L_train = ½ (Θ - Aα)ᵀ H (Θ - Aα), L_valid = ½ ‖Θ - b‖² + c·α, with 5 + 2 weights and 3 α; the losses, weights and
    α, and the closed-form gradient for given gains and drifts."""
    root, a, b, c = random(7, 7), random(7, 3, seed=1), random(7, seed=2), random(3, seed=3)
    h = root @ root.T
    theta, alpha = random(7, seed=4), random(3, seed=5).requires_grad_()

    def train(weights, alpha):
        rest = torch.cat(list(weights)) - a @ alpha
        return rest @ h @ rest / 2

    def valid(weights, alpha):
        return (torch.cat(list(weights)) - b).square().sum() / 2 + c @ alpha

    def closed(gains, drifts):
        with torch.no_grad():
            moved = theta - gains * (h @ (theta - a @ alpha)) - drifts
            return c + a.T @ h @ (gains * (moved - b))

    weights = [theta[:5].clone().requires_grad_(), theta[5:].clone().requires_grad_()]
    return train, valid, weights, alpha, closed, c


@pytest.mark.parametrize('hessian', HESSIANS)
@pytest.mark.parametrize('scale', [1.0, 65536.0])
def test_quadratic_has_its_closed_form(hessian, scale, quadratic):
    """Rejects a second-order term that is zero, has the other sign, is taken at Θ in the place of Θ', or is left with
    the loss scale in it."""
    train, valid, weights, alpha, closed, _ = quadratic
    step = VirtualStep.plain(weights, RATE)
    found, loss = Bilevel(train, valid, scale).second_order(weights, alpha, step, hessian)
    expected = closed(RATE, 0.0)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
    moved = step(weights, torch.autograd.grad(train(weights, alpha), weights))
    assert torch.isclose(loss, valid(moved, alpha))


def test_dropping_the_second_order_term_fails(quadratic):
    """The positive control: the first order is far from the closed form, so the tests above cannot pass without the
    second; and it is the limit of a vanishing step."""
    train, valid, weights, alpha, closed, c = quadratic
    first, loss = Bilevel(train, valid).first_order(weights, alpha)
    assert torch.allclose(first, c) and torch.isclose(loss, valid(weights, alpha))
    expected = closed(RATE, 0.0)
    assert (first - expected).norm() > 0.5 * expected.norm()
    tiny, _ = Bilevel(train, valid).second_order(weights, alpha, VirtualStep.plain(weights, 1e-9))
    assert torch.allclose(first, tiny, rtol=0, atol=1e-5)


@pytest.mark.parametrize('slope', [1e-4, 1e4])
def test_the_way_of_the_finite_difference_is_as_long_as_darts(slope, quadratic):
    """0.01 to either side of Θ, whatever the slopes. Rejects an ε that is not divided by their length: of small slopes
    float32 would see no difference, and that of large ones would be no derivative."""
    train, valid, weights, alpha, *_ = quadratic
    seen = []

    def noted(weights, alpha):
        seen.append(torch.cat([weight.detach() for weight in weights]))
        return train(weights, alpha)

    bilevel = Bilevel(noted, lambda weights, alpha: slope * valid(weights, alpha))
    bilevel.second_order(weights, alpha, VirtualStep.plain(weights, RATE))
    here, one, other = seen
    assert [float((end - here).norm()) for end in (one, other)] == pytest.approx([0.01, 0.01])
    torch.testing.assert_close(one + other, 2 * here)


def test_exact_through_attention():
    """Rejects an exact product through an attention kernel that cannot be differentiated twice (float32 takes one), and
    a bias of the keys through which α has no second derivative."""
    q, k, v = random(3, 2, 5, 11, 7).float()
    weights = [w.clone().requires_grad_() for w in (q, k)]
    alpha = random(11, seed=1).float().requires_grad_()

    def loss(target):
        return lambda weights, alpha: (attend(*weights, v, 0.3, alpha) - target).square().sum()

    bilevel, step = Bilevel(loss(0.5), loss(v)), VirtualStep.plain(weights, RATE)
    exact, difference = (bilevel.second_order(weights, alpha, step, hessian)[0] for hessian in HESSIANS[::-1])
    first, _ = bilevel.first_order(weights, alpha)
    assert (exact - first).norm() > 0.02 * exact.norm()
    assert (exact - difference).norm() < 1e-3 * exact.norm()


@pytest.mark.parametrize('name', SGDS)
@pytest.mark.parametrize('hessian', HESSIANS)
@pytest.mark.parametrize('warm', [False, True])
def test_the_virtual_step_is_the_optimisers(name, hessian, warm, quadratic):
    """Against a step of torch's own SGD on copies, with and without a momentum buffer, two groups of two rates; and the
    gradient through it against the closed form. Rejects momentum or decay that is left out, counted twice or
    differentiated, and one rate for all weights."""
    train, valid, weights, alpha, closed, _ = quadratic
    options = SGDS[name]
    groups = [dict(params=[weights[0]]), dict(params=[weights[1]], lr=0.03)]
    optimizer = torch.optim.SGD(groups, **options)
    if warm:
        for weight in weights:
            weight.grad = random(len(weight), seed=9)
        before = [w.detach().clone() for w in weights]
        optimizer.step()
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
    step = VirtualStep.of(optimizer, weights)
    found, _ = Bilevel(train, valid).second_order(weights, alpha, step, hessian)
    gains = torch.tensor([step.gains[0]] * 5 + [step.gains[1]] * 2, dtype=torch.float64)
    drifts = [torch.zeros_like(w) if d is None else d for w, d in zip(weights, step.drifts, strict=True)]
    assert torch.allclose(found, closed(gains, torch.cat(drifts)), rtol=1e-8, atol=1e-8)

    grads = torch.autograd.grad(train(weights, alpha), weights)
    moved = step(weights, grads)
    for weight, grad in zip(weights, grads, strict=True):
        weight.grad = grad
    optimizer.step()
    for ours, theirs in zip(moved, weights, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize('hessian', HESSIANS)
def test_the_gradient_over_two_ranks(hessian, quadratic):
    """Two ranks with other losses: their mean is the gradient of the mean losses, if what flows between is averaged
    where it is used. Rejects a virtual step along, or slopes of, one rank's own gradient."""
    train, valid, weights, alpha, *_ = quadratic
    others = (lambda w, a: 0.3 * train(w, 2 * a), lambda w, a: 1.7 * valid(w, -a))
    step = VirtualStep.plain(weights, RATE)
    both = Bilevel(lambda w, a: (train(w, a) + others[0](w, a)) / 2, lambda w, a: (valid(w, a) + others[1](w, a)) / 2)
    expected, _ = both.second_order(weights, alpha, step, hessian)

    # What each rank would hear from the other: the gradients of the mean losses, in the order in which they are asked.
    grads = torch.autograd.grad(both.train(weights, alpha), weights)
    moved = [w.detach().requires_grad_() for w in step(weights, grads)]
    heard = [grads, torch.autograd.grad(both.valid(moved, alpha), moved)]
    found = []
    for own in ((train, valid), others):
        means = iter(heard)

        def average(given, means=means):
            for tensor, mean in zip(given, next(means), strict=True):
                tensor.copy_(mean)

        found.append(Bilevel(*own, average=average).second_order(weights, alpha, step, hessian)[0])
    assert torch.allclose((found[0] + found[1]) / 2, expected, rtol=1e-7, atol=1e-7)


def test_what_the_step_leaves_alone(quadratic):
    """Rejects decay or momentum on weights that got no gradient (SGD leaves them), and a step for weights that the
    optimiser does not have."""
    _, _, weights, _, _, _ = quadratic
    optimizer = torch.optim.SGD([weights[0]], **SGDS['momentum and decay'])
    step = VirtualStep.of(optimizer, weights)
    assert step.gains == [0.1, 0.0] and step.drifts[1] is None
    moved = step(weights, [None, torch.ones(2)])
    assert all(torch.equal(ours, weight) for ours, weight in zip(moved, weights, strict=True))


def test_other_optimisers_are_refused(quadratic):
    """Rejects a virtual step that silently is another than the weights'."""
    _, _, weights, *_ = quadratic
    for optimizer in (torch.optim.AdamW(weights), torch.optim.SGD(weights, lr=0.1, maximize=True)):
        with pytest.raises(ConfigError, match=r'virtual_lr: found none for the optimiser (AdamW|SGD)'):
            VirtualStep.of(optimizer, weights)


def test_weights_that_one_loss_does_not_use(quadratic):
    """Rejects None taken for an error, or its weight moved: a head that a batch does not reach, an operation that
    weighs nothing."""
    train, valid, weights, alpha, closed, _ = quadratic
    unused = torch.ones(2, dtype=torch.float64, requires_grad=True)
    both = [*weights, unused]
    step = VirtualStep.plain(both, RATE)
    for hessian in HESSIANS:
        found, _ = Bilevel(lambda w, a: train(w[:2], a), lambda w, a: valid(w[:2], a) + (w[2] ** 2).sum()).second_order(
            both, alpha, step, hessian
        )
        assert torch.allclose(found, closed(RATE, 0.0), rtol=1e-9, atol=1e-9)


def test_nothing_is_written(quadratic):
    """Rejects gradients that are kept by reference or left behind: accumulated ones stay, bit for bit."""
    train, valid, weights, alpha, *_ = quadratic
    weights[0].grad = random(5, seed=8)
    before = copy.deepcopy([(w.detach(), w.grad) for w in weights]), alpha.detach().clone()
    for hessian in HESSIANS:
        Bilevel(train, valid).second_order(weights, alpha, VirtualStep.plain(weights, RATE), hessian)
    after = [(w.detach(), w.grad) for w in weights], alpha.detach()
    assert torch.equal(before[1], after[1]) and alpha.grad is None and weights[1].grad is None
    assert torch.equal(before[0][0][1], after[0][0][1])
    assert all(torch.equal(old[0], new[0]) for old, new in zip(before[0], after[0], strict=True))


def test_a_step_without_slope():
    """Rejects a division by the length of a gradient that is zero."""
    weights, alpha = (
        [torch.zeros(3, dtype=torch.float64, requires_grad=True)],
        torch.ones(2, dtype=torch.float64, requires_grad=True),
    )
    found, _ = Bilevel(lambda w, a: w[0].sum() * a.sum(), lambda w, a: a.square().sum()).second_order(
        weights, alpha, VirtualStep.plain(weights, RATE)
    )
    assert found.tolist() == [2.0, 2.0]


def test_slopes_that_are_no_number():
    """Rejects a second-order part that is then left out without a word, as if the slopes were 0: the update has to be
    seen as one that is not finite."""
    weights, alpha = [torch.zeros(3, requires_grad=True)], torch.ones(2, requires_grad=True)
    bilevel = Bilevel(lambda w, a: w[0].sum() * a.sum(), lambda w, a: a.sum() + (0 * w[0].sum()).sqrt())
    found, loss = bilevel.second_order(weights, alpha, VirtualStep.plain(weights, RATE))
    assert loss == 2 and not found.isfinite().any()


@pytest.fixture
def network(monkeypatch):
    """A small SuperMBConv3D with all kinds of choices and a linear head, smooth (softplus for ReLU, so that a
    difference does not cross a kink), its losses on two batches, its weights and α."""
    monkeypatch.setattr(torch, 'relu', torch.nn.functional.softplus)
    monkeypatch.setitem(ACTIVATIONS, 'relu', torch.nn.functional.softplus)
    torch.manual_seed(3)
    model = SuperMBConv3D(
        stages=(((3, 6, 3), (1, 1)),),
        spatial_strides=(1,),
        kernels=('t1_s3', 't3_s3'),
        expansions=(1.5, 2.25),
        attentions=('none', 'glore'),
        stem_channels=3,
        out_channels=7,
        se_ratio=0.5,
        glore_nodes=(2,),
        nonlocal_widths=(2,),
        zero_init_residual=False,
    ).double()
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm3d)):
        norm.track_running_stats = False
        torch.nn.init.uniform_(norm.weight, 0.5, 1.0)
    model.train()
    head = random(5, 7, seed=1) / 3
    names = dict(model.named_parameters())
    opened = model.space.open
    width = max(len(c) for c in opened)
    alpha = (0.3 * random(len(opened), width, seed=2)).requires_grad_()
    batches = [(random(5, 3, 2, 7, 5, seed=s), torch.tensor([0, 1, 2, 3, 4])) for s in (4, 5)]

    def loss_on(x, y):
        def loss(weights, alpha):
            table = {c.name: alpha[i, : len(c)].softmax(0) for i, c in enumerate(opened)}
            with model.use(Mixture(model.space, table)):
                features = functional_call(model, dict(zip(names, weights, strict=True)), (x,))
            return torch.nn.functional.cross_entropy(features.mean((2, 3, 4)) @ head.T, y)

        return loss

    train, valid = (loss_on(*batch) for batch in batches)
    return train, valid, list(names.values()), alpha


@pytest.mark.parametrize('hessian', HESSIANS)
def test_against_differentiation_through_the_unrolled_step(hessian, network):
    """The whole step kept in the graph and differentiated through, on a real network with BatchNorm, SE, GloRe and
    mixed widths, in float64. Rejects a relative error of 1e-3 (finite differences) or 1e-9 (exact); the first order
    alone is off by more than 5 %."""
    train, valid, weights, alpha = network
    rate = 0.5
    grads = torch.autograd.grad(train(weights, alpha), weights, create_graph=True, allow_unused=True)
    moved = [w if g is None else w - rate * g for w, g in zip(weights, grads, strict=True)]
    (expected,) = torch.autograd.grad(valid(moved, alpha), [alpha])
    found, _ = Bilevel(train, valid).second_order(weights, alpha, VirtualStep.plain(weights, rate), hessian)
    assert (found - expected).norm() < (1e-3 if hessian == 'finite_difference' else 1e-9) * expected.norm()
    first, _ = Bilevel(train, valid).first_order(moved, alpha)
    assert (first - expected).norm() > 0.05 * expected.norm()
