"""Worker processes of DataLoaders obey their own main process, and nobody else; and give memory back."""

import gc
import os
import platform
import signal
import time
import weakref

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from torch.utils.data import DataLoader, Dataset

from mmnas_video.datasets import EndlessSampler, SeededDataset, outlive_sigterm_from_the_start
from mmnas_video.datasets.workers import TRIM_EVERY, outlive_sigterm


class Forking(Dataset):
    """Has one sample: the exit status of a fork of the worker, which notes its process number in ``file``."""

    def __init__(self, file):
        self.file = file

    def __len__(self):
        return 1

    def __getitem__(self, index):
        child = os.fork()
        if not child:
            outlive_sigterm()
            self.file.write_text(f'{os.getpid()}\n')
            time.sleep(30)
            os._exit(1)
        for _ in range(500):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_worker_of_a_fork_server_obeys_its_main_process(tmp_path):
    """The system's parent of such a worker is Python's fork server; here it is another fork of the main process.
    Rejects a worker that takes only its parent's SIGTERM for the main process's, and outlives that by two minutes."""
    file = tmp_path / 'pid'
    status = iter(DataLoader(Forking(file), num_workers=1, multiprocessing_context='fork'))
    while not (file.exists() and file.read_text().endswith('\n')):
        time.sleep(0.01)
    os.kill(int(file.read_text()), signal.SIGTERM)
    assert next(status).item() == 0


class Plain(Dataset):
    """One sample of no interest, of a dataset that does nothing about signals."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return 7


ends_forks = False  # a callback of forks stays for good


@pytest.fixture
def forks_are_told_to_end(monkeypatch):
    """Whatever this process forks is sent SIGTERM, not in this process's name, before it does anything."""
    os.register_at_fork(after_in_child=lambda: ends_forks and os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setitem(globals(), 'ends_forks', True)


def test_a_worker_outlives_the_signal_from_its_fork_on(forks_are_told_to_end):
    """As Slurm sends it to all processes at once, also to one that has not begun. Rejects workers that leave it to the
    main process from their own start on: dead by then, they end the run. Afterwards it is not blocked here any more."""
    loader = DataLoader(Plain(), num_workers=1, multiprocessing_context='fork')
    outlive_sigterm_from_the_start(loader)
    assert next(iter(loader)).item() == 7
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_loader_whose_workers_outlive_a_signal_is_freed_at_once():
    """Rejects a loader that refers to itself: its workers and their pipes would stay until Python's collector comes."""
    loader = DataLoader(Plain(), num_workers=1)
    outlive_sigterm_from_the_start(loader)
    assert next(iter(loader)).item() == 7
    gc.disable()
    try:
        left = weakref.ref(loader)
        del loader
        assert left() is None
    finally:
        gc.enable()


class Left:
    """Refers to itself."""

    alive = 0

    def __init__(self):
        self.itself = self
        Left.alive += 1

    def __del__(self):
        Left.alive -= 1


class Cyclic(BaseDataset):
    """Each sample leaves such an object. A sample is how many of earlier ones there are."""

    def load_data_list(self):
        return [dict(filename=__file__)]

    def prepare_data(self, index):
        alive = Left.alive
        Left()
        return alive


def samples(dataset, count):
    """The first ones of an endless loader with one worker."""
    dataset = SeededDataset(dataset)
    loader = iter(DataLoader(dataset, batch_size=None, num_workers=1, sampler=EndlessSampler(dataset)))
    return [float(next(loader)) for _ in range(count)]


def test_what_a_sample_leaves_in_a_cycle_is_freed_before_the_next():
    """As a decord reader does, with its file. Rejects workers that hold some forty files until the collector comes."""
    assert set(samples(Cyclic(), 20)) == {0}


class Holed(BaseDataset):
    """The first sample leaves 40 MB of free memory below a piece that is kept. A sample is the process's MiB."""

    def load_data_list(self):
        return [dict(filename=__file__)]

    def prepare_data(self, index):
        if not hasattr(self, 'kept'):
            pieces = [np.ones(100_000, np.uint8) for _ in range(400)]  # each too small for a mapping of its own
            self.kept = pieces[-1]
        with open('/proc/self/statm') as statm:
            return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='other C libraries have no malloc_trim')
def test_a_worker_gives_free_memory_back():
    """What lies below a piece in use, too. Rejects workers that keep every hole, and a return before each sample."""
    found = samples(Holed(), TRIM_EVERY)
    assert max(found[:-1]) - min(found[:-1]) < 5 and found[-2] - found[-1] > 30, found
