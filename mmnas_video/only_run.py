"""One run at a time in a work dir: a second one would move the first one's results aside while it writes them."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from mmnas_video.errors import ConfigError

#: Its lock, which the system takes back when the process ends, however it ends, is what counts; the file may stay.
LOCK = '.running'
#: Seconds that a run waits for one that has just been killed.
PATIENCE = 2.0
#: Where a launcher says the rank of a process, before they are connected.
RANKS = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}
_held: set[int] = set()


def _let_go() -> None:
    """A forked process, such as a DataLoader's worker, would keep the lock of a main process that has been killed."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def only_run(cfg: Config) -> Iterator[None]:
    """Hold the work dir of ``cfg`` in this block, on the first rank. A file system without locks gives none: the run
    goes on without.

    Raises:
        ConfigError: another run holds it; names its process and machine.
    """
    # Slurm's is of the node where torchrun has one too
    rank = next(filter(None, map(os.environ.get, RANKS.values())), '0')
    first = cfg.get('launcher', 'none') == 'none' or rank == '0'
    file = _locked(Path(cfg.work_dir)) if first else None
    try:
        yield
    finally:
        if file in _held:
            _held.remove(file)
            os.close(file)


def _locked(work_dir: Path) -> int | None:
    try:
        file = os.open(work_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None
    _held.add(file)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(PATIENCE / 20)
                continue
            who = os.pread(file, 200, 0).decode(errors='replace').strip()
            _held.remove(file)
            os.close(file)
            raise ConfigError(
                f'work_dir: found another run in {str(work_dir)!r} ({who}), expected none; wait for its end, or set '
                'another --work-dir'
            ) from None
        except OSError:
            return file
        os.ftruncate(file, 0)
        os.pwrite(file, f'process {os.getpid()} on {socket.gethostname()}\n'.encode(), 0)
        return file
