"""Progress of what takes long within a step: a line in the log every ten seconds, with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from logging import Logger
from typing import TypeVar

from mmengine.dist import is_main_process

Item = TypeVar('Item')

#: Seconds between two lines; what is done sooner has none.
EVERY = 10


def told(items: Sequence[Item], what: str, logger: Logger) -> Iterator[Item]:
    """Each of the items, with ``WHAT: 12/50, 95 s left`` in the first rank's log while they are worked off.

    Args:
        items: what is worked off.
        what: the line's beginning.
        logger: of the run.
    """
    start = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= EVERY and done < len(items) and is_main_process():
            said = now
            logger.info(f'{what}: {done}/{len(items)}, {(now - start) / done * (len(items) - done):,.0f} s left')
