"""What must be installed: only an installation can mend it. Each probe says what it found, or None."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from . import packages

#: From this release on, and below that.
MMACTION2 = ((1, 2), (1, 3))
MMCV = ((2, 0), (2, 2))  # mmaction2 1.2.0 asserts mmcv < 2.2.0 in its __init__
TORCH_FROM = (2, 6)  # the first whose torch.load can be told, by name, which classes of MMEngine's are safe
TORCHVISION = 15  # torch 2.N and torchvision 0.(N + 15) are made for one another


def probe_torch() -> str | None:
    """No torch, or one that reads no checkpoint of MMEngine's without running the code in it."""
    version = packages.version_of('torch')
    if not packages.is_importable('torch') or version is None:
        return 'torch is not installed'
    return f'torch {version}' if packages.numbers(version) < TORCH_FROM else None


def probe_package(module: str, distribution: str) -> Callable[[], str | None]:
    """A probe of a package that only has to be there."""
    return lambda: None if packages.is_importable(module) else f'{distribution} is not installed'


def probe_mmaction2() -> str | None:
    """None, or one of another interface."""
    if not packages.is_importable('mmaction'):
        return 'mmaction2 is not installed'
    return _outside('mmaction2', packages.version_of('mmaction2'), MMACTION2)


def _outside(name: str, version: str | None, bounds: tuple[tuple[int, ...], tuple[int, ...]]) -> str | None:
    """The package's name and version, if it is known and not within the bounds."""
    return f'{name} {version}' if version and not bounds[0] <= packages.numbers(version) < bounds[1] else None


def probe_mmcv() -> str | None:
    """None, two in one folder, or one that MMAction2 refuses."""
    if not packages.is_importable('mmcv'):
        return 'no mmcv is installed'
    full, lite = packages.version_of('mmcv'), packages.version_of('mmcv-lite')
    if full and lite:
        return f"mmcv {full} and mmcv-lite {lite} are both installed and overwrite each other's files"
    return _outside('mmcv', full or lite, MMCV)


def probe_mmcv_ops() -> str | None:
    """A full mmcv whose compiled operators were built for another torch.

    MMEngine imports them whenever it builds an optimiser, as soon as it sees the compiled file.
    """
    folder = packages.folder_of('mmcv')
    if folder is None or probe_mmcv() is not None or not list(folder.glob('_ext.*')):
        return None
    try:
        importlib.import_module('mmcv._ext')
    except ImportError as error:
        return f'mmcv {packages.version_of("mmcv")}: {error}'
    return None


def _wanted_torchvision() -> str:
    version = packages.version_of('torch') or ''
    major, minor = (*packages.numbers(version), 0, 0)[:2]
    return f'torchvision==0.{minor + TORCHVISION}.*' if major == 2 else f'the torchvision made for torch {version}'


def probe_torchvision() -> str | None:
    """None, or one that was made for another torch."""
    if not packages.is_importable('torch'):
        return None  # one message at a time: that of torch
    if not packages.is_importable('torchvision'):
        return f'no torchvision beside torch {packages.version_of("torch")}; {_wanted_torchvision()} belongs to it'
    try:
        importlib.import_module('torchvision')
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        # A mismatched pair fails here with "operator torchvision::nms does not exist".
        have = f'torchvision {packages.version_of("torchvision")} beside torch {packages.version_of("torch")}'
        return f'{have}: {error}; {_wanted_torchvision()} belongs to it'
    return None


def probe_pkg_resources() -> str | None:
    """A setuptools that has it no more."""
    if packages.is_importable('pkg_resources'):
        return None
    return f'setuptools {packages.version_of("setuptools") or "is not installed"}'
