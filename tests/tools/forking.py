"""A process that imports the library once and then forks for every tool that it is asked to run.

Importing torch and MMAction2 takes five seconds, a fork none: with it dozens of command lines can be
tried, each in a process of its own that starts from nothing but imports. Reads one JSON request a line
(``argv``, ``cwd``, ``stdout``, ``stderr``) and answers each with the exit status.
"""

import json
import os
import runpy
import signal
import sys
import traceback

from mmnas_video import pipeline, visualization  # noqa: F401 - what the tools import, so that a fork has it already


def run_forked(argv: list[str]) -> int:
    """Run a script as ``python argv...`` would, and return its exit status."""
    sys.argv, sys.path[0] = argv, os.path.dirname(argv[0])  # as python does: tools import their neighbours
    try:
        runpy.run_path(argv[0], run_name='__main__')
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> int:
    """Answer requests until there are no more; in a fork, return the tool's exit status."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            # A shell that starts the tests in the background hands down an ignored SIGINT.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(request['cwd'])
            for name, number in (('stdout', 1), ('stderr', 2)):
                file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            return run_forked(request['argv'])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(serve())
