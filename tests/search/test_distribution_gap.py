"""The distribution-gap term: its gradient, what it does to two networks that should not share, and a search with it."""

import copy
import json
import random
from itertools import product
from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmnas_video.entangle import Searchable, Slice, add_local_weights
from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATASETS
from mmnas_video.search import EntanglementSearchHook, extract_model
from mmnas_video.search.distribution_gap import gap_backward
from mmnas_video.space import Arch, Choice, SearchSpace
from mmnas_video.testing import toy
from mmnas_video.testing.method import Killed, Killer

from ..conftest import forget_runs
from .toy import prepared

WEIGHT = 0.7
HOOK = dict(type='EntanglementSearchHook', score_batches=1, selection='argmax', distribution_gap=WEIGHT)
MODEL_CONFIG = Path(__file__).parents[2] / 'configs' / '_base_' / 'models' / 'super_vit_demo.py'


def recognizer(groups=3, names='weight', **cfg):
    local = dict(groups=groups, names=names)
    return dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False, local_weights=local), **cfg)


def spread(local):
    """Offsets that are not zero, so that there is a gap."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for offset in local.offsets.values():
            offset.normal_(0, 0.8, generator=generator)


def by_hand(theta, batch, pair, space, weight):
    """Eq. 3 as docs/papers.md reads it, on the toy network (7 -> 5 -> 3), in one graph and out of nothing but tensors.

    Args:
        theta: backbone's weight, offsets, table, and the head's weight and bias.

    Returns:
        own, gap, similarity, with graphs.
    """
    w, offsets, table, head, bias = theta
    labels = torch.tensor([sample.gt_label for sample in batch['data_samples']])
    assignments = []
    for arch in pair:
        scale, width = (0.5, 1.0, 2.0).index(arch['scale']), (2, 3, 5).index(arch['width'])
        assignments.append((table[scale] + table[3 + width]).softmax(0))

    def loss(arch, assignment):
        effective = w + torch.einsum('g,gij->ij', assignment, offsets)
        y = torch.zeros(len(labels), 5, dtype=w.dtype)
        y[:, : arch['width']] = batch['inputs'] @ effective[: arch['width']].T * arch['scale']
        return nn.functional.cross_entropy(y @ head.T + bias, labels)

    own = sum(loss(arch, o) for arch, o in zip(pair, assignments, strict=True)) / 2
    middle = (assignments[0] + assignments[1]) / 2
    shared = sum(loss(arch, middle) for arch in pair) / 2
    return own, shared - own.detach(), assignments[0] @ assignments[1]


def theta_of(model):
    backbone, local = model.backbone, model.backbone.local_weights
    return [backbone.weight, local.offsets['weight'], local.table, model.head.weight, model.head.bias]


PAIR = (Arch({'scale': 0.5, 'width': 5}), Arch({'scale': 2.0, 'width': 3}))


# ---------------------------------------------------------------------------- the gradient
def test_gradient():
    """With one graph alive at a time, against one autograd graph over everything and against central differences (the
    own losses in the gap held at their value). Rejects a δ that is a constant (its gradient in the table is missing), a
    gap that is one, an ``own`` that is not detached, a common assignment that is (it then has no gradient), and graphs
    of two networks at a time."""
    made, search = prepared(HOOK, model=recognizer())
    local = search.searchable.local_weights
    spread(local)
    batch = search.prepare(next(iter(made.train_dataloader)))
    theta = theta_of(made.model)

    events = []

    def losses(arch):
        events.append('forward')
        with search.searchable.use(arch):
            return made.model(**batch, mode='loss')['loss_cls']

    def backward(loss):
        events.append('backward')
        loss.backward()

    terms = gap_backward(local, PAIR, losses, WEIGHT, backward)
    assert events == ['forward', 'backward'] * 4 + ['backward']
    own, gap, similarity = by_hand(theta, batch, PAIR, search.space, WEIGHT)
    expected = torch.autograd.grad(own + WEIGHT * similarity * gap, theta)
    for found, term in zip(terms, (own, gap, similarity), strict=True):
        assert torch.isclose(found, term, atol=1e-12) and found.grad_fn is None
    for parameter, grad in zip(theta, expected, strict=True):
        assert torch.allclose(parameter.grad, grad, atol=1e-12) and grad.abs().max() > 1e-3
    assert abs(gap) > 1e-2, 'else nothing has been tested'
    held = own.detach()
    for parameter, grad in zip(theta, expected, strict=True):
        flat = parameter.data.view(-1)
        for index in range(0, flat.numel(), 5):
            ends = []
            for step in (1e-6, -2e-6):
                flat[index] += step
                with torch.no_grad():
                    own, gap, similarity = by_hand(theta, batch, PAIR, search.space, WEIGHT)
                    ends.append(own + WEIGHT * similarity * (gap + own - held))
            flat[index] += 1e-6
            assert torch.isclose((ends[0] - ends[1]) / 2e-6, grad.view(-1)[index], atol=1e-8)


def test_step(monkeypatch):
    """Two batches with accumulation, then SGD's step: the network is moved by the mean of the gradients above, and what
    is logged is of the pair. Rejects a term that is not divided by the accumulated batches or not applied at all, a
    sampled network where there should be two, and logged losses of the shared passes."""
    wrapper = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.3))
    made, search = prepared(HOOK, model=recognizer(), optim_wrapper=wrapper)
    spread(search.searchable.local_weights)
    pairs = [PAIR, (PAIR[1], Arch({'scale': 1.0, 'width': 2}))]
    drawn = iter([arch for pair in pairs for arch in pair])
    monkeypatch.setattr(search.space, 'sample', lambda rng: next(drawn))
    theta = [p.detach().clone().requires_grad_() for p in theta_of(made.model)]
    total = 0
    for pair, batch in zip(pairs, made.train_dataloader, strict=False):
        own, gap, similarity = by_hand(theta, search.prepare(dict(batch)), pair, search.space, WEIGHT)
        total = total + (own + WEIGHT * similarity * gap) / 2
        before = made.model.backbone.forwards
        logged = made.model.train_step(batch, made.optim_wrapper)
        assert made.model.backbone.forwards - before == 4 + 1, 'two by two, and the mixture of the step of α'
        for key, value in (('loss', own), ('loss_cls', own), ('gap', gap), ('similarity', similarity)):
            assert float(logged[key]) == pytest.approx(float(value.detach()), abs=1e-6), key
        assert 0 < logged['assignment'] < torch.tensor(3.0).log()
    grads = torch.autograd.grad(total, theta)
    for old, grad, new in zip(theta, grads, theta_of(made.model), strict=True):
        assert torch.allclose(old - 0.3 * grad, new, atol=1e-12)


def test_a_bad_loss_of_one_network_leaves_the_other_its_update(monkeypatch):
    """Rejects a gap of infinity that reaches the gradient, with which the whole update would be lost."""
    made, search = prepared(HOOK, model=recognizer())
    drawn, forward = iter(PAIR), made.model.forward

    def broken(*args, **kwargs):
        found = forward(*args, **kwargs)
        if made.model.backbone.arch == PAIR[1]:
            found['loss_cls'] = found['loss_cls'] * float('inf')
        return found

    monkeypatch.setattr(search.space, 'sample', lambda rng: next(drawn))
    monkeypatch.setattr(made.model, 'forward', broken)
    before = [p.detach().clone() for p in theta_of(made.model)]
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert search.finite.dropped == 2, 'by itself and shared'
    assert all(p.isfinite().all() for p in made.model.parameters())
    assert not torch.equal(before[0], made.model.backbone.weight)


def test_equal_networks_have_no_gap():
    """Exactly 0 with dropout on. Rejects passes with dropout masks of their own, whose difference would be pushed into
    the assignments."""
    made, search = prepared(HOOK, model=recognizer(dropout=0.5))
    spread(search.searchable.local_weights)
    batch = search.prepare(next(iter(made.train_dataloader)))
    terms = search._gap.step((PAIR[0], PAIR[0]), batch, made.optim_wrapper)
    assert terms['gap'] == 0 and terms['similarity'] < 1


def test_pairs():
    """Rejects a pair of one network, or one network by two names, where there are others; and an endless search for a
    second where there is one."""
    _, search = prepared(HOOK, model=recognizer())
    assert all(first != second for first, second in (search._pair() for _ in range(40)))
    search.searchable.canonical = lambda arch: search.space.check(arch).replace({'width': 2})
    assert all(first['scale'] != second['scale'] for first, second in (search._pair() for _ in range(40)))
    search.searchable.canonical = lambda arch: 'one for all'
    assert len(search._pair()) == 2


# ---------------------------------------------------------------------------- what it is for
OPPOSED = SearchSpace('opposed', [Choice('sign', (-1.0, 1.0)), Choice('copy', (2, 3, 5))])


class Opposed(Searchable, nn.Module):
    """``sign * <w, x>``: the two signs need opposite w. ``copy`` is of no consequence: those should share."""

    def __init__(self, groups):
        nn.Module.__init__(self)
        Searchable.__init__(self, OPPOSED)
        self.weight = nn.Parameter(torch.zeros(7, dtype=torch.float64))
        add_local_weights(self, dict(groups=groups, names='weight'))

    def forward(self, x):
        return self.arch['sign'] * (x @ self.weight)

    def slices(self, arch):
        yield Slice('weight')


def planted(seed, groups, weight, steps=200):
    """Train; returns the mean loss over the six architectures on fresh data, and the mean similarity of those of
    different and of one sign."""
    torch.manual_seed(seed)
    rng, net, truth = random.Random(seed), Opposed(groups), torch.randn(7, dtype=torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)

    def losses(arch, number=17):
        with net.use(arch):
            return nn.functional.binary_cross_entropy_with_logits(net(x), (x @ truth > 0).double())

    archs = [OPPOSED.decode(indices) for indices in product(range(2), range(3))]
    for _ in range(steps):
        x = torch.randn(17, 7, dtype=torch.float64)
        pair = rng.sample(archs, 2)
        optimizer.zero_grad()
        if weight:
            gap_backward(net.local_weights, pair, losses, weight, lambda loss: loss.backward())
        else:
            (sum(losses(arch) for arch in pair) / 2).backward()
        optimizer.step()
    x = torch.randn(503, 7, dtype=torch.float64)
    with torch.no_grad():
        loss = sum(float(losses(arch)) for arch in archs) / 6
        if groups == 1:
            return loss, None, None
        found = torch.stack([net.local_weights.assignment(arch) for arch in archs])
    alike = found @ found.T
    return loss, float(alike[:3, 3:].mean()), float(alike[:3, :3].mean())


def test_networks_that_should_not_share():
    """Shared training of networks of which half need the opposite weights: with one set of weights none learns anything
    (log 2); with two groups and the term those of different signs end in different groups, those of one sign in the
    same, and all learn. Groups alone, without the term, go the same way here: what the term adds is that they come
    further apart, in every run, and with plain SGD at equal steps a lower loss. Rejects the other sign (Eq. 3 as
    printed, or a gap that is counted down), and a term that only drives apart (those of one sign too)."""
    for seed in range(4):
        one, _, _ = planted(seed, 1, 0.0)
        groups, across, _ = planted(seed, 2, 0.0)
        term, term_across, term_within = planted(seed, 2, 1.0)
        assert one > 0.67 and term < 0.3, f'seed {seed}'
        assert term_across < 0.1 and term_within > 0.9, f'seed {seed}'
        assert term < groups and term_across < across, f'seed {seed}'


# ---------------------------------------------------------------------------- through the Runner
def config(work_dir, name):
    optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.05, weight_decay=0.1),
        paramwise_cfg=dict(custom_keys={'local_weights': dict(decay_mult=0.0)}),
    )
    cfg = toy.config(
        HOOK, epochs=3, work_dir=str(work_dir), model=recognizer(2, '*', dropout=0.2), optim_wrapper=optim_wrapper
    )
    cfg.experiment_name = name
    return cfg


def test_resume(tmp_path):
    """A run that is killed within its second epoch and resumed ends with the same weights, offsets, table, moments and
    history as one that was not, bit for bit. Rejects local weights that are in no checkpoint."""
    init_default_scope('mmaction')
    whole = Runner.from_cfg(config(tmp_path / 'whole', 'whole'))
    whole.train()
    forget_runs()
    killed = Runner.from_cfg(config(tmp_path / 'killed', 'killed'))
    killed.register_hook(Killer(9), priority='HIGHEST')
    with pytest.raises(Killed):
        killed.train()
    forget_runs()
    cfg = config(tmp_path / 'killed', 'resumed')
    cfg.resume = True
    resumed = Runner.from_cfg(cfg)
    start = resumed.model.backbone.local_weights.table.detach().clone()
    resumed.train()
    state = resumed.model.state_dict()
    assert {'backbone.local_weights.table', 'backbone.local_weights.offsets.weight'} <= set(state)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert not torch.equal(start, state['backbone.local_weights.table'])
    moments = [r.optim_wrapper.optimizer.state_dict()['state'] for r in (whole, resumed)]
    assert all(torch.equal(moments[0][i]['exp_avg_sq'], moments[1][i]['exp_avg_sq']) for i in moments[0])
    lines = [(tmp_path / run / 'search' / 'history.jsonl').read_bytes() for run in ('whole', 'killed')]
    assert lines[0] == lines[1]


@DATASETS.register_module()
class GapClips(Dataset):
    """Bytes of noise with two labels in turn."""

    reproducible = True
    metainfo = {}  # noqa: RUF012 - as MMEngine's datasets have it

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.clips = torch.randint(0, 256, (6, 1, 3, 8, 32, 32), generator=generator, dtype=torch.uint8)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, item):
        index = item[1] if isinstance(item, tuple) else item
        return {'inputs': self.clips[index], 'data_samples': ActionDataSample().set_gt_label(index % 2)}


def test_search_on_the_demo_network(tmp_path):
    """SuperViT with the defaults of the option, freezing on: after a search through the Runner the found network,
    extracted, is the supernet at its architecture, its config and its weights know nothing of local weights, and all
    offsets have moved. Rejects a search whose local weights stay what they were, and an extraction of w."""
    init_default_scope('mmaction')
    model = Config.fromfile(MODEL_CONFIG).model
    model.backbone.local_weights = dict(groups=2)
    held_out = dict(batch_size=2, num_workers=0, dataset=dict(type='GapClips', seed=1))
    train = dict(batch_size=2, num_workers=0, sampler=dict(type='SeededSampler'), dataset=dict(type='GapClips'))
    hook = dict(HOOK, arch_dataloader=held_out, drawn={'tube*': 2}, selection='perturbation', eval_batches=1)
    runner = toy.runner(
        hook,
        model=model,
        train_dataloader=train,
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05)),
        cost_shape=(3, 8, 32, 32),
        work_dir=str(tmp_path),
    )
    start = copy.deepcopy(runner.model.backbone.local_weights)
    runner.train()
    local = runner.model.backbone.local_weights
    assert len(local.keys) == 4 * 4 + 2 and not torch.equal(start.table, local.table)
    assert all(offset.any() for offset in local.offsets.values())
    search = next(hook for hook in runner.hooks if isinstance(hook, EntanglementSearchHook))
    found = json.loads((tmp_path / 'search' / 'arch.json').read_text())
    assert found['arch'] == dict(search.chosen)
    lines = [json.loads(line) for line in (tmp_path / 'search' / 'history.jsonl').read_text().splitlines()]
    steps = [line for line in lines if line['kind'] == 'step']
    assert steps and all(0 < step['similarity'] < 1 and isinstance(step['gap'], float) for step in steps)
    network, cfg = extract_model(runner.cfg, runner.model, search.chosen)
    assert 'local_weights' not in cfg.model.backbone
    assert not any('local_weights' in key for key in network.state_dict())
    inputs = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    supernet, network = runner.model.double().eval().backbone, network.double().eval().backbone
    with torch.no_grad(), supernet.use(search.chosen):
        window, expected = supernet.output(search.chosen), supernet(inputs)
        assert torch.allclose(network(inputs), expected[:, : window.length], atol=1e-10)
        supernet.local_weights.shift = lambda name, assignment: 0
        assert not torch.allclose(supernet(inputs), expected, atol=1e-4), 'else the offsets do nothing'


# ---------------------------------------------------------------------------- options
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(distribution_gap=-0.5), 'EntanglementSearchHook.distribution_gap: found -0.5, expected a number from 0'),
        (dict(distribution_gap=True), 'distribution_gap: found True'),
        (dict(distribution_gap='1'), "distribution_gap: found '1'"),
        (dict(distribution_gap=float('nan')), 'distribution_gap: found nan'),
        (dict(distribution_gap=0.5, weight_mode='mixed'), "found 0.5 with weight_mode='mixed', expected 0"),
    ],
)
def test_refused(options, message):
    """Rejects options that are taken and ignored."""
    with pytest.raises(ConfigError, match=message):
        EntanglementSearchHook(**options)


def test_needs_local_weights(capsys):
    """One error before any work without them, with what to write; off, nothing is demanded. A decay on them is said,
    with the line that takes it away. Rejects a term that is silently 0."""
    with pytest.raises(ConfigError, match=r'found 0\.7 with a network without .* model\.backbone\.local_weights=dict'):
        prepared(HOOK)
    forget_runs()
    assert prepared({**HOOK, 'distribution_gap': 0})[1]._gap is None
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01))
    forget_runs()
    prepared(HOOK, model=recognizer(), optim_wrapper=optim_wrapper)
    log = capsys.readouterr().out
    assert 'weight decay of 0.01 pulls' in log and "custom_keys={'local_weights'" in log
