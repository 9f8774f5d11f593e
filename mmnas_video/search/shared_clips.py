"""Held-out clips: decoded once on each machine, by its ranks together, and kept once in its memory.

They may be 25 GB: eight ranks that each keep all need 200 GB, and decode everything eight times. So rank i of n on a
machine decodes every n-th batch and writes it to a file of its own, and every rank maps the files of all: the same
pages. Bytes, types and strides come back as they were, hence also the scores.

Such a file has no name and lies in memory (``memfd_create``). It needs no folder with room for it, so neither the disk
nor ``/dev/shm``, which has 64 MB in many containers, can be full; and however a run ends, the system takes the memory
back with the last process: nothing is left to remove. A rank that is alone has such a file too: what a DataLoader's
workers hand over lies in ``/dev/shm``, with a file descriptor for each clip, of which a process often has only 1,024.

Ranks are of one machine where each can open the files of the others (``/proc/PID/fd``) and finds what it was told: no
launcher has to say so. Where one cannot (in containers of their own), each decodes all. Nothing but numbers and errors
goes from one machine to another.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from functools import cached_property
from logging import Logger
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from torch import Tensor

from .ranks import on_all_ranks
from .stream import BatchStream
from .told import told

#: Bytes: every tensor begins at a multiple of this, whatever its type needs.
ALIGNMENT = 64
#: Holds a name of this start of the system, the same for all its processes.
BOOT = Path('/proc/sys/kernel/random/boot_id')


def load_together(
    streams: Mapping[str, BatchStream], counts: Mapping[str, int], logger: Logger
) -> dict[str, list[dict[str, Any]]]:
    """The first so many batches of each stream, as its loader gives them; every rank has to call this and gets all.

    A rank may write into its batches: the others do not see it. Unreadable clips are counted in the order of the
    stream, on every rank, as if it had loaded all by itself.

    Args:
        streams: not shared ones, of which no batch has been taken. Their workers are ended.
        counts: how many batches of each.
        logger: for progress.

    Raises:
        Exception: on all ranks, and at once, what went wrong on the first of them (:func:`~.ranks.on_all_ranks`).
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in streams}
    with ExitStack() as stack:
        files = _files_of_machine(stack)
        mates, own = list(files), files[get_rank()]
        fewest = min(all_gather_object(len(mates)))  # of any machine: all take part in as many rounds
        places = {}
        for name, stream in streams.items():
            numbers = range(mates.index(get_rank()), counts[name], len(mates))
            with closing(stream.part(numbers)) as part:
                rounds = range(-(-counts[name] // fewest))
                what = f'Loaded held-out batches{name and f" of {name}"}, {len(mates)} at a time'
                places[name] = [
                    on_all_ranks(lambda part=part: own.append(next(part, None))) for _ in told(rounds, what, logger)
                ]

        def read() -> None:
            for name, stream in streams.items():
                for number in range(counts[name]):
                    turn, mate = divmod(number, len(mates))
                    batch = files[mates[mate]].read(*places[name][turn][mates[mate]])
                    stream.count_bad(batch)
                    found[name].append(batch)

        on_all_ranks(read)
    return found


class ClipFile:
    """Batches in a file: appended by one process, read by others that have it open.

    Tensors lie there as their bytes, in the order of memory, and come back as views on the mapped file, which may be
    written to: what is written stays in this process. The rest of a batch is pickled.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @cached_property
    def _bytes(self) -> np.memmap:
        return np.memmap(self._file, np.uint8, mode='c')

    def append(self, batch: dict[str, Any] | None) -> tuple[int, int]:
        """Write a batch (None: nothing); returns what :meth:`read` needs."""
        text = io.BytesIO()
        _Pickler(text, self._put).dump(batch)
        place = self._write(text.getbuffer())
        self._file.flush()
        return place, text.tell()

    def read(self, place: int, size: int) -> dict[str, Any]:
        """A batch, once all have been appended."""
        return _Unpickler(io.BytesIO(self._bytes[place : place + size]), self._get).load()

    def _put(self, tensor: Tensor) -> tuple[int, torch.dtype, tuple[int, ...], tuple[int, ...]]:
        dense = tensor.detach().clone()  # no gaps, and the same strides unless there were some
        flat = dense.as_strided((dense.numel(),), (1,))
        return self._write(flat.view(torch.uint8).numpy()), tensor.dtype, tuple(tensor.shape), dense.stride()

    def _get(self, place: int, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        size = dtype.itemsize * int(np.prod(shape))
        # A storage of its own size: a copy of one tensor must not copy the file.
        return torch.from_numpy(self._bytes[place : place + size]).view(dtype).as_strided(shape, stride)

    def _write(self, data: Any) -> int:
        place = self._file.seek(-(-self._file.tell() // ALIGNMENT) * ALIGNMENT)
        self._file.write(data)
        return place


class _Pickler(pickle.Pickler):
    """Leaves tensors to a function, whose answer stands in their place."""

    def __init__(self, file: BinaryIO, put: Callable[[Tensor], Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._put = put

    def persistent_id(self, value: Any) -> Any:
        return self._put(value) if type(value) is Tensor else None


class _Unpickler(pickle.Unpickler):
    """Inverse; of what this run has pickled itself."""

    def __init__(self, file: BinaryIO, get: Callable[..., Tensor]) -> None:
        super().__init__(file)
        self._get = get

    def persistent_load(self, key: Iterable[Any]) -> Tensor:
        return self._get(*key)


def _files_of_machine(stack: ExitStack) -> dict[int, ClipFile]:
    """Rank to file, of the ranks of this machine in order, this one's among them; of this one alone where one of them
    cannot open all of the others'. The ``stack`` closes them: what is mapped stays."""
    own = stack.enter_context(_nameless())
    inode, path = os.fstat(own.fileno()).st_ino, f'/proc/{os.getpid()}/fd/{own.fileno()}'
    told = all_gather_object((_machine(), path, inode))
    mates = [rank for rank, (machine, *_) in enumerate(told) if machine == told[get_rank()][0]]
    files: dict[int, ClipFile] = {}
    for mate in mates:
        file = own if mate == get_rank() else _opened(*told[mate][1:])
        if file is not None:
            files[mate] = ClipFile(stack.enter_context(file))
    complete = all_gather_object(len(files) == len(mates))
    return files if all(complete[mate] for mate in mates) else {get_rank(): files[get_rank()]}


def _nameless() -> BinaryIO:
    """An empty file in memory, where the system has such; elsewhere one that the disk holds."""
    return os.fdopen(os.memfd_create('clips'), 'w+b') if hasattr(os, 'memfd_create') else tempfile.TemporaryFile()


def _machine() -> tuple[str, str]:
    """Name and start of the system; two clones of a virtual machine may have the one in common, or the other."""
    return socket.gethostname(), BOOT.read_text() if BOOT.exists() else ''


def _opened(path: str, inode: int) -> BinaryIO | None:
    """The file, if it can be opened and is the one that was meant: in a container a number is another process's."""
    try:
        return open(path, 'rb') if os.stat(path).st_ino == inode else None
    except OSError:
        return None
