"""Two real processes under torchrun (gloo) against one: the same clips, gradients, heads and accuracies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def train(work_dir, root, ranks, find_unused=True):
    """Start the ranks; the finished process, and what each wrote."""
    work_dir.mkdir()
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={ranks}'] if ranks > 1 else []
    command = [sys.executable, *launch, '-m', 'tests.datasets.joint_ranks']
    done = subprocess.run(
        [*command, str(work_dir), str(root), str(ranks), str(find_unused)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
    )
    files = [work_dir / f'rank{rank}.json' for rank in range(ranks)]
    return done, [json.loads(file.read_text()) for file in files if file.is_file()]


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path, demo_root):
    """8 steps over 3 heads. Rejects a DistributedDataParallel that waits for the heads which have no gradient, ranks
    that draw different datasets, clips that come twice or not at all, and validation that counts one rank's."""
    done, (one,) = train(tmp_path / 'one', demo_root, 1)
    assert done.returncode == 0, done.stderr[-3000:]
    done, both = train(tmp_path / 'two', demo_root, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = both
    assert len(one['seen']) == 9 // 4 + 15 // 6 + 28 // 6
    for step, (task, names, _) in one['seen'].items():
        (task1, names1, _), (task2, names2, _) = first['seen'][step], second['seen'][step]
        assert task == task1 == task2 and sorted(names) == sorted(names1 + names2)
    assert first['weights'] == second['weights']
    for name, value in one['weights'].items():
        torch.testing.assert_close(
            torch.tensor(first['weights'][name]), torch.tensor(value), rtol=0, atol=2e-5, msg=name
        )
    assert first['metrics'] == one['metrics'] and len(one['metrics']) == 8


@pytest.mark.slow
def test_ranks_that_would_wait_are_refused(tmp_path, demo_root):
    """Rejects torch's error in the second step, which names the parameters by numbers."""
    done, _ = train(tmp_path / 'run', demo_root, 2, find_unused=False)
    assert done.returncode and 'find_unused_parameters: found False, expected True on several ranks' in done.stderr
