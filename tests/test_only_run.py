"""Two runs in one work dir: the second is refused, and a killed one is in nobody's way."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmnas_video.errors import ConfigError
from mmnas_video.only_run import only_run

#: A run with two workers, each of which is busy for a minute.
RUN = """
import sys, time
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset
from mmnas_video.only_run import only_run

class Slow(Dataset):
    def __len__(self):
        return 7
    def __getitem__(self, index):
        print(index, flush=True)
        time.sleep(60)

with only_run(Config(dict(work_dir=sys.argv[1]))):
    next(iter(DataLoader(Slow(), num_workers=2)))
"""


def held(work_dir, **changes):
    return only_run(Config(dict(work_dir=str(work_dir), **changes)))


def test_a_run_that_is_killed_leaves_no_lock_though_its_workers_live(tmp_path):
    """Rejects a lock that forked workers keep, a file that is the lock, and a second run that is let in before."""
    command = [sys.executable, '-c', RUN, str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert {process.stdout.readline(), process.stdout.readline()} == {'0\n', '1\n'}, 'both workers are busy'
        with (
            pytest.raises(ConfigError, match=rf'work_dir: found another run in .*process {process.pid} on'),
            held(tmp_path),
        ):
            pass
        process.kill()
        with held(tmp_path):
            os.killpg(process.pid, 0)  # its workers are there
        process.wait()
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_the_lock_is_the_first_ranks_for_the_block_alone(tmp_path, monkeypatch):
    """Rejects ranks that lock each other out, a lock that stays after the run, and ranks left over in the environment
    of a run without launcher."""
    monkeypatch.setattr('mmnas_video.only_run.PATIENCE', 0.1)
    with held(tmp_path):
        for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
            with monkeypatch.context() as patch:
                patch.setenv(name, '3')
                with held(tmp_path, launcher='pytorch'):
                    pass
                with pytest.raises(ConfigError, match='found another run'), held(tmp_path):
                    pass
                if name == 'SLURM_PROCID':  # torchrun has numbered the nodes in another order
                    patch.setenv('RANK', '0')
                    with pytest.raises(ConfigError), held(tmp_path, launcher='pytorch'):
                        pass
    with held(tmp_path):
        pass


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_mistake(number, tmp_path, monkeypatch):
    """Rejects a run that does not start on a network file system."""

    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', refuse)
    with held(tmp_path), held(tmp_path):
        pass
