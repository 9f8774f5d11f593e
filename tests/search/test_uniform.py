"""Uniform sampling and the random search that ends it."""

import json

import pytest
import torch

from mmnas_video.search.candidates import CandidateScorer, random_search, sample_admitted

from .toy import SPACE, prepared, runner

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
    """Rejects a selection that ignores the budget, scores on running statistics, or names another than the best."""
    made = runner({**UNIFORM, 'budget': dict(macs=40)}, work_dir=str(tmp_path), epochs=2)
    made.train()
    lines = [json.loads(x) for x in (tmp_path / 'search/history.jsonl').read_text().splitlines()]
    candidates = [x for x in lines if x['kind'] == 'candidate']
    assert 1 < len(candidates) <= 6 and all(c['macs'] <= 40 for c in candidates)
    assert len({tuple(c['arch']) for c in candidates}) == len(candidates)
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    best = max(candidates, key=lambda c: c['score'])
    assert list(SPACE.encode(found['arch'])) == best['arch']


def test_scoring_leaves_the_statistics_as_they_were():
    """Rejects recalibration that leaks into the supernet, and scores that depend on the order of candidates."""
    made, hook = prepared(UNIFORM)
    norm = made.model.backbone.norm
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    before = norm.running_mean.clone()
    score = CandidateScorer(hook, 2)
    archs = [SPACE.smallest, SPACE.largest, SPACE.smallest]
    first, _, again = (score(arch) for arch in archs)
    assert first == again and torch.equal(norm.running_mean, before)


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
