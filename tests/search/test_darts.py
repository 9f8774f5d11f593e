"""DARTS: the gradient of α, what a step leaves alone, the cost term, and what a search names."""

import copy
import json
import re

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from mmnas_video.cost import Cost
from mmnas_video.entangle import Mixture, Searchable, Slice, batch_statistics
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.search import DARTSSearchHook
from mmnas_video.search.epochs import EpochArchs
from mmnas_video.space import Arch, Choice, SearchSpace

from .toy import FEATURES, SPACE, ToyBackbone, config, loader, prepared, runner

DARTS = dict(type='DARTSSearchHook', score_batches=1)
SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.05)


def wrapper(**changes) -> dict:
    return dict(type='OptimWrapper', optimizer=SGD, **changes)


def warmed(hook: dict, **changes):
    """A prepared search after one step (momentum buffers exist), its two batches, and its optimiser."""
    made, search = prepared({**DARTS, 'init_std': 0.5, **hook}, optim_wrapper=wrapper(), **changes)
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    batch, held_out = (search.prepare(next(iter(data))) for data in (made.train_dataloader, search.held_out.loader))
    return made, search, batch, held_out


def loss_at(search, data, weights, alpha):
    """Written apart from the hook: the network at some weights under softmax(α)."""
    table = {c.name: alpha[i, : len(c)].softmax(0) for i, c in enumerate(search.space)}
    with batch_statistics(search.bare), search.searchable.use(Mixture(search.space, table)):
        return functional_call(search.bare, weights, (), {**data, 'mode': 'loss'})['loss_cls']


# ---------------------------------------------------------------------------- the gradient
@pytest.mark.parametrize(('hessian', 'tolerance'), [('finite_difference', 1e-3), ('exact', 1e-9)])
@pytest.mark.parametrize('virtual_lr', [None, 0.3])
def test_second_order_gradient_through_the_hook(hessian, tolerance, virtual_lr):
    """Against the unrolled step in one graph: torch's own SGD formula with momentum and decay, or Eq. 3's plain one.
    Rejects training and held-out batch that are exchanged, a rate that is not the optimiser's, a virtual step without
    momentum; the first order alone is off by more than 1 %."""
    _, search, batch, held_out = warmed(dict(order=2, hessian=hessian, virtual_lr=virtual_lr))
    optimizer = search.runner.optim_wrapper
    found, loss = search.arch_gradient(batch, held_out, optimizer)

    alpha, weights = search.distribution.alpha, dict(search.bare.named_parameters())
    grads = torch.autograd.grad(loss_at(search, batch, weights, alpha), list(weights.values()), create_graph=True)
    moved = {}
    for (name, weight), grad in zip(weights.items(), grads, strict=True):
        buffer = optimizer.optimizer.state[weight]['momentum_buffer']
        change = 0.1 * (0.9 * buffer + grad + 0.05 * weight) if virtual_lr is None else 0.3 * grad
        moved[name] = weight - change
    final = loss_at(search, held_out, moved, alpha)
    (expected,) = torch.autograd.grad(final, [alpha])
    assert (found - expected).norm() < tolerance * expected.norm() and torch.isclose(loss, final)
    first = torch.autograd.grad(loss_at(search, held_out, {n: w.detach() for n, w in moved.items()}, alpha), [alpha])[0]
    assert (first - expected).norm() > 0.01 * expected.norm()


def test_first_order_gradient_through_the_hook():
    """That of the held-out loss at the weights as they are. Rejects the training batch, and the architecture's loss in
    the place of the mixture's."""
    _, search, batch, held_out = warmed(dict(order=1))
    found, loss = search.arch_gradient(batch, held_out, search.runner.optim_wrapper)
    alpha = search.distribution.alpha
    final = loss_at(search, held_out, dict(search.bare.named_parameters()), alpha)
    (expected,) = torch.autograd.grad(final, [alpha])
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12) and torch.isclose(loss, final)


@pytest.mark.parametrize('hook', [dict(order=1), dict(order=2), dict(order=2, hessian='exact')])
def test_the_virtual_step_leaves_no_trace(hook):
    """Bit for bit: weights, BatchNorm statistics, momentum, gradients that accumulation has gathered, torch's
    generator, α. Rejects a step that is made and undone (rounding), or run in training mode (statistics, dropout)."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.3)
    made, search, batch, held_out = warmed(hook, model=model)
    for parameter in made.model.parameters():
        parameter.grad = torch.randn_like(parameter)

    def everything():
        grads = [p.grad for p in made.model.parameters()]
        parts = made.model.state_dict(), made.optim_wrapper.optimizer.state_dict(), grads, torch.get_rng_state()
        return copy.deepcopy((*parts, search.distribution.alpha.detach(), made.model.training))

    before = everything()
    search.arch_gradient(batch, held_out, made.optim_wrapper)
    after = everything()
    for old, new in zip(_leaves(before), _leaves(after), strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    assert search.distribution.alpha.grad is None


@MODELS.register_module()
class RecomputingBackbone(ToyBackbone):
    """Computes its product a second time in the backward pass, as ``with_cp`` does."""

    def forward(self, x):
        if not isinstance(self.arch, Mixture):
            return super().forward(x)
        window, scale = self._at(self.arch)
        y = checkpoint(lambda x, mask: x @ (self.weight * mask[:, None]).T, x, window.mask, use_reentrant=False)
        return self.norm(y * scale)


@pytest.mark.parametrize('hook', [dict(order=1), dict(order=2), dict(order=2, hessian='exact')])
def test_recomputed_activations_see_the_virtual_weights(hook):
    """Rejects weights that are put in place for the forward pass alone: what is recomputed would be that of the
    network's own."""
    found = []
    for backbone in ('ToyBackbone', 'RecomputingBackbone'):
        made, search = prepared(
            {**DARTS, 'init_std': 0.5, 'virtual_lr': 3.0, **hook},
            model=dict(type='ToyRecognizer', backbone=dict(type=backbone)),
        )
        batch, held_out = (search.prepare(next(iter(d))) for d in (made.train_dataloader, search.held_out.loader))
        found.append(search.arch_gradient(batch, held_out, made.optim_wrapper))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-9, atol=1e-12) and torch.isclose(found[0][1], found[1][1])


def _leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def test_alpha_is_never_in_the_weights_optimiser():
    """Rejects α as a parameter of the model: weight decay, EMA and the checkpoint of the weights would have it too."""
    made, search, *_ = warmed(dict(order=2))
    alpha = search.distribution.alpha
    owned = [p for group in made.optim_wrapper.optimizer.param_groups for p in group['params']]
    assert all(p is not alpha for p in [*owned, *made.model.parameters()])
    assert {id(p) for p in owned} == {id(p) for p in made.model.parameters()}
    (group,) = search.alpha_optimizer.param_groups
    assert group['params'] == [alpha]
    assert (group['lr'], group['betas'], group['weight_decay']) == (3e-4, (0.5, 0.999), 1e-3), 'that of DARTS'


def test_alpha_starts_small_random_and_seeded():
    """Rejects zeros (all operations tie, the first wins), the global generator, and one start for every seed."""
    starts = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        _, search = prepared(DARTS, randomness=dict(seed=seed))
        starts.append(search.distribution.alpha.detach())
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    assert 1e-4 < starts[0].std() < 1e-2


def test_accumulation_adds_up_alphas_gradient(monkeypatch):
    """Of two parts α moves once, by the mean of their gradients at one α. Rejects a step of α for every part, and parts
    that are summed."""
    made, search = prepared(
        {**DARTS, 'arch_optimizer': dict(type='SGD', lr=0.7), 'init_std': 0.5},
        optim_wrapper=wrapper(accumulative_counts=2),
    )
    grads, start = [], search.distribution.alpha.detach().clone()
    original = search.arch_gradient

    def noting(*args):
        grads.append(original(*args))
        return grads[-1]

    monkeypatch.setattr(search, 'arch_gradient', noting)
    batches = iter(made.train_dataloader)
    made.model.train_step(next(batches), made.optim_wrapper)
    assert torch.equal(search.distribution.alpha, start)
    made.model.train_step(next(batches), made.optim_wrapper)
    expected = start - 0.7 * (grads[0][0] + grads[1][0]) / 2
    assert torch.allclose(search.distribution.alpha, expected, rtol=1e-12, atol=1e-14)


def test_alpha_moves_first_and_the_weights_follow_it(monkeypatch):
    """Rejects weights that are trained before α has moved (Algorithm 1 of DARTS: α first), or through the mixture of
    the α before."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False))  # a norm undoes what α does
    made, search = prepared({**DARTS, 'arch_optimizer': dict(type='SGD', lr=5.0), 'init_std': 0.5}, model=model)
    start, seen, step = search.distribution.alpha.detach().clone(), [], search.sampled_step

    def noting(archs, *args):
        seen.append((search.distribution.alpha.detach().clone(), archs[0]['width']))
        return step(archs, *args)

    monkeypatch.setattr(search, 'sampled_step', noting)
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    ((alpha, width),) = seen
    assert not torch.equal(alpha, start) and torch.equal(alpha, search.distribution.alpha)
    torch.testing.assert_close(width, alpha[1].softmax(0), rtol=0, atol=1e-15)


def test_an_overflow_is_left_out_and_counted(monkeypatch):
    """Rejects one infinite gradient that makes α, and Adam's moments, not a number for ever."""
    made, search = prepared(DARTS)
    monkeypatch.setattr(
        search, 'arch_gradient', lambda *args: (torch.full_like(search.distribution.alpha, torch.inf), torch.ones(()))
    )
    start = search.distribution.alpha.detach().clone()
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert torch.equal(search.distribution.alpha, start) and search.finite.dropped == 1
    assert not search.alpha_optimizer.state


@pytest.mark.parametrize('method', ['DARTSSearchHook', 'EntanglementSearchHook'])
def test_warm_up_leaves_alpha_alone(method):
    """Rejects a warm-up in which α moves, one in which the weights do not, and one that is an epoch too long."""
    made, search = prepared({**DARTS, 'type': method, 'warmup_epochs': 1})
    start, weight = search.distribution.alpha.detach().clone(), made.model.backbone.weight.detach().clone()
    batch = next(iter(made.train_dataloader))
    made.model.train_step(batch, made.optim_wrapper)
    assert torch.equal(search.distribution.alpha, start) and search.held_out.consumed == 0
    assert not torch.equal(made.model.backbone.weight, weight)
    made.train_loop._epoch = 1
    made.model.train_step(batch, made.optim_wrapper)
    assert not torch.equal(search.distribution.alpha, start)


# ---------------------------------------------------------------------------- the budget
@pytest.mark.parametrize(
    ('macs', 'hinges'),
    [
        (40, (0, 0, 10 / 40)),
        ((45, None), (16 / 45, 9 / 45, 0)),
        ((32, 40), (3 / 32, 0, 10 / 40)),
    ],
)
def test_cost_term_estimates_the_gradient_of_the_expected_hinge(macs, hinges):
    """Against finite differences of the expectation over all architectures; with K draws the estimator's mean is
    (K - 1) / K of it. Rejects a term whose gradient is zero (the hinge of the drawn architectures alone), the other
    sign, and one that knows no lower bound: widths 2, 3 and 5 cost 29, 36 and 50 MACs."""
    _, search = prepared({**DARTS, 'budget': dict(macs=macs), 'init_std': 1.0, 'cost_samples': 5})
    alpha = search.distribution.alpha
    width, c = search.space.names.index('width'), torch.tensor(hinges, dtype=torch.float64)
    expected = torch.zeros_like(alpha)
    for j in range(3):
        for way in (1e-5, -1e-5):
            beside = alpha.detach().clone()
            beside[width, j] += way
            expected[width, j] += (beside[width].softmax(0) * c).sum() / (2 * way)
    draws = 1500
    mean = sum(torch.autograd.grad(search.cost_term(), [alpha])[0] for _ in range(draws)) / draws
    assert (mean - 0.8 * expected).norm() < 0.15 * expected.norm() and expected.norm() > 0.01


def test_the_cost_weighs_as_it_is_told(monkeypatch):
    """With SGD α moves by its rate times the gradient plus λ times that of the cost. Rejects a ``cost_weight`` that is
    checked and left out; under Adam, which a test of where α ends has, its size hardly shows."""
    options = dict(budget=dict(macs=40), cost_weight=3.0, arch_optimizer=dict(type='SGD', lr=0.7), init_std=0.5)
    made, search = prepared({**DARTS, **options})
    alpha, toward = search.distribution.alpha, torch.arange(6, dtype=torch.float64).view(2, 3)
    start = alpha.detach().clone()
    monkeypatch.setattr(search, 'arch_gradient', lambda *args: (torch.full_like(start, 0.25), torch.ones(())))
    monkeypatch.setattr(search, 'cost_term', lambda: (alpha * toward).sum())
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    torch.testing.assert_close(alpha.detach(), start - 0.7 * (0.25 + 3 * toward), rtol=0, atol=1e-12)


@pytest.mark.parametrize(('width', 'within'), [(3, True), (5, False)])
def test_an_epochs_architecture_is_held_against_the_budget(width, within):
    """Of 36 and 50 MACs under a bound of 40. Rejects epochs that all count as within it: with ``derive='best'`` the
    search would end with the dearest network that scores well."""
    made, search = prepared({**DARTS, 'budget': dict(macs=40)})
    biased(search, {'scale': 1.0, 'width': width})
    search.after_train_epoch(made)
    assert [(line['epoch'], line['within']) for line in search.epochs.lines] == [(1, within)]


def test_the_budget_moves_alpha():
    """With no learning signal (rate of the weights 0, one batch) the cost alone decides. Rejects a budget that is
    checked and otherwise ignored: without it the widths stay as likely."""
    ends = {}
    for budget in (None, dict(macs=30)):
        made, search = prepared(
            {**DARTS, 'budget': budget, 'cost_weight': 10.0, 'arch_optimizer': dict(type='Adam', lr=0.1)},
        )
        batches = [batch for _ in range(6) for batch in made.train_dataloader]
        for batch in batches:
            made.model.train_step(batch, made.optim_wrapper)
        ends[budget is None] = search.distribution.probs()['width']
    assert ends[False][0] > 0.9 > ends[True][0]


# ---------------------------------------------------------------------------- what it finds
VIEWS = SearchSpace('views', [Choice('view', ('noise', 'signal', 'skip')), Choice('gain', (0.5, 1.0))])


@MODELS.register_module()
class PlantedBackbone(Searchable, nn.Module):
    """Of 7 features the class depends on the first three: ``'signal'`` sees them, the other operations do not."""

    def __init__(self, arch=None):
        nn.Module.__init__(self)
        Searchable.__init__(self, VIEWS if arch is None else VIEWS.fix(arch))
        self.weight = nn.Parameter(
            torch.randn(5, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 3
        )
        self.masks = {'noise': slice(3, 5), 'signal': slice(0, 3), 'skip': slice(5, 7)}

    def view(self, name, x):
        mask = x.new_zeros(FEATURES)
        mask[self.masks[name]] = 1
        return (x * mask) @ self.weight.T

    def forward(self, x):
        arch = self.arch
        if not isinstance(arch, Mixture):
            return self.view(arch['view'], x) * arch['gain']
        y = sum(weight * self.view(name, x) for name, weight in arch.terms('view').items())
        return y * sum(weight * value for value, weight in arch.terms('gain').items())

    def slices(self, arch):
        yield Slice('weight')

    def cost(self, arch, shape):
        return Cost(35, 35)

    def cost_range(self, shape):
        return dict.fromkeys(Cost._fields, ((35, self.space.smallest), (35, self.space.largest)))


class DerivingBackbone(PlantedBackbone):
    """Has a rule of its own."""

    def derive(self, weights):
        self.given = weights
        return Arch({'view': 'skip', 'gain': 0.5})


MODELS.register_module(module=DerivingBackbone)
PLANTED = dict(
    model=dict(type='ToyRecognizer', backbone=dict(type='PlantedBackbone')), train_dataloader=loader(0, 15, 90)
)


@pytest.mark.parametrize('order', [1, 2])
@pytest.mark.parametrize('seed', [3, 5])
def test_the_planted_operation_is_found(order, seed, tmp_path):
    """From a start that favours another. Rejects a search that keeps its random start, or climbs the loss."""
    hook = {
        **DARTS,
        'order': order,
        'arch_optimizer': dict(type='Adam', lr=0.1),
        'arch_dataloader': loader(1, 15, 60, sampler=False),
        'watch': 'skip',
    }
    made = runner(hook, epochs=6, work_dir=str(tmp_path), randomness=dict(seed=seed), **PLANTED)
    made.train()
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    assert found['arch']['view'] == 'signal' and found['search']['score'] > 0.6


def test_the_networks_own_rule_is_used():
    """Rejects argmax where the network derives otherwise (a cell keeps two inputs per node), and α in the place of
    probabilities."""
    _, search = prepared(DARTS, model=dict(type='ToyRecognizer', backbone=dict(type='DerivingBackbone')))
    assert dict(search.choose()) == {'view': 'skip', 'gain': 0.5}
    assert sum(search.searchable.given['view']) == pytest.approx(1) and len(search.searchable.given['view']) == 3


EPOCHS = [  # epoch, arch, score, within the budget, at the limit
    dict(epoch=1, arch=[0, 0], score=0.5, within=True, stop=False),
    dict(epoch=2, arch=[1, 0], score=0.8, within=False, stop=False),
    dict(epoch=3, arch=[0, 1], score=0.5, within=True, stop=False),
    dict(epoch=4, arch=[2, 1], score=0.9, within=True, stop=True),
]


@pytest.mark.parametrize(
    ('derive', 'epochs', 'named'),
    [
        ('best', EPOCHS, 3),  # within the budget, below the limit, the later of equals
        ('best', EPOCHS[1:2], 2),  # none within the budget
        ('best', EPOCHS[3:], 4),  # none below the limit
        ('last', EPOCHS, 3),
        ('last', EPOCHS[:2], 2),
    ],
)
def test_which_epochs_architecture_is_named(derive, epochs, named):
    """Rejects the last α in the place of the best epoch's, a collapsed or too dear network that scores well, and a
    score in arch.json that is another epoch's."""
    made, search = prepared({**DARTS, 'derive': derive})
    search.epochs = EpochArchs(epochs)
    expected = next(epoch for epoch in EPOCHS if epoch['epoch'] == named)
    assert list(SPACE.encode(search.select(made))) == expected['arch']
    assert search.epoch_summary()['score'] == expected['score']


@pytest.mark.parametrize(('budget', 'named'), [(None, 2), (dict(macs=40), 3), (dict(macs=(40, None)), 2)])
def test_a_resumed_search_looks_at_its_own_budget(budget, named):
    """What an epoch's line says of the budget is of the one that it was written under. Rejects a resumed search that
    ends with an architecture outside its budget though it has found one within, or passes over one that is within."""
    archs = {1: [0, 0], 2: [0, 2], 3: [0, 1]}  # of 29, 50 and 36 MACs
    scores, within = {1: 0.3, 2: 0.7, 3: 0.5}, {1: True, 2: False, 3: True}
    _, one = prepared(DARTS)
    for epoch, arch in archs.items():
        one.epochs.add(epoch, arch, scores[epoch], within[epoch], stop=False)
    made, two = prepared({**DARTS, 'budget': budget})
    two.load_state_dict(one.state_dict())
    assert list(SPACE.encode(two.select(made))) == archs[named]
    assert [line['within'] for line in two.epochs.lines] == [
        not two.violation(SPACE.decode(arch)) for arch in archs.values()
    ]


@pytest.mark.parametrize('score', ['mixture', 'arch'])
def test_the_epochs_score(score):
    """Accuracy on held-out batches with recalibrated statistics, of the mixture or of the architecture; statistics and
    mode are as before. Rejects the one taken for the other, and a score on the training data."""
    given = {} if score == 'mixture' else {'score': score}  # the former by itself
    made, search = prepared({**DARTS, **given, 'score_batches': 2, 'init_std': 2.0}, optim_wrapper=wrapper())
    for batch in made.train_dataloader:
        made.model.train_step(batch, made.optim_wrapper)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    seen = []
    search.searchable.register_forward_pre_hook(lambda module, _: seen.append((type(module.arch), module.training)))
    search.after_train_epoch(made)
    kind = Mixture if score == 'mixture' else Arch
    assert {k for k, _ in seen} == {kind} and made.model.training
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())
    batches = [batch for part in search._scorer._batches.values() for batch in part]
    x = torch.cat([torch.stack(list(batch['inputs'])) for batch in batches])
    labels = torch.tensor([sample.gt_label for batch in batches for sample in batch['data_samples']])
    rows = search.held_out.dataset.x
    assert all((row == rows).all(1).any() for row in x)
    with search.inherited(search.mixture() if score == 'mixture' else search.choose()), torch.no_grad():
        made.model.eval()
        right = (made.model(x, mode='tensor').argmax(1) == labels).double().mean()
    assert search.epoch_summary()['score'] == pytest.approx(float(right))


@pytest.mark.parametrize('tune_iters', [0, 3])
def test_perturbation_finds_what_alpha_hides(tune_iters):
    """Trained weights, and an α on the side of an operation that sees nothing: argmax names that one, perturbation the
    one without which the accuracy falls. Rejects a mask that renormalises everything away, scores on training data, and
    tuning that does not train (or trains at another rate)."""
    hook = {**DARTS, 'selection': 'perturbation', 'tune_iters': tune_iters, 'tune_lr': 0.02, 'score_batches': 4}
    made, search = prepared({**hook, 'arch_dataloader': loader(1, 15, 60, sampler=False)}, epochs=9, **PLANTED)
    for batch in [batch for _ in range(8) for batch in made.train_dataloader]:
        made.model.train_step(batch, made.optim_wrapper)
    with torch.no_grad():
        search.distribution.alpha[0].copy_(torch.tensor([0.5, 0.0, 0.0]))
    weight = made.model.backbone.weight.detach().clone()
    assert search.choose()['view'] == 'noise'
    assert search.select(made)['view'] == 'signal' and search.epoch_summary()['score'] > 0.6
    assert torch.equal(made.model.backbone.weight, weight) is (tune_iters == 0)
    if tune_iters:
        assert made.optim_wrapper.optimizer.param_groups[0]['lr'] == 0.02


def test_perturbation_in_a_network_with_a_rule_of_its_own():
    """The rule gets the weights of the values that are left. Rejects the rule left out (a cell with all its inputs),
    and one-hot weights, for which all inputs are equally strong."""
    hook = {**DARTS, 'selection': 'perturbation', 'init_std': 1.0}
    made, search = prepared(hook, model=dict(type='ToyRecognizer', backbone=dict(type='DerivingBackbone')))
    assert dict(search.select(made)) == {'view': 'skip', 'gain': 0.5}
    for name, row in search.searchable.given.items():
        (left,) = [p for p in row if p]
        assert left < 1 and left == search.distribution.probs()[name][row.index(left)]


# ---------------------------------------------------------------------------- the watch
def biased(search, towards):
    """α far on the side of some values."""
    with torch.no_grad():
        for i, choice in enumerate(search.space):
            search.distribution.alpha[i, choice.index(towards[choice.name])] = 9.0


def test_counts_are_in_every_step_and_epoch(tmp_path):
    """Rejects a watch that is written once at the end, counts values of the space, or mistakes 1 for True."""
    runner({**DARTS, 'watch': (5, 1.0)}, epochs=2, work_dir=str(tmp_path)).train()
    lines = [json.loads(line) for line in (tmp_path / 'search/history.jsonl').read_text().splitlines()]
    steps, epochs = ([line for line in lines if line['kind'] == kind] for kind in ('step', 'epoch'))
    assert len(steps) == 12 and all(set(line['counts']) == {'5', '1.0'} for line in steps + epochs)
    for line in epochs:
        arch = SPACE.decode(line['most_probable'])
        assert line['counts'] == {'5': int(arch['width'] == 5), '1.0': int(arch['scale'] == 1.0)}
    assert {'entropy', 'entropies', 'probs', 'score', 'smallest_share', 'macs'} <= set(epochs[0])
    (chosen,) = [line for line in lines if line['kind'] == 'chosen']
    assert chosen['score'] == json.loads((tmp_path / 'search/arch.json').read_text())['search']['score']


def test_a_stopped_search_ends_cleanly_and_stays_ended(tmp_path):
    """The loop ends after the epoch in which the limit is reached, arch.json is final; resumed, it trains no step more.
    Rejects an exception out of the loop, and a resume that goes on to the last epoch."""
    hook = {**DARTS, 'stop_when': dict(value=5, count=1), 'init_std': 0.0, 'arch_optimizer': dict(type='SGD', lr=1e-9)}
    for resume in (False, True):
        cfg = config(hook, epochs=4, work_dir=str(tmp_path))
        cfg.resume = resume
        made = runner(hook)
        made = type(made).from_cfg(cfg)
        search = next(h for h in made.hooks if isinstance(h, DARTSSearchHook))
        steps = []
        original, setup = search.step, search.setup
        search.step = lambda *args, original=original, steps=steps: (steps.append(1), original(*args))[1]

        def set_up(runner, search=search, setup=setup):
            setup(runner)
            biased(search, {'scale': 1.0, 'width': 5})

        search.setup = set_up
        made.train()
        assert len(steps) == (0 if resume else 6) and made.epoch == 1
        assert 'train_step' not in vars(made.model)
        found = json.loads((tmp_path / 'search/arch.json').read_text())
        assert found['search']['final'] and found['arch']['width'] == 5


# ---------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(order=3), 'DARTSSearchHook.order: found 3, expected one of [1, 2]'),
        (dict(order=True), 'order: found True'),
        (dict(selection='strength'), "selection: found 'strength'"),
        (dict(tune_iters=2.5), 'tune_iters: found 2.5'),
        (dict(perturbed_choices=0), 'perturbed_choices: found 0'),
        (dict(hessian='diagonal'), "hessian: found 'diagonal'"),
        (dict(derive='first'), "derive: found 'first'"),
        (dict(score='loss'), "score: found 'loss'"),
        (dict(score_batches=0), 'score_batches: found 0'),
        (dict(cost_samples=1), 'cost_samples: found 1'),
        (dict(warmup_epochs=-1), 'warmup_epochs: found -1'),
        (dict(virtual_lr=-0.1), 'virtual_lr: found -0.1'),
        (dict(init_std='small'), "init_std: found 'small'"),
        (dict(freeze_unsampled=True), 'freeze_unsampled: found True'),
        (dict(stop_when=dict(value='skip')), 'stop_when: found'),
        (dict(stop_when=dict(value='skip', count=0)), 'stop_when: found'),
        (dict(unrolled=True), "unknown key 'unrolled'"),
        (dict(hesian='exact'), "Did you mean 'hessian'"),
    ],
)
def test_options_are_checked(options, message):
    """Rejects an option that is accepted and ignored, or fails after an epoch."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        DARTSSearchHook(**options)


@pytest.mark.parametrize(
    ('hook', 'changes', 'message'),
    [
        (dict(watch='skip'), {}, "watch: found 'skip', which no choice of 'toy' offers"),
        (dict(stop_when=dict(value='skip', count=2)), {}, "watch: found 'skip'"),
        (
            dict(order=2),
            dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1))),
            'virtual_lr: found none for the optimiser AdamW',
        ),
        (dict(arch_dataloader=None), {}, 'arch_dataloader: found none, expected held-out data'),
    ],
)
def test_what_the_run_tells_is_checked_before_it_starts(hook, changes, message):
    """Rejects a watch that always counts 0, and a second order that would follow another optimiser than there is."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepared({**DARTS, **hook}, **changes)


def test_second_order_beside_another_optimiser():
    """With its own rate the virtual step needs no SGD."""
    changes = dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1)))
    made, search = prepared({**DARTS, 'order': 2, 'virtual_lr': 0.05}, **changes)
    start = search.distribution.alpha.detach().clone()
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert not torch.equal(search.distribution.alpha, start)
