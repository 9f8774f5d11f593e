"""The old checkpoint stands until the new one does, whatever happens while it is written."""

import errno
import os
import shutil
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import FlexibleRunner

from mmnas_video.errors import ConfigError, RunError
from mmnas_video.search import AtomicCheckpointHook
from mmnas_video.search.checkpoint import AtomicBackend
from mmnas_video.search.record import SearchRecord
from mmnas_video.testing.method import Killed, Killer
from tests.conftest import forget_runs

from .toy import SPACE, config, loader, runner

PARSEC = dict(type='PARSECSearchHook', num_archs=2)


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


def resumed(folder: Path, epochs: int) -> None:
    """The same search once more, with --resume."""
    forget_runs()
    cfg = config(PARSEC, work_dir=str(folder), epochs=epochs)
    cfg.resume = True
    type(runner(PARSEC)).from_cfg(cfg).train()


def equal(one: Path, other: Path, name: str) -> None:
    """Demand the same history, arch.json and weights of two searches."""
    for file in ('history.jsonl', 'arch.json'):
        assert (one / 'search' / file).read_bytes() == (other / 'search' / file).read_bytes(), file
    first, second = (torch.load(folder / name, weights_only=True) for folder in (one, other))
    assert torch.equal(first['search']['state']['alpha'], second['search']['state']['alpha'])
    assert all(torch.equal(first['state_dict'][key], second['state_dict'][key]) for key in first['state_dict'])


class Filling:
    """A disk that has room for all but the n-th file of a name, of which it takes half."""

    def __init__(self, monkeypatch, pattern: str, nth: int, reason: int) -> None:
        self.pattern, self.left, self.reason, self.open = pattern, nth, reason, os.fdopen
        monkeypatch.setattr(os, 'fdopen', self)

    def __call__(self, descriptor: int, *args):
        file = self.open(descriptor, *args)
        if fnmatch(os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}')), f'.{self.pattern}.*'):
            self.left -= 1
            if not self.left:
                return HalfWritten(file, self.reason)
        return file


class HalfWritten:
    """A file that takes half of what is written."""

    def __init__(self, file, reason: int) -> None:
        self.file, self.reason = file, reason

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        raise OSError(self.reason, os.strerror(self.reason))

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.file.close()


@pytest.mark.parametrize(
    ('pattern', 'left'), [('epoch_3.pth', '2'), ('last_checkpoint', '23'), ('arch.json', '2')], ids=lambda x: str(x)
)
def test_a_disk_that_fills_up_costs_nothing(pattern, left, tmp_path, monkeypatch):
    """Disk full in the third epoch: one error with the file and the reason, the second checkpoint whole and named, no
    rest of the third, and the resumed search is the one that had room. Rejects the stock order (the oldest goes first),
    a torn file under its final name, and a bare OSError."""
    whole, full = tmp_path / 'whole', tmp_path / 'full'
    runner(PARSEC, work_dir=str(whole), epochs=4).train()
    with monkeypatch.context() as disk:
        Filling(disk, pattern, 1 if pattern.startswith('epoch') else 3, errno.ENOSPC)
        forget_runs()
        with pytest.raises(RunError, match=rf'{pattern}.: cannot be written \(No space left on device\)'):
            runner(PARSEC, work_dir=str(full), epochs=4).train()
    assert {'epoch_2.pth'} <= set(checkpoints(full)) <= {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}
    assert ('epoch_3.pth' in checkpoints(full)) == ('3' in left)
    assert (full / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    assert not list(full.rglob('.*.writing'))
    assert torch.load(full / 'epoch_2.pth', weights_only=True)['search']['method'] == 'PARSECSearchHook'
    resumed(full, 4)
    equal(whole, full, 'epoch_4.pth')
    assert checkpoints(full) == ['epoch_3.pth', 'epoch_4.pth']


def test_a_folder_that_may_not_be_written_any_more(tmp_path, monkeypatch):
    """Permissions that change meanwhile: one error, and what was written stands."""
    search = runner(PARSEC, work_dir=str(tmp_path), epochs=2)
    real, times = tempfile.mkstemp, []

    def refused(*args, **kwargs):
        if kwargs.get('prefix', '').startswith('.epoch_2'):
            raise PermissionError(errno.EACCES, 'Permission denied')
        times.append(kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(tempfile, 'mkstemp', refused)
    with pytest.raises(RunError, match=r'epoch_2\.pth.: cannot be written \(Permission denied\)'):
        search.train()
    assert checkpoints(tmp_path) == ['epoch_1.pth'] and times


def test_a_history_that_cannot_be_written(tmp_path):
    """Rejects an OSError from the depths of the log: its last line is cut off on resume anyway."""
    search = runner(PARSEC, work_dir=str(tmp_path), epochs=1)

    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, 'No space left on device')

        flush = close = fileno = lambda self: None

    step = search.call_hook

    def fill(name, **kwargs):
        if name == 'after_train_iter' and search.iter == 2:
            hook = next(h for h in search.hooks if type(h).__name__ == 'PARSECSearchHook')
            hook.record._file = Full()
        step(name, **kwargs)

    search.call_hook = fill
    with pytest.raises(RunError, match=r'history\.jsonl.: cannot be written \(No space left on device\)'):
        search.train()


def test_two_are_kept(tmp_path):
    """Rejects keeping all, deleting the newest, and rests of a killed run that stay for ever, in its work dir or where
    its checkpoints are."""
    work_dir, kept = tmp_path / 'run', tmp_path / 'kept' / 'run'
    for folder, name in ((work_dir, 'last_checkpoint'), (work_dir / 'search', 'arch.json'), (kept, 'epoch_1.pth')):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'.{name}.abc.writing').write_text('half')
    hooks = config(PARSEC).default_hooks
    hooks.checkpoint.out_dir = str(kept.parent)
    runner(PARSEC, work_dir=str(work_dir), epochs=5, default_hooks=hooks).train()
    assert checkpoints(kept) == ['epoch_4.pth', 'epoch_5.pth'] and not checkpoints(work_dir)
    assert not list(tmp_path.rglob('.*.writing'))


def test_the_oldest_goes_also_if_the_run_was_killed_before(tmp_path, monkeypatch):
    """Killed between the new checkpoint and the removal of the oldest: the resumed run removes it. Rejects a file per
    kill that nobody ever removes."""

    def killed(path, missing_ok=False):
        if path.name == 'epoch_1.pth':
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'unlink', killed)
        with pytest.raises(KeyboardInterrupt):
            runner(PARSEC, work_dir=str(tmp_path), epochs=3).train()
    assert checkpoints(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    resumed(tmp_path, 4)
    assert checkpoints(tmp_path) == ['epoch_3.pth', 'epoch_4.pth']


def test_the_best_so_far_stands_until_a_better_one_does(tmp_path, monkeypatch):
    """Rejects the stock hook's order for ``save_best``: it removes the best and then writes the better one."""
    changes = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    hooks = dict(
        checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2, save_best='top1', rule='greater'),
        reproducible=dict(type='ReproducibleHook'),
    )
    search = runner(PARSEC, work_dir=str(tmp_path), epochs=3, default_hooks=hooks, **changes)
    scores = iter([0.2, 0.4, 0.6])
    monkeypatch.setattr(Evaluator, 'evaluate', lambda self, size: {'top1': next(scores)})
    real = AtomicBackend.put

    def full(self, obj, filepath):
        if 'best_top1_epoch_3' in str(filepath):
            raise RunError('full')
        real(self, obj, filepath)

    monkeypatch.setattr(AtomicBackend, 'put', full)
    with pytest.raises(RunError, match='full'):
        search.train()
    assert [name for name in checkpoints(tmp_path) if name.startswith('best')] == ['best_top1_epoch_2.pth']


@pytest.mark.parametrize('keys', ['top1', ['top1', 'top5']])
def test_the_best_of_a_copied_work_dir_is_its_own(keys, tmp_path, monkeypatch):
    """Copied after an epoch and gone on with there, where the next epoch is better. Rejects a resume that removes the
    best checkpoint of the work dir that it was copied from, and leaves its own old one."""
    changes = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', interval=1, save_best=keys, rule='greater'))
    monkeypatch.setattr(Evaluator, 'evaluate', lambda self, size: dict.fromkeys(('top1', 'top5'), next(scores)))
    scores = iter([0.2, 0.4])
    for folder, epochs in (('one', 1), ('two', 2)):
        forget_runs()
        cfg = config(PARSEC, work_dir=str(tmp_path / folder), epochs=epochs, default_hooks=hooks, **changes)
        cfg.resume = folder == 'two'
        type(runner(PARSEC)).from_cfg(cfg).train()
        if folder == 'one':
            shutil.copytree(tmp_path / 'one', tmp_path / 'two')
    left = [
        {name[-5] for name in checkpoints(tmp_path / folder) if name.startswith('best')} for folder in ('one', 'two')
    ]
    assert left == [{'1'}, {'2'}]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(intervall=2), "AtomicCheckpointHook.*unknown key 'intervall'.*Did you mean 'interval'"),
        (dict(backend_args=dict(backend='petrel')), 'backend_args: found .*expected none'),
    ],
)
def test_options_that_it_does_not_have(options, message):
    """Rejects what the stock hook hands on to the first checkpoint's writing, hours later, and storage without a
    rename."""
    with pytest.raises(ConfigError, match=message):
        AtomicCheckpointHook(**options)


@pytest.mark.parametrize('keys', ['acc/top1', ['top1', 'acc/top1']])
def test_a_best_that_no_validation_reports(keys, tmp_path):
    """Rejects a KeyError, which does not say what there is; and 'auto' refused."""
    validation = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)

    def search(name, best):
        hook = dict(type='AtomicCheckpointHook', interval=1, save_best=best, rule='greater')
        hooks = dict(checkpoint=hook, reproducible=dict(type='ReproducibleHook'))
        made = runner(
            dict(type='UniformSearchHook', candidates=2, score_batches=1),
            work_dir=str(tmp_path / name), default_hooks=hooks, train_cfg=train_cfg, **validation,
        )  # fmt: skip
        made.train()

    with pytest.raises(ConfigError, match=r"^default_hooks\.checkpoint\.save_best: found 'acc/top1', .+ \('top1'\)"):
        search('a', keys)
    search('b', 'auto')
    assert (tmp_path / 'b/best_top1_epoch_1.pth').exists()


def test_a_runner_with_epochs_of_its_own_is_refused():
    """MMEngine's FlexibleRunner writes the next epoch into every checkpoint. Rejects a run that is told to end, and
    leaves out the rest of its epoch when it is resumed."""
    with pytest.raises(ConfigError, match=r'^default_hooks\.checkpoint: found AtomicCheckpointHook with Flexible'):
        FlexibleRunner.from_cfg(config({}, custom_hooks=[], env_cfg={})).train()


def test_an_earlier_search_is_set_aside_not_overwritten(tmp_path):
    """Rejects a second search in one work dir that destroys the first one's history."""
    for _ in range(2):
        runner(PARSEC, work_dir=str(tmp_path), epochs=1).train()
    assert (tmp_path / 'search-1' / 'arch.json').is_file() and (tmp_path / 'search' / 'arch.json').is_file()
    one, two = ((tmp_path / name / 'history.jsonl').read_text() for name in ('search-1', 'search'))
    assert one == two  # the same seed: the same search


def test_a_search_begun_anew_does_not_go_on_from_an_earlier_one(tmp_path):
    """Killed before its first checkpoint and resumed it is the uninterrupted search. Rejects a resume from the
    checkpoint of the search before it in the same work dir: other weights, α and draws, and half a line of history."""
    whole, used = tmp_path / 'whole', tmp_path / 'used'
    runner(PARSEC, work_dir=str(whole), epochs=1).train()
    forget_runs()
    runner(PARSEC, work_dir=str(used), epochs=2, randomness=dict(seed=7)).train()
    forget_runs()
    killed = runner(PARSEC, work_dir=str(used), epochs=1)
    killed.register_hook(Killer(5), priority='HIGHEST')
    with pytest.raises(Killed):
        killed.train()
    assert (used / 'last_checkpoint-1').read_text() == str(used / 'epoch_2.pth') and (used / 'epoch_2.pth').is_file()
    resumed(used, 1)
    equal(whole, used, 'epoch_1.pth')


def test_the_number_set_aside_is_one_for_all(tmp_path):
    """Rejects a ``last_checkpoint-1`` that is overwritten, or of another search than ``search-1``."""
    for name in ('search-1/history.jsonl', 'last_checkpoint-2', 'search/history.jsonl', 'last_checkpoint'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    SearchRecord(tmp_path / 'search', SPACE, resuming=False).close()
    assert (tmp_path / 'search-3/history.jsonl').is_file()
    assert (tmp_path / 'last_checkpoint-3').read_text() == 'last_checkpoint'
    assert (tmp_path / 'last_checkpoint-2').read_text() == 'last_checkpoint-2'
    assert not (tmp_path / 'last_checkpoint').exists()


def test_a_history_is_cut_between_lines_only(tmp_path):
    """Rejects half a line, which the checkpoint of another search would leave."""
    record = SearchRecord(tmp_path / 'search', SPACE, resuming=False)
    for value in range(3):
        record.append({'value': value})
    length = record.length() // 3
    with pytest.raises(ConfigError, match=rf'found no end of a line after {length + 2} bytes'):
        record.cut(length + 2)
    record.cut(2 * length)
    record.append({'value': 7})
    assert (tmp_path / 'search/history.jsonl').read_text() == '{"value": 0}\n{"value": 1}\n{"value": 7}\n'
    record.cut(0)
    assert record.length() == 0
    record.close()
