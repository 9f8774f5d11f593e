"""A validation that a kill has cut short, or whose outcome was in no checkpoint yet, is done again by a resume."""

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook

from mmnas_video.search.validated import validates_at
from mmnas_video.testing.method import Killed
from tests.conftest import forget_runs

from .test_preemption import Signal, Ticking
from .toy import config, loader, runner

UNIFORM = dict(type='UniformSearchHook', candidates=2, score_batches=1)
SCORES = {1: 0.1, 2: 0.8, 3: 0.9, 4: 0.85, 5: 0.2, 6: 0.3}


class Ends(Hook):
    """Ends the run before a validation, after it, or before a step."""

    priority = 'VERY_LOW'

    def __init__(self, point, at):
        self.point, self.at = point, at

    def _at(self, point, at):
        if (point, at) == (self.point, self.at):
            raise Killed

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self._at('validation', runner.epoch)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._at('step', runner.iter)


def trained(folder, monkeypatch, more=(), resume=False, **changes):
    """A search of 5 epochs of 6 steps whose validations come to SCORES; returns at which epochs it was validated."""
    forget_runs()
    validated = []

    def evaluate(self, size):
        validated.append(made.epoch)
        return {'top1': SCORES[made.epoch]}

    monkeypatch.setattr(Evaluator, 'evaluate', evaluate)
    hooks = dict(
        checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2, save_best='top1', rule='greater'),
        reproducible=dict(type='ReproducibleHook'),
    )
    validation = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    cfg = config(UNIFORM, **{**dict(epochs=5, work_dir=str(folder), default_hooks=hooks), **validation, **changes})
    cfg.resume = resume
    cfg.train_cfg.val_interval = 1
    made = type(runner(UNIFORM)).from_cfg(cfg)
    for hook in more:
        made.register_hook(hook)
    try:
        made.train()
    except Killed:
        return validated
    return validated


@pytest.mark.parametrize(('point', 'at'), [('validation', 3), ('step', 20)])
def test_the_best_is_the_best_of_all_epochs(point, at, tmp_path, monkeypatch):
    """Ended in the third validation, or two steps after it: no checkpoint has what it came to. Rejects MMEngine's own
    resume, which takes the fourth epoch for the best."""
    first = trained(tmp_path, monkeypatch, [Ends(point, at)])
    assert first == ([1, 2] if point == 'validation' else [1, 2, 3])
    trained(tmp_path, monkeypatch, resume=True)
    assert [path.name for path in tmp_path.glob('best*')] == ['best_top1_epoch_3.pth']


def test_the_last_validation_is_done_again(tmp_path, monkeypatch):
    """Rejects a resumed run that has nothing left to train, and ends without ever having been validated."""
    assert trained(tmp_path, monkeypatch, [Ends('validation', 5)]) == [1, 2, 3, 4]
    assert trained(tmp_path, monkeypatch, resume=True)[0] == 5


def test_what_a_checkpoint_has_behind_it_is_not_repeated(tmp_path, monkeypatch):
    """Told to end two steps into the fourth epoch: its checkpoint is of after the third validation."""
    with pytest.raises(SystemExit):
        trained(tmp_path, monkeypatch, [Signal('step', 20)])
    assert trained(tmp_path, monkeypatch, resume=True)[:2] == [4, 5]


def test_it_is_not_among_the_figures(tmp_path, monkeypatch):
    """MMEngine logs what its runtime info has under names that begin with 'val'. Rejects such a key."""
    lines = []

    class Reads(Hook):
        def after_val_epoch(self, runner, metrics=None):
            lines.append(runner.log_processor.get_log_after_epoch(runner, 6, 'val')[1])

    trained(tmp_path, monkeypatch, [Reads()])
    assert 'top1: 0.9' in lines[2] and 'validated' not in ''.join(lines)


@pytest.mark.parametrize('fraction', [30, 60])
def test_a_validation_that_ends_the_run_costs_a_minute(fraction, tmp_path, monkeypatch):
    """A checkpoint every fifth epoch, told to end in the third validation, with a minute a step. Rejects the two epochs
    lost that no checkpoint holds; and one before every validation, however short the epochs are."""
    ticking = Ticking()
    monkeypatch.setattr('mmnas_video.search.preemption.time.monotonic', lambda: 60.0 * ticking.now)
    hooks = dict(
        checkpoint=dict(type='AtomicCheckpointHook', interval=5, max_minutes=3.5 * fraction),
        reproducible=dict(type='ReproducibleHook'),
    )
    with pytest.raises(SystemExit):
        trained(tmp_path, monkeypatch, [ticking, Signal('validation', 3)], default_hooks=hooks)
    assert ticking.saved == ([6, 12, 18] if fraction == 30 else [12])
    saved = torch.load(tmp_path / 'within_epoch.pth', weights_only=True)
    assert (saved['meta']['epoch'], saved['within_epoch']['batches']) == (ticking.saved[-1] // 6, 0)
    epochs = trained(tmp_path, monkeypatch, resume=True, default_hooks=hooks)[:3]
    assert epochs == ([3, 4, 5] if fraction == 30 else [2, 3, 4])


@pytest.mark.parametrize(
    'changes',
    [
        dict(val_interval=1),
        dict(val_interval=2, val_begin=3),
        dict(val_interval=3, dynamic_intervals=[(5, 2)]),
        dict(val_interval=4),
        dict(by_epoch=False, max_iters=7, val_interval=3),
        dict(by_epoch=False, max_iters=7, val_interval=5, dynamic_intervals=[(4, 2)]),
    ],
)
def test_when_a_validation_is_due_is_as_the_loop_has_it(changes, tmp_path):
    """All numbers of epochs, or of steps. Rejects the last one forgotten, and an interval that begins one late."""
    epochs, likely, by_steps = [], [], 'by_epoch' in changes
    train_cfg = {**({} if by_steps else dict(by_epoch=True, max_epochs=7)), **changes}

    class Asks(Hook):
        def before_val_epoch(self, runner):
            epochs.append(runner.iter if by_steps else runner.epoch)

        def before_train(self, runner):
            likely.extend(done for done in range(8) if validates_at(runner, done))

    validation = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    made = runner(UNIFORM, work_dir=str(tmp_path), **validation, train_cfg=train_cfg)
    made.register_hook(Asks())
    made.train()
    assert likely and epochs[: len(likely)] == likely
    assert len(epochs) - len(likely) <= 1, 'and of what the search has found'
