"""What a run writes to a terminal: colour there, and none where ``NO_COLOR`` is set."""

import importlib
import os
import pty
import runpy
import sys

import pytest
from termcolor import colored

from mmnas_video.testing import toy
from tests.conftest import forget_runs
from tests.tools.conftest import ROOT


def on_a_terminal(environment: dict[str, str], *argv: str) -> str:
    """All that a tool writes when both of its streams are a terminal's."""
    child, terminal = pty.fork()
    if not child:
        try:
            for name in ('NO_COLOR', 'FORCE_COLOR', 'ANSI_COLORS_DISABLED'):
                os.environ.pop(name, None)
            os.environ.update(environment, TERM='xterm')
            sys.stdout, sys.stderr = os.fdopen(1, 'w', 1, closefd=False), os.fdopen(2, 'w', 1, closefd=False)
            importlib.reload(sys.modules[colored.__module__])  # it asks once a process, and here that is no terminal
            sys.argv = [*argv]
            forget_runs()
            runpy.run_path(str(ROOT / argv[0]), run_name='__main__')
        except SystemExit as end:
            os._exit(end.code or 0)
        finally:
            os._exit(70)
    written = b''
    try:
        while part := os.read(terminal, 65536):
            written += part
    except OSError:  # how a terminal whose last process has gone ends on Linux
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, written.decode()[-3000:]
    return written.decode()


@pytest.mark.parametrize('environment', [{}, {'NO_COLOR': '1'}], ids=['a terminal', 'NO_COLOR'])
def test_colour_on_a_terminal_only_if_wanted(environment, tmp_path):
    """Rejects escape codes of ours, of MMEngine's log (all of it: --verbose) or of a progress line under NO_COLOR,
    and a test on what is no terminal, where there would be none anyway."""
    cfg = toy.config(dict(type='UniformSearchHook', candidates=2), epochs=1, log_level='INFO')
    cfg.custom_hooks += [dict(type='ProgressHook'), dict(type='ReportHook', interval=-1)]
    cfg.dump(tmp_path / 'search.py')
    argv = ['tools/search.py', str(tmp_path / 'search.py'), '--work-dir', str(tmp_path / 'work'), '--verbose']
    written = on_a_terminal(environment, *argv)
    assert 'UniformSearchHook: space' in written and 'Search(epoch) [1]' in written and '1/1' in written
    assert ('\x1b' in written) == (not environment), written[-3000:]
