"""Uniform sampling and the random search that ends it."""

import json

import pytest
import torch

from mmnas_video.entangle.sync_norm import several_ranks
from mmnas_video.registry import MODELS
from mmnas_video.search import Likelihood
from mmnas_video.search.candidates import CandidateScorer, random_search, sample_admitted
from mmnas_video.search.tuning import Tuning
from mmnas_video.space import Arch

from .toy import SPACE, ToyDataset, ToyPreprocessor, prepared, runner

UNIFORM = dict(type='UniformSearchHook', candidates=6, score_batches=2)


def test_step_is_the_mean_of_the_sampled_losses(monkeypatch):
    """Rejects a step that trains one of the sampled architectures only, or their sum."""
    made, hook = prepared({**UNIFORM, 'num_archs': 3})
    before = made.model.head.weight.detach().clone()
    batch = next(iter(made.train_dataloader))
    archs = [SPACE.smallest, SPACE.largest, SPACE.decode([1, 1])]
    drawn = iter(archs)
    monkeypatch.setattr(hook.space, 'sample', lambda rng: next(drawn))
    made.model.train_step(batch, made.optim_wrapper)
    twin, _ = prepared(UNIFORM)
    data = twin.model.data_preprocessor(batch, True)
    total = 0.0
    for arch in archs:
        with twin.model.backbone.use(arch):
            total = total + twin.model(**data, mode='loss')['loss_cls'] / 3
    total.backward()
    torch.testing.assert_close(
        made.model.head.weight.detach(), before - 0.1 * twin.model.head.weight.grad, rtol=0, atol=1e-13
    )


def test_candidates_are_admitted_and_the_best_is_named(tmp_path):
    """Rejects a selection that ignores the budget, scores on running statistics, names another than the best, or draws
    as many candidates as it has batches to score on."""
    made = runner({**UNIFORM, 'budget': dict(macs=40)}, work_dir=str(tmp_path), epochs=2)
    made.train()
    lines = [json.loads(x) for x in (tmp_path / 'search/history.jsonl').read_text().splitlines()]
    candidates = [x for x in lines if x['kind'] == 'candidate']
    assert 2 < len(candidates) <= 6 and all(c['macs'] <= 40 for c in candidates)
    assert len({tuple(c['arch']) for c in candidates}) == len(candidates)
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    best = max(candidates, key=lambda c: c['score'])
    assert list(SPACE.encode(found['arch'])) == best['arch']


def test_one_network_by_several_names_is_scored_once(monkeypatch):
    """Rejects candidates that are told apart by their values, where the network says that they are the same."""
    canonical = lambda self, arch: self.space.check(arch).replace({'scale': 1.0})  # noqa: E731
    monkeypatch.setattr('mmnas_video.testing.toy.ToyBackbone.canonical', canonical)
    _, hook = prepared(UNIFORM)
    scored, inherited = [], hook.inherited
    monkeypatch.setattr(hook, 'inherited', lambda arch: scored.append(arch) or inherited(arch))
    found = CandidateScorer(hook, 1).score_all([SPACE.decode(i) for i in ([0, 1], [2, 1], [1, 2])])
    assert found[0] == found[1] and len(found) == 3 and len(scored) == 2
    random_search(hook, 23, 1)
    assert hook.record.length() and hook.record.history.read_text().count('"kind": "candidate"') == 3


def test_candidates_are_told_apart_without_comparing_each_with_each(monkeypatch):
    """As many comparisons as there are pairs are half an hour for 50,000 candidates."""
    _, hook = prepared(UNIFORM)
    scorer, compared, stock = CandidateScorer(hook, 1), [], Arch.__eq__
    monkeypatch.setattr(scorer, '_dealt', lambda archs, kept: [dict(arch)['number'] for arch in archs])
    monkeypatch.setattr(hook.searchable, 'canonical', lambda arch: arch)
    monkeypatch.setattr(Arch, '__eq__', lambda self, other: compared.append(1) or stock(self, other))
    archs = [Arch({'number': number % 97}) for number in range(101)]
    assert scorer.score_all(archs) == [number % 97 for number in range(101)] and len(compared) < 1000


def test_scoring_leaves_the_statistics_as_they_were():
    """Rejects recalibration that leaks into the supernet, scores that depend on the order of candidates, and a network
    that goes on in another mode."""
    made, hook = prepared(UNIFORM)
    norm = made.model.backbone.norm
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    before = norm.running_mean.clone()
    score = CandidateScorer(hook, 2)
    archs = [SPACE.smallest, SPACE.largest, SPACE.smallest]
    first, _, again = (score(arch) for arch in archs)
    assert first == again and torch.equal(norm.running_mean, before) and made.model.training
    made.model.eval()
    assert score(archs[0]) == first and not made.model.training


def test_a_score_is_that_of_recalibrated_statistics():
    """The statistics are the plain mean over the calibration batches, whatever stood there. Rejects scores on running
    statistics, which are a mixture over all architectures, and a moving average that keeps some of them."""
    made, hook = prepared({**UNIFORM, 'calibration_clips': 13})
    backbone, arch = made.model.backbone, SPACE.decode([2, 1])
    score = CandidateScorer(hook, 2, Likelihood())
    before = score(arch)
    backbone.norm.running_mean.fill_(7.0), backbone.norm.running_var.fill_(0.03)
    assert score(arch) == before
    rows = backbone.weight.detach()[: arch['width']] * arch['scale']
    clips = [torch.stack(list(batch['inputs'])).double() @ rows.T for batch in hook.calibration.batches()]
    assert len(clips) == 3
    with hook.inherited(arch):
        for found, by_hand in (
            (backbone.norm.running_mean, sum(y.mean(0) for y in clips) / 3),
            (backbone.norm.running_var, sum(y.var(0) for y in clips) / 3),
        ):
            torch.testing.assert_close(found[: arch['width']], by_hand, rtol=0, atol=1e-13)
            assert not found[arch['width'] :].any()


def test_recalibration_waits_for_no_other_rank(monkeypatch):
    """Rejects synced statistics of what each rank runs by itself: ranks score other architectures, or have other
    numbers of them, and would wait for one another for ever."""
    _, hook = prepared(UNIFORM)
    shared, _ = [], hook.calibration.batches()
    monkeypatch.setattr('torch.distributed.is_initialized', lambda: True)
    monkeypatch.setattr('torch.distributed.get_world_size', lambda *group: 2)
    monkeypatch.setattr(hook.calibration, '_forward', lambda batch: shared.append(several_ranks()))
    assert several_ranks() and hook.calibration._recalibrate() > 0
    assert shared and not any(shared) and several_ranks()


@MODELS.register_module()
class NotingPreprocessor(ToyPreprocessor):
    """Notes whose batches come by, and whether as training data."""

    def __init__(self):
        super().__init__()
        self.held_out, self.noted = ToyDataset(seed=1).x, set()

    def forward(self, data, training=False):
        held_out = (self.held_out == data['inputs'][0]).all(1).any()
        self.noted.add(('held out' if held_out else 'train', training))
        return super().forward(data, training)

    def take(self):
        """What was noted since the last time."""
        noted, self.noted = self.noted, set()
        return noted


@pytest.mark.parametrize('method', ['Uniform', 'PARSEC', 'DARTS'])
def test_only_what_is_trained_on_is_blended(method):
    """Rejects a search that trains without mixup and CutMix, and one that scores or recalibrates on blended clips."""
    model = dict(
        type='ToyRecognizer', backbone=dict(type='ToyBackbone'), data_preprocessor=dict(type='NotingPreprocessor')
    )
    made, hook = prepared(dict(type=f'{method}SearchHook'), model=model)
    take = made.model.data_preprocessor.take
    take()
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert take() == {('train', True)} | ({('held out', False)} if method != 'Uniform' else set())
    hook.calibration.run()
    assert take() == {('train', False)}
    CandidateScorer(hook, 2)(SPACE.largest)
    assert take() == {('train', False), ('held out', False)}  # first it recalibrates
    if method == 'DARTS':
        Tuning(hook, made, 2)(hook.mixture)
        assert take() == {('train', True)}


def test_random_search_does_not_touch_the_search_generator():
    """Rejects candidates drawn from the generator whose state a resume restores."""
    _, hook = prepared(UNIFORM)
    state = hook.rng.getstate()
    assert random_search(hook, 3, 1) == random_search(hook, 3, 1)
    assert hook.rng.getstate() == state


def test_a_budget_too_narrow_to_meet_by_chance():
    """Rejects an endless loop of rejected draws."""
    _, hook = prepared({**UNIFORM, 'budget': dict(macs=(30, 35))})
    with pytest.raises(ValueError, match='none of 1,000 random architectures meets'):
        sample_admitted(hook, hook.rng, 1)
