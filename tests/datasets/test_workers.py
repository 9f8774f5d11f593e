"""Worker processes of DataLoaders obey their own main process, and nobody else."""

import os
import signal
import time

from torch.utils.data import DataLoader, Dataset

from mmnas_video.datasets.workers import outlive_sigterm


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
