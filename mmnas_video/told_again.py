"""A signal to end that is not lost where Python ignores what its handler raises."""

import os
import sys
import threading
from typing import Any

#: Seconds until it is sent again: handled at once, it would be ignored at the same place.
SOON = 0.05


def tell_again_if_ignored(number: int) -> None:
    """To be called by the handler of a signal before it raises ``SystemExit(128 + number)``: have the signal sent again
    if that is ignored.

    Python does so in a ``__del__``, and in what it calls after a fork. There a signal is handled that came while a
    worker of a DataLoader was forked, which takes a large process some hundredths of a second.
    """
    before = sys.unraisablehook

    def tell_again(found: Any) -> None:
        if found.exc_type is not SystemExit or found.exc_value.code != 128 + number:
            before(found)
            return
        sys.unraisablehook = before
        timer = threading.Timer(SOON, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = tell_again
