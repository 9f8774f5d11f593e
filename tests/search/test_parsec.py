"""PARSEC against enumeration on a space of nine architectures."""

import itertools
import json
import math
import random

import pytest
import torch
from mmaction.datasets.transforms import SampleFrames
from mmaction.structures import ActionDataSample
from mmengine.structures import BaseDataElement

from mmnas_video.errors import ConfigError
from mmnas_video.search import ArchDistribution, PARSECSearchHook, VideoAccuracy
from mmnas_video.search.held_out import with_clips
from mmnas_video.space import Arch

from .toy import CLASSES, SPACE, loader, prepared, runner

ALL = [SPACE.decode(index) for index in itertools.product(range(3), range(3))]
#: A log-likelihood for each architecture: no product of two factors, so the posterior is not factorised either.
LOGLIK = dict(zip(ALL, [0.1, -0.9, 0.6, 1.3, -0.2, 0.4, -1.1, 0.9, 1.9], strict=True))


def hook_with(alpha: torch.Tensor, **options) -> PARSECSearchHook:
    """A hook with α set, without a Runner."""
    hook = PARSECSearchHook(**options)
    hook.distribution = ArchDistribution(SPACE)
    with torch.no_grad():
        hook.distribution.alpha.copy_(alpha)
    return hook


def alpha_gradient(hook: PARSECSearchHook, archs: list[Arch]) -> torch.Tensor:
    """What one update ascends, (2, 3)."""
    weights = hook.indicator.log_weights([LOGLIK[a] for a in archs]).softmax(0)
    return -torch.autograd.grad(hook.arch_loss(archs, weights), hook.distribution.alpha)[0]


def exact_gradient(distribution: ArchDistribution) -> torch.Tensor:
    """∇_α log Σ_A p(A) L(A) = posterior marginal - prior, per choice and value (closed form of a factorised
    softmax)."""
    prior = distribution.log_probs().detach().exp()
    joint = {a: math.exp(LOGLIK[a]) * math.prod(prior[v, i] for v, i in enumerate(SPACE.encode(a))) for a in ALL}
    evidence = sum(joint.values())
    posterior = torch.zeros_like(prior)
    for arch, p in joint.items():
        for v, i in enumerate(SPACE.encode(arch)):
            posterior[v, i] += p / evidence
    return posterior - prior


ALPHA = torch.tensor([[0.3, -0.4, 0.2], [-0.1, 0.5, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize('control_variate', [False, True])
@pytest.mark.parametrize('num_archs', [2, 3])
def test_expected_alpha_gradient_by_enumeration(num_archs, control_variate):
    """The estimator's mean over all K-tuples, enumerated, is what PARSEC's formula gives by hand; the control variate
    leaves it unchanged. Rejects weights that are not normalised over the K, and a baseline that shifts the mean."""
    hook = hook_with(ALPHA, num_archs=num_archs, control_variate=control_variate)
    prior = hook.distribution.log_probs().detach().exp()
    mean, by_hand = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    for archs in itertools.product(ALL, repeat=num_archs):
        p = math.prod(float(prior[v, i]) for a in archs for v, i in enumerate(SPACE.encode(a)))
        mean += p * alpha_gradient(hook, list(archs))
        lik = [math.exp(LOGLIK[a]) for a in archs]
        for a, value in zip(archs, lik, strict=True):
            one_hot = torch.zeros(2, 3, dtype=torch.float64)
            for v, i in enumerate(SPACE.encode(a)):
                one_hot[v, i] = 1
            by_hand += p * value / sum(lik) * (one_hot - prior)
    torch.testing.assert_close(mean, by_hand, rtol=0, atol=1e-12)


def test_bias_vanishes_as_k_grows():
    """The known bias: the mean estimate is a fraction of the exact gradient that grows with K towards one (none at K
    = 1,
    which is why it is refused). Rejects an estimator with another limit, such as one without importance weights."""
    hook = hook_with(ALPHA)
    exact = exact_gradient(hook.distribution)
    rng, fractions = random.Random(5), []
    for num_archs, repeats in ((1, 4000), (2, 6000), (4, 3000), (13, 1500), (128, 300)):
        total = torch.zeros(2, 3, dtype=torch.float64)
        for _ in range(repeats):
            total += alpha_gradient(hook, [hook.distribution.sample(rng) for _ in range(num_archs)])
        fractions.append(float((total / repeats * exact).sum() / exact.square().sum()))
    assert abs(fractions[0]) < 0.12
    assert fractions[0] < fractions[1] < fractions[2] < fractions[3]
    assert fractions[4] == pytest.approx(1, abs=0.06)


def test_sampling_and_log_prob_follow_the_softmax():
    """Rejects sampling from another distribution than log_prob says, and a wrong entropy."""
    distribution = hook_with(ALPHA).distribution
    rng = random.Random(1)
    counts = dict.fromkeys(ALL, 0)
    for _ in range(9000):
        counts[distribution.sample(rng)] += 1
    expected = distribution.log_prob(ALL).exp().detach() * 9000
    assert float(expected.sum()) == pytest.approx(9000)
    chi2 = sum((counts[a] - float(e)) ** 2 / float(e) for a, e in zip(ALL, expected, strict=True))
    assert chi2 < 26.1  # 8 degrees of freedom, 0.1 %
    probs = ALPHA.softmax(1)
    assert sum(distribution.entropies().values()) == pytest.approx(float(-(probs * probs.log()).sum()), abs=1e-12)
    assert distribution.most_probable() == Arch({'scale': 0.5, 'width': 3})


def test_the_smallest_share_is_of_open_choices():
    """Rejects a choice of one value, which always is at its smallest, among those that could be."""
    distribution = ArchDistribution(SPACE.fix({'scale': 0.5}))
    archs = [Arch({'scale': 0.5, 'width': width}) for width in (2, 3)]
    assert [distribution.summary(arch)['smallest_share'] for arch in archs] == [1.0, 0.0]


@pytest.mark.parametrize(('cost_term', 'macs', 'lost'), [
    ('weight', 36, 2), ('score', 36, 2), ('weight', (36, None), 0), ('score', (36, None), 0),
])  # fmt: skip
def test_the_cost_hinge_moves_alpha(cost_term, macs, lost):
    """With equal likelihoods only the cost speaks: the width outside the budget must lose its probability. Rejects a
    hinge added to the loss as a constant, which no gradient sees, one with the wrong sign, and one that ignores a lower
    bound."""
    made, hook = prepared(
        dict(
            type='PARSECSearchHook',
            num_archs=6,
            budget=dict(macs=macs),
            cost_term=cost_term,
            cost_weight=3.0,
            arch_optimizer=dict(type='Adam', lr=0.1),
        )
    )
    costs = [abs(7 * width + 15 - 36) / 36 for width in (2, 3, 5)]  # the head counts: 5 x 3
    expected = [costs[number] if number == lost else 0 for number in range(3)]
    assert [hook.violation(Arch({'scale': 1.0, 'width': width})) for width in (2, 3, 5)] == pytest.approx(expected)
    hook.score = lambda archs, wrapper: ([0.0] * len(archs), 1)
    for _ in range(150):
        hook._arch_step([hook.distribution.sample(hook.rng) for _ in range(6)], made.optim_wrapper)
    assert hook.distribution.probs()['width'][lost] < 0.05


def test_the_cost_term_enters_the_update_exactly():
    """With equal likelihoods a costly architecture's weight is exp(-λ c) times the cheap one's; with the score term the
    loss moves by λ (c - mean c) log p / K. Rejects a cost term that is left out (drift alone can starve a width)."""
    cheap, costly = (Arch({'scale': 1.0, 'width': width}) for width in (3, 5))
    for cost_term in ('weight', 'score'):
        made, hook = prepared(
            dict(type='PARSECSearchHook', num_archs=2, budget=dict(macs=36), cost_term=cost_term, cost_weight=3.0)
        )
        hook.score = lambda archs, wrapper: ([0.0] * len(archs), 1)
        hinge = (50 - 36) / 36
        even = torch.full((2,), 0.5, dtype=torch.float64)
        with torch.no_grad():
            hook.distribution.alpha[1, 2] = 1.7
            log_p = hook.distribution.log_prob([cheap, costly])
            expected = -(even * log_p).sum() + (3 * hinge * (log_p[1] - log_p[0]) / 4 if cost_term == 'score' else 0)
        torch.testing.assert_close(hook.arch_loss([cheap, costly], even).detach(), expected)
        weights, _ = hook._arch_step([cheap, costly], made.optim_wrapper)
        ratio = math.exp(-3 * hinge) if cost_term == 'weight' else 1.0
        assert float(weights[1] / weights[0]) == pytest.approx(ratio)


def test_the_cost_is_counted_as_often_as_the_clips():
    """A summed likelihood of B clips meets B hinges, a mean one meets one: λ means the same at every batch size.
    Rejects
    a hinge that a batch of 512 drowns."""
    costly = Arch({'scale': 1.0, 'width': 5})
    for reduction, expected in (('sum', 17), ('mean', 1)):
        _, hook = prepared(
            dict(
                type='PARSECSearchHook',
                num_archs=2,
                budget=dict(macs=36),
                cost_weight=3.0,
                indicator=dict(type='Likelihood', reduction=reduction),
            )
        )
        assert hook._penalties([costly], 17)[0] == pytest.approx(expected * 3.0 * (50 - 36) / 36)


@pytest.mark.parametrize('clip', [None, 0.05])
@pytest.mark.parametrize(
    ('accumulate', 'cost'), [(1, {}), (2, {}), (2, dict(budget=dict(macs=29), cost_weight=0.5, num_archs=7))]
)
def test_weight_update_equals_brute_force(accumulate, cost, clip):
    """One optimiser step through the Runner's own OptimWrapper against autograd on Σ_k w_k loss_k, with accumulation,
    clipping and the cost hinge in the w_k. Rejects lost accumulated gradients, a doubled scale, clipping before the
    weights are applied, and a cost that moves only α (AutoX3D, Eq. 2)."""
    options = {'num_archs': 3, **cost}
    wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1),
        accumulative_counts=accumulate,
        clip_grad=clip and dict(max_norm=clip),
    )
    made, hook = prepared(dict(type='PARSECSearchHook', **options), optim_wrapper=wrapper)
    before = {k: v.detach().clone() for k, v in made.model.named_parameters()}
    batches = list(itertools.islice(iter(made.train_dataloader), accumulate))
    rng = random.Random()
    rng.setstate(hook.rng.getstate())
    distribution_before = hook.distribution.alpha.detach().clone()
    drawn = []
    for batch in batches:
        archs = [hook.distribution.sample(rng) for _ in range(options['num_archs'])]
        drawn.append(archs)
        made.model.train_step(batch, made.optim_wrapper)
    assert not torch.equal(hook.distribution.alpha, distribution_before)

    twin, _ = prepared(dict(type='PARSECSearchHook', num_archs=3))
    total = 0.0
    for batch, archs in zip(batches, drawn, strict=True):
        data = twin.model.data_preprocessor(batch, True)
        values = []
        for arch in archs:
            with twin.model.backbone.use(arch):
                values.append(twin.model(**data, mode='loss')['loss_cls'])
        hinges = [(7 * arch['width'] + 15 - 29) / 29 for arch in archs]  # the head costs 5 x 3
        assert len(set(hinges)) > 1 or not cost
        penalties = cost.get('cost_weight', 0.0) * torch.tensor(hinges, dtype=torch.float64)
        # The likelihood is summed over the batch of 5, and so is the cost.
        weights = (-5 * (torch.stack(values).detach() + penalties)).softmax(0)
        total = total + (weights * torch.stack(values)).sum() / accumulate
    total.backward()
    grads = {k: p.grad for k, p in twin.model.named_parameters()}
    norm = torch.stack([g.norm() for g in grads.values()]).norm()
    scale = min(1.0, clip / (float(norm) + 1e-6)) if clip else 1.0
    for name, parameter in made.model.named_parameters():
        expected = before[name] - 0.1 * scale * grads[name]
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-12, msg=name)


def test_scoring_writes_no_statistics_and_uses_the_batch():
    """Rejects scores from running statistics, and held-out batches that leak into them."""
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=2))
    norm = made.model.backbone.norm
    before = norm.running_mean.clone()
    archs = [SPACE.smallest, SPACE.largest]
    hook.held_out.load_state_dict({'consumed': 0})
    scores, clips = hook.score(archs, made.optim_wrapper)
    assert clips == 5
    assert torch.equal(norm.running_mean, before)
    assert int(norm.num_batches_tracked) == 0
    hook.held_out.load_state_dict({'consumed': 0})
    data = hook.prepare(next(hook.held_out))
    for arch, score in zip(archs, scores, strict=True):
        with made.model.backbone.use(arch), torch.no_grad():
            made.model.train()
            expected = -5 * float(made.model(**data, mode='loss')['loss_cls'])
        assert score == pytest.approx(expected, abs=1e-12)


def test_architectures_share_the_dropout_mask():
    """Two samples of one architecture in one step have one loss. Rejects masks drawn anew, which would make weights of
    luck."""
    made, hook = prepared(
        dict(type='PARSECSearchHook', num_archs=2),
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.5),
    )
    seen = []
    original = made.model.forward

    def spy(*args, **kwargs):
        out = original(*args, **kwargs)
        if kwargs.get('mode') == 'loss' and made.model.training:
            seen.append(float(out['loss_cls'].detach()))
        return out

    made.model.forward = spy
    hook.distribution.sample = lambda rng: SPACE.largest
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert seen[0] == seen[1] and seen[2] == seen[3] and seen[0] != seen[2]


class Saved:
    """What autograd keeps of a forward pass, counted while it is there."""

    alive = 0

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # not the tensor, which would hold the graph that holds this
        Saved.alive += 1

    def __del__(self):
        Saved.alive -= 1


@pytest.mark.parametrize('broken', [False, True])
@pytest.mark.parametrize('hook', [dict(type='PARSECSearchHook'), dict(type='UniformSearchHook')])
def test_so_many_passes_and_one_graph(hook, broken):
    """K architectures take K passes over the training batch (PARSEC: and K over the held-out one, without a graph), and
    when one begins, nothing is kept of those before. Rejects scoring the training batch before the weighted passes,
    losses that are summed before one backward pass, and the graph of a loss that was dropped, or logged."""
    made, _ = prepared({**hook, 'num_archs': 5})
    original, batch = made.model.backbone.forward, next(iter(made.train_dataloader))
    trained, scored = [], []

    def spy(x):
        (trained if torch.is_grad_enabled() else scored).append(Saved.alive)
        y = original(x)
        return y * math.inf if broken and len(trained) == 2 else y

    made.model.backbone.forward = spy
    Saved.alive = 0
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        made.model.train_step(batch, made.optim_wrapper)
    assert trained == [0] * 5
    assert scored == ([0] * 5 if 'PARSEC' in hook['type'] else [])


def test_video_accuracy_weights():
    """w_k = acc_k / Σ acc, uniform if all are 0 (Auto-TSNet). Rejects a softmax over accuracies."""
    hook = PARSECSearchHook(indicator=dict(type='VideoAccuracy'))
    torch.testing.assert_close(
        hook.indicator.log_weights([0.2, 0.0, 0.6]).softmax(0), torch.tensor([0.25, 0.0, 0.75], dtype=torch.float64)
    )
    assert hook.indicator.log_weights([0.0, 0.0]).softmax(0).tolist() == [0.5, 0.5]
    assert hook.indicator.score(3.0, 4) == 0.75


def test_weights_by_accuracy_reach_both_updates():
    """With accuracies 0.2, 0 and 0.6 the weights' gradient is that of 0.25 loss_1 + 0.75 loss_3. Rejects weights of the
    training batch's own likelihood, and an architecture of weight 0 that is logged as one whose loss is not finite."""
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=3, indicator=dict(type='VideoAccuracy')))
    archs = [Arch({'scale': 0.5, 'width': 2}), Arch({'scale': 1.0, 'width': 3}), Arch({'scale': 2.0, 'width': 5})]
    hook._draw = lambda count: archs
    hook.score = lambda archs, wrapper: ([0.2, 0.0, 0.6], 5)
    before = {k: v.detach().clone() for k, v in made.model.named_parameters()}
    batch = next(iter(made.train_dataloader))
    made.model.train_step(batch, made.optim_wrapper)
    assert hook.finite.dropped == 0
    twin, _ = prepared(dict(type='PARSECSearchHook', num_archs=3))
    data, total = twin.model.data_preprocessor(batch, True), 0.0
    for arch, weight in zip(archs, (0.25, 0.0, 0.75), strict=True):
        with twin.model.backbone.use(arch):
            total = total + weight * twin.model(**data, mode='loss')['loss_cls']
    total.backward()
    for name, parameter in twin.model.named_parameters():
        expected = before[name] - 0.1 * parameter.grad
        torch.testing.assert_close(dict(made.model.named_parameters())[name].detach(), expected, rtol=0, atol=1e-12)


class Clips:
    """A recognizer that gives the probabilities of each clip of each video, or their mean."""

    def __init__(self, clips, average):
        self.clips, self.average = torch.tensor(clips), average

    def __call__(self, data_samples, mode):
        assert mode == 'predict'
        for sample, scores in zip(data_samples, self.clips, strict=True):
            sample.pred_score = scores.softmax(-1).mean(0) if self.average else scores
        return data_samples


@pytest.mark.parametrize('average', [True, False])
def test_a_video_is_the_mean_of_its_clips(average):
    """Of three videos of two clips the means are right for two, single clips for none or all. Rejects accuracy of
    clips, the first clip alone, and an index into (clips, classes) where the head leaves the clips apart."""
    clips = [
        [[9.0, 0.0, 0.0], [0.0, 1.0, 0.0]],  # a sure clip outweighs an unsure one
        [[0.0, 0.0, 1.0], [0.0, 9.0, 0.0]],
        [[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]],
    ]
    samples = [BaseDataElement() for _ in clips]
    for sample, label in zip(samples, (0, 1, 0), strict=True):
        sample.set_field(label, 'gt_label')
    found = VideoAccuracy(num_clips=2).measure(Clips(clips, average), dict(data_samples=samples))
    assert found == (2.0, 3)


def test_a_video_of_several_labels_is_right_with_any_of_them():
    """Rejects a search that ends in a traceback over ``multi_class=True``, whose labels are 1 for each class of the
    video; the first label alone, and a class that is none of the video's."""
    labels = ([0.0, 1, 1], [0.0, 1, 1], [1.0, 0, 1])
    samples = [ActionDataSample().set_gt_label(torch.tensor(label)) for label in labels]
    clips = [[[0.0, 0.0, 3.0]], [[3.0, 1.0, 2.0]], [[2.0, 0.0, 1.0]]]
    assert VideoAccuracy().measure(Clips(clips, True), dict(data_samples=samples)) == (2.0, 3)


@pytest.mark.parametrize('kind', ['SampleFrames', 'mmaction.SampleFrames', SampleFrames])
def test_the_number_of_clips_stands_in_the_config(kind):
    """Rejects a count that never reaches the held-out pipeline (accuracy of single clips), one that changes the
    training data's, and one that is dropped silently where there is nothing to count; and a step that is found by one
    of its names alone."""
    step = dict(type=kind, clip_len=4, num_clips=1)
    loader_cfg = dict(batch_size=2, dataset=dict(type='SeededDataset', dataset=dict(pipeline=[dict(step)])))
    made = with_clips(loader_cfg, 3, 'x.arch_dataloader')
    assert made['dataset']['dataset']['pipeline'][0]['num_clips'] == 3
    assert loader_cfg['dataset']['dataset']['pipeline'][0]['num_clips'] == 1
    with pytest.raises(ConfigError, match=r'arch_dataloader: found 0 SampleFrames .*num_clips=2'):
        prepared(dict(type='PARSECSearchHook', num_archs=2, indicator=dict(type='VideoAccuracy', num_clips=2)))
    with pytest.raises(ConfigError, match=r'indicator\.num_clips: found 0'):
        VideoAccuracy(num_clips=0)


@pytest.mark.parametrize(
    'options',
    [
        dict(num_archs=4),
        dict(num_archs=4, mode='alternating'),
        dict(num_archs=4, indicator=dict(type='VideoAccuracy')),
        dict(num_archs=4, indicator=dict(type='Likelihood', reduction='mean')),
    ],
)
def test_a_whole_search_through_the_runner(options, tmp_path):
    """Every mode runs to its end and leaves its files; α is in no parameter group of the weights' optimiser."""
    made = runner(
        dict(type='PARSECSearchHook', budget=dict(macs=60), **options),
        work_dir=str(tmp_path),
        epochs=3,
        val_dataloader=loader(2),
        val_cfg={},
        val_evaluator=dict(type='ToyMetric'),
    )
    made.train()
    hook = next(h for h in made.hooks if isinstance(h, PARSECSearchHook))
    groups = {id(p) for g in made.optim_wrapper.optimizer.param_groups for p in g['params']}
    assert id(hook.distribution.alpha) not in groups
    assert 'train_step' not in vars(made.model)
    data = json.loads((tmp_path / 'search' / 'arch.json').read_text())
    assert data['space']['hash'] == SPACE.hash and data['search']['seed'] == 3 and data['search']['final']
    assert data['cost']['macs'] == data['arch']['width'] * 7 + 5 * CLASSES
    lines = [json.loads(line) for line in (tmp_path / 'search' / 'history.jsonl').read_text().splitlines()]
    epochs = [line for line in lines if line['kind'] == 'epoch']
    steps = [line for line in lines if line['kind'] == 'step']
    assert [e['epoch'] for e in epochs] == [1, 2, 3]
    for epoch in epochs:  # the score is of this epoch's steps alone
        scores = [score for step in steps if step['epoch'] == epoch['epoch'] for score in step['scores']]
        assert epoch['score'] == pytest.approx(sum(scores) / len(scores))
    assert len(steps) == (18 if options.get('mode') != 'alternating' else 4)  # every step, or every fourth of 18
    assert all(len(s['archs']) == 4 and sum(s['weights']) == pytest.approx(1) for s in steps)


def test_it_finds_the_plant(tmp_path):
    """One architecture is far more likely than the others: the search must name it. Rejects an α that descends."""
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=5, arch_optimizer=dict(type='Adam', lr=0.1)))
    plant = Arch({'scale': 2.0, 'width': 3})
    hook.score = lambda archs, wrapper: ([2.0 if a == plant else 0.5 * (a['scale'] == 2.0) for a in archs], 1)
    for _ in range(200):
        hook._arch_step([hook.distribution.sample(hook.rng) for _ in range(5)], made.optim_wrapper)
    assert hook.choose() == plant
    assert float(hook.distribution.log_prob([plant]).exp()) > 0.8


def test_warmup_trains_weights_and_leaves_alpha(tmp_path):
    """Rejects a warm-up that already moves α, one that never ends, and one that does not train."""
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=2, warmup_epochs=1))
    batch, weight = next(iter(made.train_dataloader)), made.model.backbone.weight.detach().clone()
    made.model.train_step(batch, made.optim_wrapper)
    assert not hook.distribution.alpha.any() and not torch.equal(made.model.backbone.weight, weight)
    made.train_loop._epoch = 1
    made.model.train_step(batch, made.optim_wrapper)
    assert hook.distribution.alpha.any()


def test_collapse_guard_warns_below_the_target(caplog, tmp_path):
    """Settled far below the target: a warning that names both; settled on the target, or not settled: none. Rejects
    the entropy of all choices together: at α = 5 it is 0.16 nats, of each 0.08."""
    made, hook = prepared(
        dict(type='PARSECSearchHook', num_archs=2, budget=dict(macs=50), collapse_guard=dict(entropy=0.1, macs=0.8))
    )
    warned = []
    made.logger.warning = lambda text, *args: warned.append(text)
    for width, alpha, expected in ((0, 0.1, 0), (2, 20.0, 0), (0, 20.0, 1), (0, 5.0, 2)):
        with torch.no_grad():
            hook.distribution.alpha.zero_()
            hook.distribution.alpha[:, width] = alpha
        hook.after_train_epoch(made)
        assert len(warned) == expected
    assert 'far below the target' in warned[0]
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=2))
    with torch.no_grad():
        hook.distribution.alpha[:, 0] = 20.0
    hook.after_train_epoch(made)  # without a target there is nothing to be far below of


@pytest.mark.parametrize(('fixed', 'share', 'expected'), [({}, 0.8, 1), ({}, 0.7, 0), ({'scale': 1.0}, 0.8, 0)])
def test_collapse_guard_counts_open_choices_and_its_own_share(fixed, share, expected):
    """A network of 36 MMACs under a target of 50, each choice at 0.08 nats, is below 0.8 times that and not below 0.7.
    Rejects a guard that compares with the target itself, and a mean over choices of one value, whose entropy is 0: with
    one of two fixed, 0.16 nats would count as 0.08."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', fixed=fixed))
    guard = dict(entropy=0.1, macs=share)
    made, hook = prepared(
        dict(type='PARSECSearchHook', num_archs=2, budget=dict(macs=50), collapse_guard=guard), model=model
    )
    warned = []
    made.logger.warning = lambda text, *args: warned.append(text)
    with torch.no_grad():
        hook.distribution.alpha[:, hook.space['width'].index(3)] = 4.2 if fixed else 5.0
    entropy = hook.distribution.entropies()['width']
    assert (0.1 < entropy < 0.2) if fixed else entropy < 0.1
    hook.after_train_epoch(made)
    assert len(warned) == expected


def test_the_papers_setting_is_the_default():
    """AutoX3D, Sec. 5.1.2. Rejects a K, a mode, or an optimiser of α that is another's."""
    hook = PARSECSearchHook()
    assert (hook.num_archs, hook.mode, hook.cost_term, hook.warmup_epochs) == (13, 'joint', 'weight', 0)
    assert hook.arch_optimizer == dict(type='Adam', lr=0.02, weight_decay=0) and not hook.control_variate


def test_one_architecture_is_refused():
    """K = 1 has importance weight 1 always."""
    with pytest.raises(ConfigError, match='num_archs: found 1, expected a whole number from 2: with K = 1'):
        PARSECSearchHook(num_archs=1)


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_weighs_nothing(bad):
    """Rejects a weight of 1 for an infinite score, weights that are all NaN for one that is none, and an epoch whose
    mean score is no number because one was."""
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=3))
    archs = [SPACE.smallest, SPACE.decode([1, 1]), SPACE.largest]
    hook.score = lambda archs, wrapper: ([-0.25, bad, -0.75], 5)
    weights, _ = hook._arch_step(archs, made.optim_wrapper)
    better = 1 / (1 + math.exp(-0.5))
    assert weights.tolist() == pytest.approx([better, 0.0, 1 - better])
    assert hook.epoch_summary()['score'] == -0.5 and hook.finite.dropped == 1


def test_an_architecture_whose_loss_is_infinite_is_dropped(tmp_path):
    """Rejects a step on NaN weights, and one bad architecture that takes the other's update with it."""
    made, hook = prepared(dict(type='PARSECSearchHook', num_archs=2))
    batch = next(iter(made.train_dataloader))
    archs = iter([SPACE.largest, SPACE.smallest])
    hook.distribution.sample = lambda rng: next(archs)
    original, before = made.model.forward, made.model.head.weight.detach().clone()

    def broken(*args, **kwargs):
        out = original(*args, **kwargs)
        if kwargs.get('mode') == 'loss' and made.model.training and made.model.backbone.arch == SPACE.largest:
            out['loss_cls'] = out['loss_cls'] * math.inf
        return out

    made.model.forward = broken
    made.model.train_step(batch, made.optim_wrapper)
    assert hook.finite.dropped == 1
    assert all(torch.isfinite(p).all() for p in made.model.parameters())
    after = made.model.head.weight.detach().clone()
    assert not torch.equal(before, after)
    archs = iter([SPACE.largest, SPACE.largest])
    made.model.train_step(batch, made.optim_wrapper)
    assert hook.finite.dropped == 3 and torch.equal(after, made.model.head.weight)
