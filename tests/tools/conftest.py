"""Running the tools: as real processes, and many of them; and small videos for them to work on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mmnas_video.datasets import DemoOptions, make_demo

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg'}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class Done(NamedTuple):
    """What a finished process left: exit status and texts."""

    code: int
    out: str
    err: str

    def ok(self) -> 'Done':
        """Itself; fails the test with the process's own words if it failed."""
        assert self.code == 0, f'exit status {self.code}\n{self.out[-1500:]}\n{self.err[-3000:]}'
        return self

    def refused(self, *words: str) -> str:
        """The one line of a refusal (exit status 2): every one of ``words`` stands in it, and no traceback
        beside it."""
        lines = [line for line in self.err.splitlines() if line.startswith('error:')]
        assert self.code == 2 and len(lines) == 1, f'exit status {self.code}\n{self.out[-800:]}\n{self.err[-3000:]}'
        assert 'Traceback' not in self.err and self.err.rstrip().splitlines()[-1] == lines[0], self.err[-3000:]
        missing = [word for word in words if word not in lines[0]]
        assert not missing, f'{missing} not in: {lines[0]}'
        return lines[0]


Tool = Callable[..., Done]


@pytest.fixture(scope='session')
def process() -> Tool:
    """Run ``python ARGS...`` in a fresh interpreter, in the repository's root."""

    def run(*args: object) -> Done:
        done = subprocess.run(
            [sys.executable, *map(str, args)], cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=300
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope='session')
def tool(tmp_path_factory) -> Tool:
    """As ``process``, in a fork of one that has imported the library: without the seconds that this takes."""
    folder = tmp_path_factory.mktemp('forks')
    server = subprocess.Popen(
        [sys.executable, '-m', 'tests.tools.forking'],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**ENV, 'PYTHONPATH': str(ROOT)},
    )

    def run(*args: object) -> Done:
        files = {name: str(folder / name) for name in ('stdout', 'stderr')}
        request = {'argv': [str(arg) for arg in args], 'cwd': str(ROOT), **files}
        server.stdin.write(json.dumps(request) + '\n')
        server.stdin.flush()
        code = int(server.stdout.readline())
        return Done(code, *(Path(files[name]).read_text() for name in ('stdout', 'stderr')))

    yield run
    server.stdin.close()
    server.wait(timeout=30)


@pytest.fixture(scope='session')
def videos(tmp_path_factory) -> Path:
    """A motion set of 4 classes, 24 + 8 + 12 real mp4 files."""
    folder = tmp_path_factory.mktemp('data')
    make_demo(
        folder,
        DemoOptions(motion_classes=4, motion_clips=(6, 2, 3)),
        sets=('motion',),
        report=lambda text: None,
    )
    return folder / 'motion'


@pytest.fixture(scope='session')
def tiny(videos) -> Callable[..., list[str]]:
    """Overrides that make a demo config small, as ``KEY=VALUE`` words, each key after ``prefix``."""

    def options(prefix: str = '', epochs: int = 1) -> list[str]:
        words = {f'{loader}.dataset.dataset.data_root': f'{videos}/' for loader in LOADERS}
        words.update(
            {
                'train_dataloader.batch_size': 4,
                'model.cls_head.num_classes': 4,
                'train_cfg.max_epochs': epochs,
                'train_cfg.val_interval': epochs,
            }
        )
        return [f'{prefix}{key}={value}' for key, value in words.items()]

    return options


#: Further overrides of the demo's search.
SEARCH = (
    'custom_hooks.0.num_archs=2',
    'custom_hooks.0.mode=joint',
    'custom_hooks.0.warmup_epochs=0',
    'custom_hooks.0.calibration_clips=4',
)
