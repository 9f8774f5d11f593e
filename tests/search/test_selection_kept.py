"""The selection at the end of a search takes hours: a kill costs a minute of it, and it is not done again."""

import pytest
import torch

from mmnas_video.search.candidates import CandidateScorer
from mmnas_video.search.perturbation import PerturbationSelection
from mmnas_video.search.tuning import Tuning
from mmnas_video.testing.method import Killed

from .test_preemption import HOOKS, every, same, search
from .toy import prepared

#: Methods whose selection is work.
PERTURBATION = {
    'DARTS': dict(type='DARTSSearchHook', selection='perturbation', score_batches=1, init_std=0.5, tune_iters=3),
    'entanglement': dict(HOOKS['entanglement'], tune_iters=3),
}
KEEPING = {**PERTURBATION, 'uniform': HOOKS['uniform']}


@pytest.fixture
def fixing(monkeypatch):
    """Choices that have been fixed since; the process dies instead of the one of number ``die_at``."""
    fix_next, fixed = PerturbationSelection.fix_next, {'count': 0, 'die_at': None}

    def counted(self, score):
        if fixed['count'] == fixed['die_at']:
            raise Killed
        fixed['count'] += 1
        return fix_next(self, score)

    monkeypatch.setattr(PerturbationSelection, 'fix_next', counted)
    return fixed


def weights(folder):
    """All tensors of a run's last checkpoint, by their place in it."""
    saved = torch.load(folder / 'selection.pth', weights_only=True)
    found = {}

    def look(part, place):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            look(value, (*place, key))
        if isinstance(part, torch.Tensor):
            found[place] = part

    look({key: saved[key] for key in ('state_dict', 'optimizer', 'search')}, ())
    look(saved.get('ema_state_dict', {}), ('ema',))
    return found


@pytest.mark.parametrize('averaged', [False, True], ids=['plain', 'EMA'])
@pytest.mark.parametrize('method', PERTURBATION)
def test_perturbation_goes_on(method, averaged, fixing, tmp_path):
    """Killed after the first of two choices and its tuning. Rejects a selection that is begun anew, one that is
    disturbed by being saved, an average that is exchanged for the weights once too often, and a tuning that sees the
    first clips, or the first masks, again."""
    hooks = {**every(0), **(dict(ema=dict(type='EMAHook', momentum=0.3)) if averaged else {})}
    never = {**hooks, 'checkpoint': {**hooks['checkpoint'], 'max_minutes': None}}
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert search(PERTURBATION[method], whole, default_hooks=never) is None
    fixing.update(count=0, die_at=1)
    with pytest.raises(Killed):
        search(PERTURBATION[method], killed, default_hooks=hooks)
    assert (killed / 'last_checkpoint').read_text() == str(killed / 'selection.pth')
    fixing.update(count=0, die_at=None)
    assert search(PERTURBATION[method], killed, resume=True, default_hooks=hooks) is None
    assert fixing['count'] == 1
    same(whole, killed)
    one, two = weights(whole), weights(killed)
    assert one.keys() == two.keys() and all(torch.equal(one[place], two[place]) for place in one)
    assert any(place[0] == 'ema' for place in one) is averaged


@pytest.mark.parametrize('method', KEEPING)
def test_what_was_found_stays(method, tmp_path, monkeypatch):
    """Resumed after its end, as a search is whose retraining was killed. Rejects one that scores all candidates again:
    on a GPU they may come out otherwise, and the retraining of days would be begun anew for another network."""
    assert search(KEEPING[method], tmp_path) is None
    before = {file: (tmp_path / 'search' / file).read_bytes() for file in ('history.jsonl', 'arch.json')}
    monkeypatch.setattr(CandidateScorer, 'score_all', None)
    assert search(KEEPING[method], tmp_path, resume=True) is None
    assert before == {file: (tmp_path / 'search' / file).read_bytes() for file in before}


@pytest.mark.parametrize(
    'changes',
    [dict(train_cfg=dict(by_epoch=True, max_epochs=4)), dict(budget=dict(macs=37))],
    ids=['another epoch', 'another budget'],
)
def test_what_was_found_is_of_one_state_and_budget(changes, fixing, tmp_path):
    """Rejects the network of an earlier epoch for a training that went on, and one that the new budget does not admit;
    a file of the selection that stays after the epoch's own."""
    hook, budget = PERTURBATION['DARTS'], changes.pop('budget', None)
    assert search(hook, tmp_path) is None
    fixing.update(count=0)
    assert search({**hook, 'budget': budget}, tmp_path, resume=True, **changes) is None
    assert fixing['count'] == 2
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'selection.pth')


def test_tuning_goes_on_as_it_was():
    """Another one after the first of two calls. Rejects clips or dropout masks of the first call in the second."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.5)
    ends = []
    for handed_over in (False, True):
        made, hook = prepared(PERTURBATION['DARTS'], model=model)
        tuning = Tuning(hook, made, 2)
        tuning(hook.mixture)
        if handed_over:
            state, tuning = tuning.state_dict(), Tuning(hook, made, 2)
            tuning.load_state_dict(state)
        tuning(hook.mixture)
        ends.append([parameter.detach() for parameter in made.model.parameters()])
    assert all(map(torch.equal, *ends))
