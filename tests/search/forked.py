"""Worlds of several ranks in processes that are forked: importing torch and MMAction2 takes longer than most tests."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

ROOT = Path(__file__).parents[2]


def run_worlds(module: str, folder: Path, worlds: Sequence[int], **env: str) -> dict[int, list[Any]]:
    """Run ``python -m MODULE FOLDER``; number of ranks to what each of them has left in ``RANKS-RANK.pt``."""
    done = subprocess.run(
        [sys.executable, '-m', module, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **env},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        ranks: [torch.load(folder / f'{ranks}-{rank}.pt', weights_only=True) for rank in range(ranks)]
        for ranks in worlds
    }


def fork_worlds(rank_main: Callable[[Path, int, int], None], folder: Path, worlds: Sequence[int]) -> list[set[int]]:
    """Fork the ranks of each world, one world after the other; returns the exit statuses of each, 0 for a rank that
    ended well. The next world begins only if all did, or were killed."""
    ended: list[set[int]] = []
    for ranks in worlds:
        children = []
        for rank in range(ranks):
            children.append(os.fork())
            if not children[-1]:
                try:
                    rank_main(folder, rank, ranks)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                sys.stdout.flush()
                os._exit(0)
        ended.append({os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children})
        if 1 in ended[-1]:
            break
    return ended


def join_world(folder: Path, rank: int, ranks: int) -> None:
    """Be one of several ranks (gloo); of one, do nothing."""
    if ranks > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
        store, limit = f'file://{folder}/store{ranks}', datetime.timedelta(seconds=60)
        dist.init_process_group('gloo', init_method=store, rank=rank, world_size=ranks, timeout=limit)
