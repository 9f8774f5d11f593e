"""Which file each loader process is on, where the main process can read it when one dies or hangs.

A DataLoader says that a worker was killed, or that it has waited too long, not for which file. So a worker writes the
path into a cell of shared memory before it opens a file, and takes it out afterwards. :class:`FileWatchHook` reads.
"""

import os
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

CELLS, WIDTH = 509, 1024  # of shared memory; a worker has the cell of its process id modulo CELLS (a prime)
HEAD = struct.Struct('<dHq')  # start (monotonic seconds, the same clock in all processes), length, process id
ALL: 'weakref.WeakSet[FilesInWork]' = weakref.WeakSet()  # those made in this process


@dataclass(frozen=True)
class InWork:
    """One process and its file."""

    key: str
    pid: int
    path: str
    start: float

    @property
    def seconds(self) -> float:
        """How long the process has been on it."""
        return time.monotonic() - self.start

    @property
    def dead(self) -> bool:
        """Whether the process has ended (a zombie, which nobody has waited for, has)."""
        try:
            stat = Path(f'/proc/{self.pid}/stat').read_text()
        except FileNotFoundError:
            return Path('/proc/self').exists()  # without /proc there is no telling
        except ProcessLookupError:
            return True
        return stat.rpartition(')')[2].split()[0] == 'Z'


class FilesInWork:
    """The record of one dataset; made in the main process, before its workers.

    Args:
        key: config key of the dataset, for messages.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._cells = torch.zeros(CELLS, WIDTH, dtype=torch.uint8).share_memory_()
        ALL.add(self)

    @contextmanager
    def on(self, path: str) -> Iterator[None]:
        """Have ``path`` stand in this process's cell meanwhile. What kills the process leaves it there."""
        name = path.encode(errors='replace')[-(WIDTH - HEAD.size) :]  # the end of a path tells more than its start
        cell = memoryview(self._cells[os.getpid() % CELLS].numpy())
        cell[HEAD.size : HEAD.size + len(name)] = name
        HEAD.pack_into(cell, 0, time.monotonic(), len(name), os.getpid())
        try:
            yield
        finally:
            HEAD.pack_into(cell, 0, 0.0, 0, 0)

    def entries(self) -> list[InWork]:
        """The processes that are on a file now, or died on one."""
        rows = self._cells[self._cells[:, HEAD.size - 8 : HEAD.size].ne(0).any(1)].numpy()
        found = []
        for row in rows:
            start, length, pid = HEAD.unpack_from(row)
            if not (pid and length):
                continue  # the worker took it out while it was copied
            name = row[HEAD.size : HEAD.size + length].tobytes().decode(errors='replace')
            found.append(InWork(self.key, pid, name, start))
        return found


def files_in_work() -> list[InWork]:
    """The entries of every record that this process has made."""
    return [entry for record in list(ALL) for entry in record.entries()]
