"""The kernels under Triton's interpreter, in a process of their own for each file of ``interpreted/``.

The interpreter must be on before Triton's kernels are defined, and would slow down every other test of the process.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('triton', reason='needs triton, which torch brings along on Linux')

HERE = Path(__file__).parent
FILES = sorted(path.name for path in (HERE / 'interpreted').glob('test_*.py'))


@pytest.mark.parametrize('name', FILES)
def test_under_the_interpreter(name):
    """Runs every test of the file and shows what failed; none collected (exit 5) is a failure too."""
    left_out = ('PYTEST_ADDOPTS', 'MMNAS_KERNELS')
    env = {key: value for key, value in os.environ.items() if key not in left_out}
    env |= {'TRITON_INTERPRET': '1', 'CUDA_VISIBLE_DEVICES': ''}
    options = ['-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', '--durations=5']
    command = [sys.executable, '-m', 'pytest', *options, str(HERE / 'interpreted' / name)]
    run = subprocess.run(command, cwd=HERE.parents[1], env=env, capture_output=True, text=True)
    print(run.stdout[-2000:])
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
