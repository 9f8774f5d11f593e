"""How a command of ours ends: what it says, its status, and what it leaves as it was."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmnas_video.command import AGAIN, RESUME, run_tool
from mmnas_video.errors import ConfigError, RunError, StackError


def raising(error):
    """A ``main`` that ends so."""

    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ('error', 'status', 'words'),
    [
        (ConfigError('model: found 3'), 2, 'error: model: found 3'),
        (StackError('mmcv'), 2, 'error: mmcv'),
        (RunError('the data'), 3, 'error: the data'),
        (KeyboardInterrupt(), 130, f'interrupted; {AGAIN}'),
        (
            OSError(errno.ENOSPC, 'No space left', 'a.pth'),
            3,
            f"error: cannot write to 'a.pth' (No space left); {AGAIN}",
        ),
    ],
)
def test_what_it_says_and_its_status(error, status, words, capsys):
    """Rejects a traceback, a status that another end has, and the way to go on of another tool."""
    assert run_tool(raising(error), AGAIN) == status
    said = capsys.readouterr()
    assert said.err.strip() == words and not said.out


def test_an_error_that_is_ours_keeps_its_traceback():
    """Rejects a tool that hides its own faults, those of the operating system among them."""
    with pytest.raises(ZeroDivisionError):
        run_tool(raising(ZeroDivisionError()))
    with pytest.raises(ConnectionResetError):
        run_tool(raising(ConnectionResetError(errno.ECONNRESET, 'reset')))


def test_the_status_of_a_main_that_has_one():
    """Rejects a check that found something and ends with 0, and a ``None`` that is passed on."""
    assert (run_tool(lambda: 1), run_tool(lambda: None), run_tool(lambda: 0)) == (1, 0, 0)


def test_a_rank_ends_though_a_thread_of_gloo_is_at_work(tmp_path):
    """A collective whose tensors a thread of gloo still lets go of. Rejects leaving it to the interpreter's end, which
    aborts the process (-6) and has torchrun kill the other ranks, also after ``sys.exit`` (SIGTERM);
    ``destroy_process_group`` by itself, which leaves the threads alone while anything names the group; and an end that
    forgets what was to be done and printed at exit."""
    text = """
import atexit, sys, threading, time
import torch
from mmnas_video.command import run_tool

class Slow(torch.Tensor):
    def __del__(self):
        if threading.current_thread() is not threading.main_thread():
            dropped.set()
            while not sys.is_finalizing():
                time.sleep(0.001)

def main():
    torch.distributed.init_process_group('gloo', init_method=f'file://{sys.argv[1]}', rank=0, world_size=1)
    while not dropped.wait(0.02):  # until the thread is the last to let go
        value = torch.ones(3).as_subclass(Slow)
        work = torch.distributed.all_reduce(value, async_op=True)
        del value
        work.wait()
        del work
    named.append(torch.distributed.group.WORLD)
    atexit.register(print, 'said at exit')
    print('printed', end=' ')
    if sys.argv[2] == '143':
        sys.exit(143)
    return int(sys.argv[2])

named = []
dropped = threading.Event()
sys.exit(run_tool(main))
"""
    for status in (0, 3, 143):
        command = [sys.executable, '-c', text, str(tmp_path / f'store{status}'), str(status)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (status, 'printed said at exit\n'), done.stderr


def test_sigterm_says_how_to_go_on(capsys):
    """Rejects a handler that stays after the tool, one that is silent, and one that lets the tool go on."""
    before = signal.getsignal(signal.SIGTERM)

    def main():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 143 and capsys.readouterr().err.strip() == f'terminated; {RESUME}'
    assert signal.getsignal(signal.SIGTERM) == before


TOLD_IN_A_FORK = """
import os, signal, sys, time
from mmnas_video.command import run_tool

def main():
    os.register_at_fork(after_in_parent=lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(0)))
    if os.fork() == 0:
        os._exit(0)
    time.sleep(5)
    print('went on')

sys.exit(run_tool(main))
"""


def test_sigterm_during_a_fork_ends_it():
    """Python ignores what a handler raises in a callback of a fork, where it handles a signal that came meanwhile.
    Rejects a tool that says that it is terminated, and goes on."""
    done = subprocess.run([sys.executable, '-c', TOLD_IN_A_FORK], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (143, ''), done.stderr
    assert 'Exception ignored' not in done.stderr


@pytest.mark.parametrize('lines', [1, 40_000])
@pytest.mark.parametrize('end', [lambda: 1, lambda: sys.exit(0)], ids=['return', 'exit'])
def test_a_reader_that_goes(lines, end):
    """Rejects a traceback for ``| head``, at a print or when the interpreter ends (status 120), and a status of success
    for what nobody has read."""

    def main():
        for _ in range(lines):
            print('one of many')
        return end()

    read, write = os.pipe()
    os.close(read)
    process = os.fork()
    if not process:
        code = 1
        try:
            os.dup2(write, 1)
            sys.stdout = open(1, 'w', closefd=False)  # noqa: SIM115 - as a new interpreter has it
            try:
                code = run_tool(main)
            except SystemExit as error:
                code = error.code
            sys.stdout.flush()  # as it does when it ends
        finally:
            os._exit(code)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 141


def test_another_pipe_that_breaks_is_a_fault():
    """Rejects a worker's pipe taken for the reader of the output."""
    with pytest.raises(BrokenPipeError):
        run_tool(raising(BrokenPipeError(errno.EPIPE, 'worker')))


def test_ctrl_c_in_a_data_tool(tmp_path):
    """Rejects tracebacks of the tool or of its processes, and processes that outlive it: a terminal's Ctrl-C goes to
    all of them."""
    fifo = tmp_path / 'never.mp4'
    os.mkfifo(fifo)  # its reader waits for a writer
    (tmp_path / 'list.txt').write_text('never.mp4 0\n')
    command = ['tools/data/check_videos.py', str(tmp_path / 'list.txt'), '--root', str(tmp_path), '--processes', '2']
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
    while not children.read_text():
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)  # until the first of them listens
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.strip() == f'interrupted; {AGAIN}'
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
