"""Two real processes under torchrun (gloo) against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def search(work_dir: Path, method: str, ranks: int) -> list[dict]:
    """What each rank ended with; 10 clips a step over all ranks."""
    work_dir.mkdir()
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}'] if ranks > 1 else []
    cmd = [sys.executable, *launch, '-m', 'tests.search.ranks', str(work_dir), method, str(10 // ranks)]
    done = subprocess.run(
        cmd,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((work_dir / f'rank{rank}.json').read_text()) for rank in range(ranks)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'forwards'),
    [
        ('PARSECSearchHook', 3 + 3),
        ('UniformSearchHook', 2),
        ('ConflictAwareSearchHook', 2 + 2),
        ('EntanglementSearchHook', 2 + 2 + 1),
        ('DARTSSearchHook', 4 + 1),
    ],
)
def test_two_ranks_equal_one(method, forwards, tmp_path):
    """The same global samples give the same α and weights. Counting forwards rejects a method that is silently skipped
    under DistributedDataParallel; the comparison rejects weights from one rank's likelihoods, unaveraged gradients,
    a projection before the average (conflict-aware), (DARTS of second order) a virtual step along one rank's own
    gradient, and (distribution gap) local weights that are each rank's own."""
    (one,) = search(tmp_path / 'one', method, 1)
    first, second = search(tmp_path / 'two', method, 2)
    assert one['conflicts'] == first['conflicts'] and any(one['conflicts']) == (method == 'ConflictAwareSearchHook')
    assert first['forwards'] == second['forwards'] == one['forwards'] == [forwards] * 6
    assert first['weight'] == second['weight'] and first['alpha'] == second['alpha'] and first['arch'] == second['arch']
    torch.testing.assert_close(torch.tensor(first['weight']), torch.tensor(one['weight']), rtol=0, atol=1e-6)
    assert first['local'] == second['local'] and bool(one['local']) == (method == 'EntanglementSearchHook')
    for ours, theirs in zip(first['local'], one['local'], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-6)
    if one['alpha'] is not None:
        torch.testing.assert_close(torch.tensor(first['alpha']), torch.tensor(one['alpha']), rtol=0, atol=1e-6)
        assert first['arch'] == one['arch']
