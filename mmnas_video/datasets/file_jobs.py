"""Do one thing to each of many files, in processes that a broken file may kill or hang, and say which file it was."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any, TextIO

from mmnas_video.errors import ConfigError, RunError

from .bad_sample import MISTAKES, bad_reason


class StopJobs(Exception):
    """Raised by the work on one file when the work on all others would fail too: a full disk."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: str
    #: What the work returned, if ``reason`` is None.
    value: Any = None
    #: Why it failed.
    reason: str | None = None


@dataclass
class _Worker:
    process: multiprocessing.Process
    connection: Connection
    path: str | None = None
    deadline: float = 0.0


def run_jobs(
    work: Callable[[str], Any], paths: Iterable[str], processes: int = 1, timeout: float = 600.0
) -> Iterator[Outcome]:
    """Yield what ``work(path)`` returned or raised, for each path, in the order in which they are done.

    An exception is the file's reason. So is the death of the process, and more than ``timeout`` seconds; another
    process then takes its place. Processes are forked, say nothing on stderr, and end with the iterator or with this
    process, however it ends.

    Raises:
        RunError: ``work`` raised :class:`StopJobs`; with its text.
        ConfigError: ``work`` raised what is a mistake of its own; with its text.
    """
    todo, workers = iter(paths), []
    try:
        for path in todo:
            workers.append(_start(work, workers))
            _give(workers[-1], path, timeout)
            if len(workers) == processes:
                break
        while workers:
            for worker in _ready(workers):
                outcome, alive = _outcome(worker, timeout)
                path = next(todo, None)
                if not alive:
                    workers.remove(worker)
                    if path is not None:
                        worker = _start(work, workers)
                        workers.append(worker)
                if path is not None:
                    _give(worker, path, timeout)
                elif alive:
                    _end(worker)
                    workers.remove(worker)
                yield outcome
    finally:
        for worker in workers:
            _end(worker)


def _start(work: Callable[[str], Any], others: list[_Worker]) -> _Worker:
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe()
    inherited = [ours, *(other.connection for other in others)]
    process = context.Process(target=_serve, args=(work, theirs, inherited), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(work: Callable[[str], Any], connection: Connection, inherited: list[Connection]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's affair, which ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what the main process says at its end is not said here
    for other in inherited:
        other.close()  # or nobody here would see the main process's end close when it is killed
    logging.disable(logging.WARNING)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write there what they like, even what the file holds
    while True:
        try:
            path = connection.recv()
        except EOFError:
            return
        try:
            answer = (work(path), None, None)
        except StopJobs as stop:
            answer = (None, str(stop), RunError)
        except MISTAKES as error:
            answer = (None, f'{type(error).__name__}: {error}', ConfigError)
        except Exception as error:
            answer = (None, bad_reason(path, error), None)
        try:
            connection.send(answer)
        except BrokenPipeError:
            return


def _give(worker: _Worker, path: str, timeout: float) -> None:
    worker.path, worker.deadline = path, time.monotonic() + timeout
    worker.connection.send(path)


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Those that have answered, died or run out of time; waits for the first."""
    patience = max(0.0, min(worker.deadline for worker in workers) - time.monotonic())
    answered = wait([worker.connection for worker in workers], patience)
    late = time.monotonic()
    return [worker for worker in workers if worker.connection in answered or worker.deadline <= late]


def _outcome(worker: _Worker, timeout: float) -> tuple[Outcome, bool]:
    """What became of the worker's file, and whether the worker can go on."""
    if not worker.connection.poll():
        _end(worker)
        return Outcome(worker.path, reason=f'no answer within {timeout:g} s'), False
    try:
        value, reason, stop = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Outcome(worker.path, reason=f'the process died on it ({_death(worker.process.exitcode)})'), False
    if stop:
        raise stop(reason)
    return Outcome(worker.path, value, reason), True


def _death(code: int | None) -> str:
    return signal.Signals(-code).name if code and code < 0 else f'exit status {code}'


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()
    worker.process.join()
    worker.process.close()


@dataclass
class Progress:
    """Lines such as ``1200 / 20000 videos, 3 bad, 41.2 a second, 0:07:36 left``, at most one in ``every`` seconds.

    The rate is that of this run: what an earlier run had done is not counted.
    """

    total: int
    unit: str = 'videos'
    every: float = 5.0
    out: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        self.start = self.said = self.clock()

    def step(self, bad: bool) -> None:
        """Count one file."""
        self.done += 1
        self.bad += bad
        now = self.clock()
        if now - self.said >= self.every or self.done == self.total:
            self.said = now
            rate = self.done / max(now - self.start, 1e-9)
            left = timedelta(seconds=round((self.total - self.done) / rate))
            line = f'{self.done} / {self.total} {self.unit}, {self.bad} bad, {rate:.1f} a second, {left} left'
            print(line, file=self.out, flush=True)
