"""When the worker processes of DataLoaders end: not by a signal that is meant for the main process; and at once, not
when Python's collector comes by. And what memory they keep in between.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from mmengine.runner import Runner
from torch.utils.data import DataLoader, get_worker_info

from mmnas_video.runner_state import MODES, loader_of, loop_of

#: Seconds that a worker goes on after a SIGTERM: more than a step and its checkpoint take, and than Slurm and torchrun
#: wait before SIGKILL.
PATIENCE = 120
#: Samples of a worker from one return of free memory to the next, which takes some milliseconds.
TRIM_EVERY = 100
#: Bytes at the end of the heap that stay. Without them every larger piece of a clip would be a mapping, and be zeroed.
KEPT = 16 << 20
_outliving: int | None = None  # the process that waits for SIGTERM in a thread; a forked one does not
_samples = 0


def outlive_sigterm() -> None:
    """In a worker process, leave it to the main process what to do on SIGTERM; elsewhere, and again, do nothing.

    Slurm signals every process of a step, torchrun and terminals a process group. A worker that dies of it ends the
    main process by torch's error, before that has finished its step and saved. Only the main process's own SIGTERM,
    which is how torch ends a worker that does not answer, ends this one at once; any other after ``PATIENCE`` seconds,
    in which the main process has ended its workers or is gone.

    Threads that were there before keep the signal as it was: numpy's in a spawned worker, if it may have more than one.
    """
    global _outliving
    if get_worker_info() is None or _outliving == os.getpid():
        return
    _outliving = os.getpid()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # Blocked, not handled: a thread learns who has sent it, also while a decoder keeps the main thread from handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process().pid  # not os.getppid(): that may be Python's fork server
    threading.Thread(target=_wait_for_sigterm, args=(parent,), name='SIGTERM', daemon=True).start()


def _wait_for_sigterm(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        signal.alarm(PATIENCE)
    os._exit(0)  # as torch's own handler


def outlive_sigterm_from_the_start(loader: DataLoader) -> None:
    """Have :func:`outlive_sigterm` called in each worker of ``loader`` when it starts, and no SIGTERM come before.

    ``SeededDataset`` calls it with a worker's first sample. A worker that never gets one (a validation of fewer batches
    than workers), or has another dataset, dies of the signal otherwise, and the run of torch's error.
    """
    loader.worker_init_fn = partial(_start, loader.worker_init_fn)
    # By a weak reference: in a cycle with itself, the loader would keep workers and pipes until the collector comes.
    loader._get_iterator = partial(_with_sigterm_blocked, weakref.ref(loader))


def _with_sigterm_blocked(kept: Callable[[], Any]) -> Any:
    """Start the workers. Blocked in this thread, SIGTERM is blocked in what is forked here: it waits until a worker
    outlives it, and in this process until all are there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        loader = kept()
        return type(loader)._get_iterator(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(before: Callable[[int], None] | None, worker: int) -> None:
    outlive_sigterm()
    if before is not None:
        before(worker)


def give_memory_back() -> None:
    """In a worker process, free what earlier samples have left; elsewhere do nothing. Before each sample.

    What a closed decord reader holds, a copy of its file among it, is part of a reference cycle: Python's collector
    comes for it after some 40 clips, here before the next one. The young objects suffice.

    Once in ``TRIM_EVERY`` calls what malloc has free is returned, too, where the C library can (``malloc_trim`` of
    glibc, which by itself returns only the end of its heap). torchcodec 0.11 under torch 2.11 loses a kilobyte with
    each video, in strings (pytorch/pytorch#191340; not under 2.14.1). They cut into the holes that larger pieces leave:
    the next clip no longer fits, and is put at the end. A worker grows by 15 to 40 kB a clip, most of it holes.
    """
    global _samples
    if get_worker_info() is None:
        return
    gc.collect(1)
    _samples += 1
    if _samples % TRIM_EVERY == 0:
        trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
        if trim is not None:
            trim(KEPT)


def close_workers(loader: DataLoader, iterator: Any = None) -> None:
    """End the workers of ``loader``, and of an ``iterator`` over it that its owner keeps; it can start anew.

    A Runner and its loops refer to each other, so a DataLoader with persistent workers is freed by the cycle
    collector, which breaks the queues first: torch then waits 5 s for each worker, which no longer hears it.
    Four workers make 20 s, for every Runner that a process builds.
    """
    for one in (getattr(loader, '_iterator', None), iterator):
        if hasattr(one, '_shutdown_workers'):
            one._shutdown_workers()
    loader._iterator = None


def close_runner_workers(runner: Runner) -> None:
    """End the workers of the train, val and test loops that ``runner`` has built."""
    for mode in MODES:
        loader = loader_of(runner, mode)
        if loader is not None:
            endless = getattr(loop_of(runner, mode), 'dataloader_iterator', None)  # of an IterBasedTrainLoop
            close_workers(loader, getattr(endless, '_iterator', None))
