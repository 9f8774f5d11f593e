"""Work on many files in processes that die and hang."""

import io
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from mmnas_video.datasets import file_jobs
from mmnas_video.datasets.file_jobs import Progress, StopJobs, run_jobs
from mmnas_video.errors import ConfigError, RunError


def work(path):
    """What the file's name says."""
    if 'dies' in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if 'hangs' in path:
        time.sleep(30)
    if 'raises' in path:
        raise OSError(f'cannot read {path}')
    if 'stops' in path:
        raise StopJobs('the disk is full')
    if 'mistake' in path:
        raise TypeError('a wrong call')
    print('noise of a decoder', file=sys.stderr)
    return len(path), os.getpid()


def test_every_file_is_answered_for(tmp_path):
    """Rejects a pool that hangs or ends when a process dies (multiprocessing's), one that loses the file, and one that
    starts a process for each file."""
    names = ['a', 'dies', 'bb', 'raises', 'hangs', 'ccc', 'dies too', 'dddd', 'eeeee', 'ffffff', 'g' * 7]
    paths = [str(tmp_path / name) for name in names]
    for name in names:
        (tmp_path / name).write_text('x')
    outcomes = {os.path.basename(o.path): o for o in run_jobs(work, paths, processes=2, timeout=2.0)}
    assert set(outcomes) == set(names)
    assert outcomes['dies'].reason == outcomes['dies too'].reason == 'the process died on it (SIGKILL)'
    assert outcomes['hangs'].reason == 'no answer within 2 s'
    assert outcomes['raises'].reason.startswith('OSError: cannot read')
    good = {name: o.value for name, o in outcomes.items() if o.reason is None}
    assert {name: length - len(str(tmp_path)) - 1 for name, (length, _) in good.items()} == {
        name: len(name) for name in names if len(set(name)) == 1
    }
    assert len({pid for _, pid in good.values()}) <= 5  # two at first, three in place of those that were lost
    assert list(run_jobs(work, [], processes=3)) == []


def test_each_file_has_the_whole_time(monkeypatch):
    """Rejects the time of a worker's first file for all that follow: good ones would be told late."""
    monkeypatch.setattr(time, 'monotonic', lambda: 103.0)
    worker = file_jobs._Worker(None, SimpleNamespace(send=lambda path: None), 'a', deadline=107.0)
    file_jobs._give(worker, 'b', 7.0)
    assert (worker.path, worker.deadline) == ('b', 110.0)


@pytest.mark.parametrize(
    ('name', 'error', 'text'),
    [('stops', RunError, 'the disk is full'), ('mistake', ConfigError, 'TypeError: a wrong call')],
)
def test_what_is_no_files_fault_ends_the_run(name, error, text):
    """Rejects a run that calls ten thousand files bad because its disk is full or its pipeline is wrong, and one that
    takes the one for the other."""
    with pytest.raises(error, match=text):
        list(run_jobs(work, ['a', name, 'b'], processes=1))


def test_no_process_is_left(tmp_path):
    """Rejects processes that live on when the main one is killed: each must see its end of the pipe close."""

    def note(path):
        (tmp_path / str(os.getpid())).touch()

    pid = os.fork()
    if not pid:
        try:
            jobs = run_jobs(note, (str(number) for number in range(10**9)), processes=3)
            while len(list(tmp_path.iterdir())) < 3:
                next(jobs)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 3
    deadline = time.monotonic() + 30
    while any(os.path.exists(f'/proc/{pid}') for pid in pids):
        assert time.monotonic() < deadline, 'processes live on'
        time.sleep(0.05)


def test_progress():
    """Rejects a line for each file, a rate that counts the wrong time, and an end without a last line."""
    now, out = [100.0], io.StringIO()
    progress = Progress(7, 'videos', every=5.0, out=out, clock=lambda: now[0])
    for number in range(7):
        now[0] += 2.0
        progress.step(bad=number == 1)
    lines = out.getvalue().splitlines()
    assert lines == [
        '3 / 7 videos, 1 bad, 0.5 a second, 0:00:08 left',
        '6 / 7 videos, 1 bad, 0.5 a second, 0:00:02 left',
        '7 / 7 videos, 1 bad, 0.5 a second, 0:00:00 left',
    ]
