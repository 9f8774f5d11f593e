"""A run that is told to end (SIGTERM) leaves a checkpoint within its epoch, from which it goes on bit for bit."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmnas_video.datasets import FilesInWork, FileWatchHook
from mmnas_video.datasets.files_in_work import HEAD
from mmnas_video.errors import ConfigError
from mmnas_video.search.preemption import Preemption, _generators, _set_generators
from mmnas_video.testing.method import Killed, Killer
from tests.conftest import forget_runs

from .forked import run_worlds
from .toy import checkpoint, config, loader, runner

HOOKS = {
    'PARSEC': dict(type='PARSECSearchHook', num_archs=2),
    'DARTS 2': dict(type='DARTSSearchHook', order=2, score_batches=1, init_std=0.5),
    'entanglement': dict(type='EntanglementSearchHook', score_batches=1, init_std=0.5),
    'uniform': dict(type='UniformSearchHook', candidates=2, score_batches=1),
}


class Signal(Hook):
    """Sends SIGTERM to this process at a point of the run."""

    priority = 'NORMAL'

    def __init__(self, point: str, at: int) -> None:
        self.point, self.at = point, at

    def _at(self, point: str, number: int) -> None:
        if (point, number) == (self.point, self.at):
            os.kill(os.getpid(), signal.SIGTERM)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._at('step', runner.iter + 1)

    def before_val_epoch(self, runner):
        self._at('validation', runner.epoch)


class GroupSignal(Signal):
    """Sends SIGTERM to the workers first, and not in the name of this process, as Slurm and torchrun do."""

    def _at(self, point: str, number: int) -> None:
        workers = [str(worker.pid) for worker in multiprocessing.active_children()]
        if (point, number) == (self.point, self.at):
            self.workers = len(workers)
            subprocess.run(['kill', '-TERM', *workers], check=True)
            time.sleep(0.2)  # one that dies of it makes torch raise an error here
        super()._at(point, number)


class Ticking(Hook):
    """Lets a minute pass in each step, and notes after which steps a checkpoint is written."""

    def __init__(self) -> None:
        self.now, self.saved = 1000, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.now += 1

    def before_save_checkpoint(self, runner, checkpoint):
        self.saved.append(checkpoint['meta']['iter'])


def search(hook, folder, told=None, resume=False, more=(), **changes):
    """A search of 3 epochs of 6 steps; returns the status that it exits with, None if it does not."""
    forget_runs()
    cfg = config(
        hook,
        epochs=3,
        work_dir=str(folder),
        **{
            'model': dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.3),
            'optim_wrapper': dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            **changes,
        },
    )
    cfg.resume = resume
    made = type(runner(hook)).from_cfg(cfg)
    for one in (*more, *([Signal(*told)] if told else [])):
        made.register_hook(one)
    try:
        made.train()
    except SystemExit as end:
        return end.code
    return None


def same(whole, told, name='epoch_3.pth', left=('epoch_2.pth', 'epoch_3.pth')):
    """Demand that two searches have left the same."""
    for file in ('history.jsonl', 'arch.json'):
        assert (whole / 'search' / file).read_bytes() == (told / 'search' / file).read_bytes(), file
    one, two = (torch.load(folder / name, weights_only=True) for folder in (whole, told))
    assert all(torch.equal(one['state_dict'][key], two['state_dict'][key]) for key in one['state_dict'])
    assert one['search']['rng'] == two['search']['rng'] and one['search']['held_out'] == two['search']['held_out']
    names = [sorted(path.name for path in folder.glob('*.pth')) for folder in (whole, told)]
    assert names[0] == names[1], 'what is not needed any more is gone'
    assert [name for name in names[0] if name != 'selection.pth'] == list(left)


@pytest.mark.parametrize('method', HOOKS)
def test_goes_on_within_its_epoch(method, tmp_path):
    """Told to end after step 9 of 18, in its second epoch. Rejects a resume that does the epoch's first steps again,
    draws other dropout masks or architectures, forgets the scores of the epoch's first half, or leaves the checkpoint
    of the preemption behind."""
    whole, told = tmp_path / 'whole', tmp_path / 'told'
    assert search(HOOKS[method], whole) is None
    before = signal.getsignal(signal.SIGTERM)
    assert search(HOOKS[method], told, ('step', 9)) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert (told / 'last_checkpoint').read_text() == str(told / 'within_epoch.pth')
    saved = torch.load(told / 'within_epoch.pth', weights_only=True)
    assert (saved['meta']['epoch'], saved['meta']['iter'], saved['within_epoch']['batches']) == (1, 9, 3)
    assert search(HOOKS[method], told, resume=True) is None
    same(whole, told)


def test_a_worker_without_a_sample_outlives_the_signal(tmp_path):
    """A validation of one batch leaves its second worker idle; a dataset of another's own its first one too. Rejects
    workers that leave the signal to the main process from their first sample of a SeededDataset on."""
    plain = dict(loader(2, batch=7, size=7, workers=2), sampler=dict(type='DefaultSampler', shuffle=False))
    validation = dict(val_dataloader=plain, val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    method = dict(HOOKS['PARSEC'], arch_dataloader=loader(1, sampler=False, workers=1))
    hook = GroupSignal('step', 9)
    assert search(method, tmp_path, more=[hook], **validation) == 143 and hook.workers == 3
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'within_epoch.pth')


def test_no_advice_about_a_file_once_told_to_end(tmp_path):
    """Rejects the advice to take a good file out of the list, because a worker on it was ended with the run."""
    hook, record = FileWatchHook(), FilesInWork('train_dataloader.dataset')
    assert search(HOOKS['uniform'], tmp_path, ('step', 9), more=[hook]) == 143
    HEAD.pack_into(memoryview(record._cells[3].numpy()), 0, 1.0, 4, 2**22 + 1)  # a process that there is not
    hook.look()
    assert len(record.entries()) == 1 and not hook._named


def test_a_gathered_gradient_is_not_lost(tmp_path):
    """With accumulation over 2 steps, told to end after the first of a pair: it ends after the second. Rejects a
    checkpoint between the two, whose resume would update with half a gradient."""
    wrapper = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    whole, told = tmp_path / 'whole', tmp_path / 'told'
    search(HOOKS['PARSEC'], whole, optim_wrapper=wrapper)
    assert search(HOOKS['PARSEC'], told, ('step', 9), optim_wrapper=wrapper) == 143
    assert torch.load(told / 'within_epoch.pth', weights_only=True)['meta']['iter'] == 10
    search(HOOKS['PARSEC'], told, resume=True, optim_wrapper=wrapper)
    same(whole, told)


def test_a_training_that_counts_steps_goes_on(tmp_path):
    """Rejects a resume that forgets the scores so far: such a training is a single epoch, and its line is of all."""
    hooks = dict(
        checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=3, max_keep_ckpts=2),
        reproducible=dict(type='ReproducibleHook'),
    )
    by_steps = dict(train_cfg=dict(by_epoch=False, max_iters=6), default_hooks=hooks)
    whole, told = tmp_path / 'whole', tmp_path / 'told'
    assert search(HOOKS['PARSEC'], whole, **by_steps) is None
    assert search(HOOKS['PARSEC'], told, ('step', 4), **by_steps) == 143
    assert search(HOOKS['PARSEC'], told, resume=True, **by_steps) is None
    for file in ('history.jsonl', 'arch.json'):
        assert (whole / 'search' / file).read_bytes() == (told / 'search' / file).read_bytes(), file


@pytest.mark.parametrize('interval', [1, 5])
def test_at_the_last_step_of_an_epoch_the_epoch_is_ended(interval, tmp_path):
    """The epoch's line is in the history; its checkpoint is the usual one or, where none was due, ours. Rejects a place
    after the last batch, from which the epoch's end would never come."""
    hooks = dict(
        checkpoint=dict(type='AtomicCheckpointHook', interval=interval, max_keep_ckpts=2),
        reproducible=dict(type='ReproducibleHook'),
    )
    whole, told = tmp_path / 'whole', tmp_path / 'told'
    search(HOOKS['PARSEC'], whole)
    assert search(HOOKS['PARSEC'], told, ('step', 12), default_hooks=hooks) == 143
    assert (told / 'last_checkpoint').read_text().endswith('epoch_2.pth' if interval == 1 else 'within_epoch.pth')
    search(HOOKS['PARSEC'], told, resume=True)
    for file in ('history.jsonl', 'arch.json'):
        assert (whole / 'search' / file).read_bytes() == (told / 'search' / file).read_bytes(), file


def test_after_a_whole_epoch_a_resume_may_have_other_batches(tmp_path):
    """Rejects a checkpoint of a preemption at an epoch's end that is taken for one within it."""
    hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', interval=5), reproducible=dict(type='ReproducibleHook'))
    assert search(HOOKS['uniform'], tmp_path, ('step', 12), default_hooks=hooks) == 143
    assert (tmp_path / 'last_checkpoint').read_text().endswith('within_epoch.pth')
    assert search(HOOKS['uniform'], tmp_path, resume=True, train_dataloader=loader(0, batch=3)) is None


@pytest.mark.parametrize(
    ('hook', 'told', 'changes', 'left'),
    [
        (HOOKS['PARSEC'], ('step', 9), dict(train_dataloader={**loader(0), 'sampler': dict(type='DefaultSampler')}), 1),
        (
            HOOKS['PARSEC'],
            ('validation', 2),
            dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric')),
            2,
        ),
        (
            dict(type='EvolutionSearchHook', population=2, top_k=2, eval_batches=1, checkpoint='SUPERNET'),
            ('step', 2),
            dict(train_dataloader=dict(loader(0), num_batch_per_epoch=1)),
            1,
        ),
    ],
    ids=['a sampler that cannot go on', 'validation', 'evolution'],
)
def test_where_nothing_can_be_saved_it_ends_at_once(hook, told, changes, left, tmp_path, monkeypatch):
    """The last checkpoint stands, and there is none of the preemption. Rejects a checkpoint that a resume could not
    continue, and a process that goes on until it is killed."""
    hook = {key: checkpoint() if value == 'SUPERNET' else value for key, value in hook.items()}
    assert search(hook, tmp_path, told, **changes) == 143
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [f'epoch_{i + 1}.pth' for i in range(left)]


class Unheard:
    """Sends SIGTERM where Python ignores what a handler raises; elsewhere that is in the callbacks of a fork."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)


class UnheardHook(Hook):
    def before_val_epoch(self, runner):
        if runner.epoch == 3:
            Unheard()
            time.sleep(5)


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_signal_that_is_not_heard_is_sent_again(tmp_path, monkeypatch):
    """Rejects a search that says that it ends, and goes on: after the last validation no step asks again."""
    monkeypatch.setattr(sys, 'unraisablehook', sys.unraisablehook)
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as a tool's
    validation = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    try:
        assert search(HOOKS['PARSEC'], tmp_path, more=[UnheardHook()], **validation) == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_place_of_other_ranks_is_refused(tmp_path):
    """Rejects a resume on one rank that goes to the place of the first of three, or that counts larger batches: samples
    would be left out."""
    search(HOOKS['PARSEC'], tmp_path, ('step', 9))
    saved = torch.load(tmp_path / 'within_epoch.pth', weights_only=True)
    place = saved['within_epoch']
    for changed, found, expected in (
        (dict(generators=3 * place['generators']), "{'ranks': 3, .*", "{'ranks': 1, "),
        (dict(of={**place['of'], 'batch_size': 7}), "{.*'batch_size': 7", ".*'batch_size': 5"),
    ):
        saved['within_epoch'] = {**place, **changed}
        torch.save(saved, tmp_path / 'within_epoch.pth')
        with pytest.raises(ConfigError, match=rf'within an epoch of {found}}}, expected {expected}'):
            search(HOOKS['PARSEC'], tmp_path, resume=True)


def every(minutes):
    """Hooks of a run with a checkpoint within the epoch after so many minutes without one."""
    return dict(
        checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2, max_minutes=minutes),
        reproducible=dict(type='ReproducibleHook'),
    )


@pytest.mark.parametrize('method', HOOKS)
def test_a_long_epoch_leaves_checkpoints(method, tmp_path):
    """One after every step, killed in the second epoch. Rejects a run that is disturbed by them, one that is left
    behind by the epoch's own, and a place from which a resume is another run."""
    whole, timed, killed = tmp_path / 'whole', tmp_path / 'timed', tmp_path / 'killed'
    assert search(HOOKS[method], whole) is None
    assert search(HOOKS[method], timed, default_hooks=every(0)) is None
    same(whole, timed)
    with pytest.raises(Killed):
        search(HOOKS[method], killed, more=[Killer(9)], default_hooks=every(0))
    assert (killed / 'last_checkpoint').read_text() == str(killed / 'within_epoch.pth')
    saved = torch.load(killed / 'within_epoch.pth', weights_only=True)
    assert (saved['meta']['epoch'], saved['meta']['iter'], saved['within_epoch']['batches']) == (1, 9, 3)
    assert search(HOOKS[method], killed, resume=True, default_hooks=every(0)) is None
    same(whole, killed)


def test_the_time_counts_from_the_last_checkpoint(tmp_path, monkeypatch):
    """A minute a step and a checkpoint after 4 without one: of 6 steps an epoch the fourth, and its end; and after the
    selection. Rejects a clock that the epoch's own checkpoint does not set back, and one that begins with the
    machine."""
    ticking = Ticking()
    monkeypatch.setattr('mmnas_video.search.preemption.time.monotonic', lambda: 60.0 * ticking.now)
    search(HOOKS['uniform'], tmp_path, more=[ticking], default_hooks=every(4))
    assert ticking.saved == [4, 6, 10, 12, 16, 18, 18]


def test_a_selection_is_saved_thirty_times_as_often(monkeypatch):
    """After a minute of half an hour. Rejects the time of an epoch, and minutes taken for seconds."""
    now, run = [100.0], SimpleNamespace(model=torch.nn.Linear(2, 3))
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    asked = Preemption(None, max_minutes=30)
    asked.note_saved()
    for now[0], due in ((159.0, False), (161.0, True)):
        assert asked.is_due(run) is due


def test_every_generator_goes_on(tmp_path):
    """Rejects a draw of Python's, numpy's or torch's generator that comes a second time after a resume, and states that
    no safe reader takes."""

    def drawn():
        return random.random(), np.random.rand(), random.gauss(0, 1), np.random.normal(), torch.rand(1).item()

    drawn()  # of two normal numbers that are drawn together one is kept
    torch.save(_generators(), tmp_path / 'states.pth')
    expected = drawn()
    drawn()
    _set_generators(torch.load(tmp_path / 'states.pth', weights_only=True))
    assert drawn() == expected


def test_data_that_cannot_be_gone_on_with_has_no_checkpoint_within_an_epoch(tmp_path):
    """Rejects one from which a resume would do the epoch's first steps again."""
    data = {**loader(0), 'sampler': dict(type='DefaultSampler')}
    assert search(HOOKS['PARSEC'], tmp_path, ('step', 9), default_hooks=every(0), train_dataloader=data) == 143
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


@pytest.mark.parametrize('minutes', [-1, 'half an hour', True, float('nan')])
def test_minutes_that_are_none_are_refused(minutes, tmp_path):
    """Rejects a clock that is compared with what is no time."""
    with pytest.raises(ConfigError, match=r'default_hooks.checkpoint.max_minutes: found '):
        search(HOOKS['PARSEC'], tmp_path, default_hooks=every(minutes))


#: Checkpoints of steps in a training that counts epochs: of 6 steps, so within them and, of 12 and 18, at their ends.
BY_STEPS = dict(
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=2),
    reproducible=dict(type='ReproducibleHook'),
)


@pytest.mark.parametrize(
    ('method', 'at', 'last'),
    [('PARSEC', 9, 8), ('PARSEC', 13, 12), ('PARSEC', 17, 16), ('DARTS 2', 9, 8), ('uniform', 5, 4)],
)
def test_checkpoints_of_steps_go_on_within_an_epoch(method, at, last, tmp_path):
    """Killed after ``at`` steps, resumed from the checkpoint of step ``last``. Rejects an epoch that is begun again
    while the steps are counted on (20 of 18), one whose last step is saved before its end, and so trained twice or
    never ended, and the dropout masks or scores of an epoch that is begun."""
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert search(HOOKS[method], whole, default_hooks=BY_STEPS) is None
    with pytest.raises(Killed):
        search(HOOKS[method], killed, more=[Killer(at)], default_hooks=BY_STEPS)
    assert (killed / 'last_checkpoint').read_text() == str(killed / f'iter_{last}.pth')
    assert search(HOOKS[method], killed, resume=True, default_hooks=BY_STEPS) is None
    same(whole, killed, 'iter_18.pth', ['iter_16.pth', 'iter_18.pth'])


def test_what_was_due_at_the_end_of_an_epoch_is_due_once(tmp_path):
    """Every 12 of 18 steps, without the last. Rejects a checkpoint at the end of each epoch from then on."""
    checkpoints = dict(BY_STEPS['checkpoint'], interval=12, save_last=False)
    search(HOOKS['uniform'], tmp_path, default_hooks=dict(BY_STEPS, checkpoint=checkpoints))
    assert [path.name for path in tmp_path.glob('[!s]*.pth')] == ['iter_12.pth']  # beside selection.pth


def test_checkpoints_of_steps_and_a_signal(tmp_path):
    """Told to end after a step that is saved anyway, then in the resumed run. Rejects a place that is counted from
    where the resumed epoch went on."""
    whole, told = tmp_path / 'whole', tmp_path / 'told'
    search(HOOKS['PARSEC'], whole, default_hooks=BY_STEPS)
    for step, batches in ((8, 2), (11, 5)):
        assert search(HOOKS['PARSEC'], told, ('step', step), resume=step > 8, default_hooks=BY_STEPS) == 143
        assert torch.load(told / 'within_epoch.pth', weights_only=True)['within_epoch']['batches'] == batches
    assert search(HOOKS['PARSEC'], told, ('step', 12), resume=True, default_hooks=BY_STEPS) == 143
    assert (told / 'last_checkpoint').read_text() == str(told / 'iter_12.pth'), 'the end of the epoch is saved'
    search(HOOKS['PARSEC'], told, resume=True, default_hooks=BY_STEPS)
    same(whole, told, 'iter_18.pth', ['iter_16.pth', 'iter_18.pth'])


def test_the_last_step_is_saved_where_the_steps_of_an_epoch_have_changed(tmp_path):
    """One epoch of 6 steps and two of 10. Rejects a last step that is looked for where three of 10 would have it."""
    hooks = dict(BY_STEPS, checkpoint=dict(BY_STEPS['checkpoint'], interval=6))
    with pytest.raises(Killed):
        search(HOOKS['PARSEC'], tmp_path, more=[Killer(9)], default_hooks=hooks)
    search(HOOKS['PARSEC'], tmp_path, resume=True, default_hooks=hooks, train_dataloader=loader(0, batch=3))
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_26.pth')


@pytest.mark.parametrize(
    ('checkpoint', 'sampler'),
    [
        ('CheckpointHook', 'SeededSampler'),
        ('AtomicCheckpointHook', 'DefaultSampler'),
    ],
)
def test_steps_that_cannot_be_gone_on_with_are_refused(checkpoint, sampler, tmp_path):
    """Rejects checkpoints within an epoch whose resume would silently do its first steps again."""
    hooks = dict(checkpoint=dict(type=checkpoint, by_epoch=False, interval=4))
    data = {**loader(0), 'sampler': dict(type=sampler)}
    with pytest.raises(ConfigError, match=rf'checkpoint.by_epoch: found False \({checkpoint}, {sampler}\)'):
        search(HOOKS['PARSEC'], tmp_path, default_hooks=hooks, train_dataloader=data)


@pytest.mark.parametrize('batch', [3, 10])
def test_a_signal_where_the_steps_of_an_epoch_have_changed(batch, tmp_path):
    """Killed in the second epoch, of 6 steps, and resumed from the end of the first with another batch size. Rejects a
    place that is counted as if all epochs had been as long: negative, or past the end, so that the signal waits."""
    with pytest.raises(Killed):
        search(HOOKS['PARSEC'], tmp_path, more=[Killer(9)])
    other = dict(train_dataloader=loader(0, batch=batch))
    assert search(HOOKS['PARSEC'], tmp_path, ('step', 8), resume=True, **other) == 143
    saved = torch.load(tmp_path / 'within_epoch.pth', weights_only=True)
    assert (saved['meta']['epoch'], saved['meta']['iter'], saved['within_epoch']['batches']) == (1, 8, 2)
    with pytest.raises(ConfigError, match=rf"within an epoch of .*'batch_size': {batch}}}, expected .*: 5}}"):
        search(HOOKS['PARSEC'], tmp_path, resume=True)
    assert search(HOOKS['PARSEC'], tmp_path, resume=True, **other) is None


@pytest.mark.slow
def test_no_rank_goes_before_the_checkpoint_stands(tmp_path):
    """Two ranks; Slurm ends a job's step, with SIGKILL, when one of its tasks has gone. Rejects ranks that leave the
    first one alone with its writing."""
    run_worlds('tests.search.told_ranks', tmp_path, [])
    ends = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)]
    assert ends == [[143, str(tmp_path / 'run/within_epoch.pth')]] * 2
