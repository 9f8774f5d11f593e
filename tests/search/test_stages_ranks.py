"""A search in stages in two real processes under torchrun (gloo) against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def search(work_dir: Path, ranks: int) -> list[dict]:
    """What each rank ended with; 10 clips a step over all ranks."""
    work_dir.mkdir()
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}'] if ranks > 1 else []
    done = subprocess.run(
        [sys.executable, *launch, '-m', 'tests.search.ranks_stages', str(work_dir), str(10 // ranks)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((work_dir / f'rank{rank}.json').read_text()) for rank in range(ranks)]


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path):
    """Rejects a rank that reads the stage before its files are there, ranks that go on from different networks, and
    weights that one rank alone inherits."""
    (one,) = search(tmp_path / 'one', 1)
    first, second = search(tmp_path / 'two', 2)
    assert first == second
    for a, b in zip(one['stages'], first['stages'], strict=True):
        assert (a['arch'], a['chosen'], a['space']) == (b['arch'], b['chosen'], b['space'])
        assert a['entropy'] == pytest.approx(b['entropy'], abs=1e-6)
    torch.testing.assert_close(torch.tensor(first['weight']), torch.tensor(one['weight']), rtol=0, atol=1e-6)
