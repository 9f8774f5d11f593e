"""How a command of ours ends: a message and an exit status, not a traceback."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.errors import ConfigError, RunError, StackError
from mmnas_video.told_again import tell_again_if_ignored

#: What a disk that is full, or that may not be written any more, answers.
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG)
#: How a tool that keeps checkpoints goes on, and how one that needs none of them.
RESUME = 'the same command with --resume goes on from the last checkpoint, which is intact'
AGAIN = 'no file is left half written; give the same command again'


def run_tool(main: Callable[[], int | None], go_on: str = RESUME) -> int:
    """Run a tool's ``main``; a mistake in config or files, and a disk that is full, end with one message each, not with
    a traceback. (``MMNAS_VIDEO_TRACEBACK=1`` in the environment shows that too.) For a rank this does not return: its
    process ends here.

    Args:
        main: of the tool.
        go_on: what the user is told to do after an interruption.

    Returns:
        Exit status: that of ``main`` or 0, 2 for a mistake, 3 for what befell the run, 130 after Ctrl-C and 143 after
        SIGTERM (both of which say how to go on), 141 if whoever reads the output has gone (``| head``).
    """
    try:
        status = _status_of(main, go_on)
    except SystemExit as end:
        if not (_in_group() and isinstance(end.code, int)):
            raise
        status = end.code
    if _in_group():
        _end_rank(status)
    return status


def _status_of(main: Callable[[], int | None], go_on: str) -> int:
    """See ``run_tool``."""

    def terminate(number: int, frame: Any) -> None:
        tell_again_if_ignored(number)
        print(f'terminated; {go_on}', file=sys.stderr)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, terminate)  # until a training takes it over
    try:
        keep_freed_memory()
        # Modules are never garbage. MMEngine has the collector look at everything for every annotation list that it
        # reads: a quarter of a second each, of which a joint search reads twenty.
        gc.freeze()
        return _flushed(main)
    except BrokenPipeError:
        if not (gone := [file for file in (1, 2) if _nobody_reads(file)]):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for file in gone:  # what is still buffered, the interpreter writes when it ends
            os.dup2(nowhere, file)
        return 128 + signal.SIGPIPE
    except (ConfigError, StackError) as error:
        return _fail(error, str(error), 2)
    except RunError as error:
        return _fail(error, str(error), 3)
    except KeyboardInterrupt:
        print(f'\ninterrupted; {go_on}', file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        where = f' to {error.filename!r}' if error.filename else ''
        return _fail(error, f'cannot write{where} ({error.strerror}); {go_on}', 3)
    finally:
        signal.signal(signal.SIGTERM, before)


def _flushed(main: Callable[[], int | None]) -> int:
    """Run ``main``; all that it has printed is written, also a ``--help``."""
    try:
        status = main() or 0
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


def _in_group() -> bool:
    """Whether this process is a rank (MMEngine's ``is_distributed``, without importing what a tool has not)."""
    torch = sys.modules.get('torch')
    return bool(torch) and torch.distributed.is_available() and torch.distributed.is_initialized()


def _end_rank(status: int) -> NoReturn:
    """End this process as ``sys.exit`` would, without the interpreter's own end: a thread of gloo that only then lets
    go of a collective's tensors asks for the interpreter, is ended for it, and so aborts the process (-6) whose run is
    complete; torchrun kills the other ranks for that, whatever they are still writing. ``destroy_process_group`` is not
    enough, as its threads live as long as anything, such as a model in DDP, names the group.
    """
    import torch

    if not status:  # else the others may never send what this rank still waits for
        torch.distributed.destroy_process_group()
    threading._shutdown()  # these three are what the end of a process of multiprocessing is made of
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _nobody_reads(file: int) -> bool:
    """Whether a descriptor is of a pipe whose reader has gone."""
    poll = select.poll()
    poll.register(file, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _fail(error: BaseException, text: str, status: int) -> int:
    if os.environ.get('MMNAS_VIDEO_TRACEBACK'):
        traceback.print_exception(error)
    print(f'error: {text}', file=sys.stderr)
    return status
