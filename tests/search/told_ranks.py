"""Run by test_preemption.py: two ranks that are told to end, of which the first takes its time to write."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mmengine.registry import init_default_scope

from mmnas_video.launch import train
from mmnas_video.search import checkpoint

from .forked import fork_worlds, join_world
from .test_preemption import Signal
from .toy import config

#: Seconds that a checkpoint takes.
SLOW = 2.0


def rank_main(folder: Path, rank: int, ranks: int) -> None:
    """End after the second step, and look whether what a resume needs is there."""
    join_world(folder, rank, ranks)
    put = checkpoint.AtomicBackend.put
    checkpoint.AtomicBackend.put = lambda *args: (time.sleep(SLOW), put(*args))
    cfg = config(dict(type='UniformSearchHook'), 1, str(folder / 'run'), launcher='pytorch')
    cfg.custom_hooks.append(dict(type=Signal, point='step', at=2))
    try:
        train(cfg)
    except SystemExit as end:
        last = folder / 'run/last_checkpoint'
        (folder / f'{rank}.json').write_text(json.dumps([end.code, last.is_file() and last.read_text()]))


if __name__ == '__main__':
    init_default_scope('mmaction')
    fork_worlds(rank_main, Path(sys.argv[1]), [2])
