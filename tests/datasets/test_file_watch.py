"""A worker that dies or hangs is named with the file it was on."""

import logging
import os
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader

from mmnas_video.datasets import FilesInWork, FileWatchHook, SeededDataset, close_workers, skip_bad_collate
from mmnas_video.datasets.files_in_work import HEAD, InWork, files_in_work
from mmnas_video.errors import ConfigError

KEY = 'train_dataloader.dataset'


@pytest.fixture
def watch(caplog, request):
    """A hook that is told of a run, and what it has logged."""
    logger = logging.getLogger('file watch')
    hook = FileWatchHook(slow_seconds=getattr(request, 'param', 300.0), interval=0.05)
    runner = SimpleNamespace(logger=logger)
    hook.before_run(runner)
    yield SimpleNamespace(hook=hook, said=lambda: [record.message for record in caplog.records])
    hook.after_run(runner)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def loader_of(video_cfg, misdeed, **options):
    """Two workers; one of them comes to grief at the sixth clip."""
    dataset = SeededDataset(video_cfg)
    victim = dataset.file_of(5)
    steps = dataset.dataset.pipeline.transforms

    def step(results):
        if results['filename'] == victim:
            misdeed()
        return results

    steps.insert(0, step)
    return DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=skip_bad_collate, **options), victim


@pytest.fixture
def torch_says_it_once():
    """torch speaks of a dead worker where its queue is read and, from the signal of its death, wherever we are: the
    latter not."""
    list(DataLoader(range(2), num_workers=1))  # torch sets its handler, once for the process
    set_by_torch = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, set_by_torch)


def die():
    """Not while the clip before is still on its way: torch would fail over half a message, by another error or none."""
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies(video_cfg, watch, torch_says_it_once):
    """Rejects a record that the worker keeps for itself, and one that names the file before or the other worker's."""
    loader, victim = loader_of(video_cfg, die)
    with pytest.raises(RuntimeError, match='DataLoader worker'):
        list(loader)
    wait_for(watch.said)
    close_workers(loader)
    assert len(watch.said()) == 1
    assert watch.said()[0].startswith(f'{KEY}: worker process ') and f"died on '{victim}'" in watch.said()[0]


def test_sigterm_is_left_to_the_main_process(video_cfg, watch):
    """Rejects workers that die of a signal that goes to every process of a Slurm step, and once more from torchrun to
    its group: the run would end before it has saved; and workers that nobody ends any more, also where they hang."""
    loader, victim = loader_of(video_cfg, lambda: time.sleep(60))
    batches = iter(loader)
    seen = [next(batches), next(batches)]  # one of each worker: from its first clip on it leaves the signal alone
    for _ in range(2):
        for worker in batches._workers:
            subprocess.run(['kill', '-TERM', str(worker.pid)], check=True)
    seen += [next(batches) for _ in range(3)]
    wait_for(lambda: [entry.path for entry in files_in_work()] == [victim])
    watch.hook.look()
    assert len(seen) == 5 and watch.said() == [] and all(worker.is_alive() for worker in batches._workers)
    for worker in batches._workers:
        worker.terminate()
        worker.join(5)
        assert worker.exitcode == 0


@pytest.mark.parametrize('watch', [1.0], indirect=True)
def test_a_worker_that_hangs(video_cfg, watch):
    """Rejects naming only what ends: a hung worker says nothing, and without a timeout nor does the DataLoader."""
    loader, victim = loader_of(video_cfg, lambda: time.sleep(7), timeout=4)
    with pytest.raises(RuntimeError, match='timed out after 4'):
        list(loader)
    wait_for(lambda: any(f"has been on '{victim}' for " in line for line in watch.said()))
    close_workers(loader)


@pytest.mark.parametrize('watch', [7.0], indirect=True)
def test_a_file_takes_long_from_the_seconds_that_are_given(watch, monkeypatch):
    """Rejects another limit than the option's, and each look told anew."""
    on = [InWork(KEY, os.getpid(), f'{seconds}.mp4', time.monotonic() - seconds) for seconds in (3, 11)]
    monkeypatch.setattr('mmnas_video.datasets.file_watch_hook.files_in_work', lambda: on)
    for _ in range(2):
        watch.hook.look()
    assert [message.partition('. Take')[0] for message in watch.said()] == [
        f"{KEY}: worker process {os.getpid()} has been on '11.mp4' for 11 s"
    ]


def test_a_process_that_nobody_has_waited_for_is_dead():
    """Rejects one that lives as long as its entry in the table of processes."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    entry = InWork(KEY, pid, 'a.mp4', 0.0)
    wait_for(lambda: entry.dead)
    os.waitpid(pid, 0)
    assert entry.dead and not InWork(KEY, os.getpid(), 'a.mp4', 0.0).dead


def test_nothing_is_said_of_a_good_run(video_cfg, watch):
    """Rejects entries that stay after the file was read, and workers that ended in order taken for dead ones."""
    loader, _ = loader_of(video_cfg, lambda: None)
    assert len(list(loader)) == 28
    close_workers(loader)
    watch.hook.look()
    assert watch.said() == [] and not files_in_work()


def test_the_end_of_a_long_path_is_kept():
    """Rejects a path that runs over its cell, is cut within the name, or is left there by an exception."""
    record = FilesInWork('here')
    path = '/long' * 500 + '/ünïcödé.mp4'
    with pytest.raises(OSError), record.on(path):
        [entry] = record.entries()
        assert entry.path.endswith('/long/ünïcödé.mp4') and path.endswith(entry.path) and len(entry.path) > 900
        assert entry.pid == os.getpid() and not entry.dead and entry.key == 'here'
        raise OSError
    assert record.entries() == []


@pytest.mark.parametrize('option', ['slow_seconds', 'interval'])
def test_times_are_checked(option):
    """Rejects a watch that names every file at once, or never looks."""
    with pytest.raises(ConfigError, match=f'FileWatchHook.{option}: found 0'):
        FileWatchHook(**{option: 0})


def test_a_row_that_was_emptied_while_it_was_copied():
    """Rejects a dead worker on a file without a name: a worker that finishes a file empties its cell while the main
    process copies it, so that its number may be seen without the length."""
    record = FilesInWork(KEY)
    for cell, length, pid in ((3, 0, 2**22 + 1), (7, 4, 2**22 + 3)):
        HEAD.pack_into(memoryview(record._cells[cell].numpy()), 0, 1.0, length, pid)
        record._cells[cell, HEAD.size : HEAD.size + 4] = 97
    assert [(entry.pid, entry.path) for entry in record.entries()] == [(2**22 + 3, 'aaaa')]
