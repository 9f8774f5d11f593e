"""The library as somebody else has it: its wheel, in an environment of its own, without the checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
#: What the wheel is made of; the copy leaves no build folder in the checkout.
SOURCES = ('mmnas_video', 'configs', 'tools', 'requirements', 'setup.py', 'pyproject.toml', 'MANIFEST.in')
SOURCES += ('README.md', 'LICENSE', 'model-index.yml')
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def run(command: list[str], **options: object) -> str:
    """Run a command to its end; returns what it printed, and fails the test with it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, f'{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
    return done.stdout


class Host(NamedTuple):
    """An environment in which the wheel is installed, and a folder of somebody else's."""

    python: Path
    folder: Path

    def shell(self, commands: str) -> str:
        """Run shell commands as this environment's user does: nothing leads to the checkout."""
        env = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHONHOME')}
        env |= {'PATH': f'{self.python.parent}:{env["PATH"]}', 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg'}
        return run(['bash', '-euo', 'pipefail', '-c', commands], cwd=self.folder, env=env)


class Page(NamedTuple):
    """The code blocks of a page: files by their names, and shell commands in order."""

    files: dict[str, str]
    commands: list[str]


@pytest.fixture(scope='session')
def page() -> Page:
    """docs/reuse.md."""
    blocks = BLOCK.findall((ROOT / 'docs' / 'reuse.md').read_text(encoding='utf-8'))
    files = {text.split('\n', 1)[0].removeprefix('# '): text for kind, text in blocks if kind == 'python'}
    return Page(files, [text for kind, text in blocks if kind == 'bash'])


@pytest.fixture(scope='session')
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built without a network."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
        else:
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', 'wheel', '-q', '--no-index', '--no-deps']
    run([*pip, '--no-build-isolation', '-w', str(out), str(source)])
    (built,) = out.glob('*.whl')
    return built


@pytest.fixture(scope='session')
def host(wheel, page, tmp_path_factory) -> Host:
    """A new environment that sees the packages of this one but not the checkout, and in it the wheel."""
    home = tmp_path_factory.mktemp('host')
    run([sys.executable, '-m', 'venv', '--without-pip', str(home / 'env')])
    python = home / 'env' / 'bin' / 'python'
    paths = (home / 'env' / 'lib').glob('python*/site-packages')
    # A plain path: the .pth files in there, such as that of the editable install, are not read.
    next(paths).joinpath('others.pth').write_text(sysconfig.get_path('purelib') + '\n')
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--python', str(python), 'install', '-q']
    run([*pip, '--no-index', '--no-deps', '--ignore-installed', str(wheel)])
    folder = home / 'project'
    for name, text in page.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding='utf-8')
    return Host(python, folder)
