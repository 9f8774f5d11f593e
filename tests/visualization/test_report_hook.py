"""ReportHook: when it writes, and that it can never end a search."""

import logging
import types

import pytest

pytest.importorskip('mmengine')

from mmengine.hooks import CheckpointHook
from mmengine.hooks.hook import Hook
from mmengine.runner.priority import get_priority

from mmnas_video.errors import ConfigError
from mmnas_video.pipeline import run_search
from mmnas_video.registry import HOOKS
from mmnas_video.testing import toy
from mmnas_video.visualization.report_hook import ReportHook


class _Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append((record.levelname, record.getMessage()))


@pytest.fixture
def runner(tmp_path):
    logger, log = logging.Logger('test'), _Log()
    logger.addHandler(log)
    return types.SimpleNamespace(work_dir=str(tmp_path / 'a'), logger=logger, epoch=0, iter=0, log=log.messages)


@pytest.fixture
def written(monkeypatch):
    calls = []
    monkeypatch.setattr(
        'mmnas_video.visualization.report.write_report', lambda work_dir, png, drawings: calls.append((work_dir, png))
    )
    return calls


def test_registered_and_runs_last():
    """Rejects: a hook that draws before the checkpoint (and the search's files) are written."""
    hook = HOOKS.build({'type': 'ReportHook', 'interval': 3})
    assert isinstance(hook, ReportHook) and isinstance(hook, Hook)
    assert get_priority(hook.priority) > get_priority(CheckpointHook.priority)


def test_writes_every_interval_and_at_the_end(runner, written, make_search):
    """Rejects: off by one epoch (before that checkpoint), PNGs at every epoch, no last report."""
    make_search('a')
    hook = ReportHook(interval=3)
    for runner.epoch in range(8):
        hook.after_train_epoch(runner)
        hook.after_train_iter(runner, 0)
        if written:
            assert runner.epoch >= 2
    assert written == [(runner.work_dir, False)] * 2
    hook.after_run(runner)
    assert written[2:] == [(runner.work_dir, True)]


def test_counts_iterations_if_asked(runner, written, make_search):
    """Rejects: by_epoch that is ignored."""
    make_search('a')
    hook = ReportHook(interval=5, by_epoch=False)
    for runner.iter in range(13):
        hook.after_train_iter(runner, runner.iter)
        hook.after_train_epoch(runner)
    assert len(written) == 2


def test_never_kills_a_search_and_warns_once(runner, monkeypatch, make_search):
    """Rejects: an exception that reaches the training loop; a traceback at every epoch; silence."""
    make_search('a')

    def broken(*args, **kwargs):
        raise MemoryError('no room for a picture')

    monkeypatch.setattr('mmnas_video.visualization.report.write_report', broken)
    hook = ReportHook()
    for runner.epoch in range(3):
        hook.after_train_epoch(runner)
    hook.after_run(runner)
    assert len(runner.log) == 1
    level, message = runner.log[0]
    assert level == 'WARNING' and 'no room for a picture' in message and 'Traceback' in message


def test_interrupts_pass(runner, monkeypatch, make_search):
    """Rejects: `except BaseException`, which would swallow Ctrl-C."""
    make_search('a')
    monkeypatch.setattr(
        'mmnas_video.visualization.report.write_report',
        lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        ReportHook().after_run(runner)


def test_without_a_search_it_says_so_once(runner, written):
    """Rejects: a crash, or a report of nothing, when no search hook is configured."""
    hook = ReportHook()
    hook.after_train_epoch(runner)
    hook.after_run(runner)
    assert not written and len(runner.log) == 1 and 'search hook' in runner.log[0][1]


def test_only_the_main_process_writes(runner, written, monkeypatch, make_search):
    """Rejects: every rank writing the same file."""
    make_search('a')
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    ReportHook().after_run(runner)
    assert not written


def test_writes_a_real_report(runner, make_search):
    """Rejects: a hook whose call does not fit write_report."""
    work_dir, _, _ = make_search('a', epochs=2)
    ReportHook().after_train_epoch(runner)
    assert not runner.log and (work_dir / 'search' / 'report.html').is_file()
    assert not list((work_dir / 'search' / 'figures').glob('*.png'))


TWO_STAGES = [dict(name='scale', opens=['scale'], fixes={'width': 3}), dict(name='width', opens=['width'])]


@pytest.mark.parametrize('stages', [None, TWO_STAGES], ids=['one search', 'in stages'])
def test_a_search_without_the_hook_ends_with_a_report_too(stages, tmp_path):
    """Rejects a search that leaves no report because no ReportHook is named, the stages' own reports missing (the
    whole one links to them), and a report drawn before the network was extracted."""
    changes = {'stages': stages} if stages else {}
    cfg = toy.config(dict(type='UniformSearchHook', candidates=2), epochs=1, work_dir=str(tmp_path), **changes)
    run_search(cfg)
    folders = [tmp_path, *(sorted(tmp_path.glob('[12]_*')) if stages else [])]
    assert len(folders) == (3 if stages else 1)
    for folder in folders:
        report = folder / 'search/report.html'
        assert report.stat().st_mtime_ns >= (folder / 'search/arch.json').stat().st_mtime_ns
        assert 'Uniform on toy' in report.read_text()
        assert stages or report.stat().st_mtime_ns >= (folder / 'search/extracted.pth').stat().st_mtime_ns


def test_a_report_that_fails_does_not_fail_the_search(tmp_path, monkeypatch):
    """Rejects a search of days that ends with the traceback of a picture, and one that does not say so."""

    def broken(*args, **kwargs):
        raise MemoryError('no room for a picture')

    monkeypatch.setattr('mmnas_video.visualization.report.write_report', broken)
    warned = []
    monkeypatch.setattr(ReportHook, '_warn', lambda self, runner, message: warned.append(message))
    found = run_search(toy.config(dict(type='UniformSearchHook', candidates=2), epochs=1, work_dir=str(tmp_path)))
    assert found['weights'].is_file() and len(warned) == 1 and 'no room for a picture' in warned[0]


def test_a_search_with_the_hook_writes_one_last_report(tmp_path, written):
    """Rejects two reports at the end of a search whose config has a ReportHook."""
    cfg = toy.config(dict(type='UniformSearchHook', candidates=2), epochs=1, work_dir=str(tmp_path))
    cfg.custom_hooks.append(dict(type='ReportHook', interval=-1))
    run_search(cfg)
    assert written == [(str(tmp_path), True)]


@pytest.mark.parametrize('interval', [0, -2, 1.5, '1', True])
def test_wrong_interval(interval):
    """Rejects: interval 0 taken as 'every epoch'."""
    with pytest.raises(ConfigError, match=r'ReportHook.interval'):
        ReportHook(interval=interval)
