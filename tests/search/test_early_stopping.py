"""A run that MMEngine's EarlyStoppingHook ends, ends at the same epoch when it has been killed and resumed."""

import pytest
from mmengine.hooks import EarlyStoppingHook

from .test_validated_again import SCORES, Ends, trained

#: As SCORES go, the third epoch of eight is the best: two worse ones after it end the run with the fifth.
EPOCHS, BEST, LAST = 8, 3, 5


@pytest.fixture(autouse=True)
def worse_and_worse(monkeypatch):
    """Scores of the epochs that are not to come."""
    for epoch in range(LAST + 1, EPOCHS + 1):
        monkeypatch.setitem(SCORES, epoch, 0.3 - epoch / 100)


def stopped(folder, monkeypatch, more=(), resume=False, patience=LAST - BEST, priority='LOWEST'):
    """The last epoch that was validated."""
    hook = EarlyStoppingHook('top1', rule='greater', patience=patience)
    hook.priority = priority
    return max(trained(folder, monkeypatch, [hook, *more], resume, epochs=EPOCHS))


@pytest.mark.parametrize('priority', ['HIGH', 'LOWEST'])
@pytest.mark.parametrize(('point', 'at'), [('step', 26), ('validation', 4), ('step', 20), ('validation', 5)])
def test_a_killed_run_ends_where_the_whole_one_does(point, at, priority, tmp_path, monkeypatch):
    """Ended in the fifth epoch, when one of the two is counted; in the validation that counts it; in the epoch after
    the best one (whose checkpoint is written once more, in its validation, before or after the hook has looked at it);
    in the last validation. Rejects MMEngine's own resume, which counts from nothing."""
    stopped(tmp_path, monkeypatch, [Ends(point, at)], priority=priority)
    assert stopped(tmp_path, monkeypatch, resume=True, priority=priority) == LAST


def test_a_run_that_was_ended_is_not_gone_on_with(tmp_path, monkeypatch):
    """Rejects a resume (of a retraining, after the search) that trains on; with more patience it is to."""
    assert stopped(tmp_path, monkeypatch) == LAST
    assert stopped(tmp_path, monkeypatch, resume=True) == LAST
    assert stopped(tmp_path, monkeypatch, resume=True, patience=LAST - BEST + 2) == LAST + 2
