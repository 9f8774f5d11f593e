"""What MMEngine imports of Python's library that newer Pythons have no more."""

from __future__ import annotations

import importlib

from . import packages


def probe_distutils() -> str | None:
    """None to be found, though setuptools has one: its hook for that works only where it lies in site-packages."""
    if packages.is_importable('distutils') or not packages.is_importable('setuptools'):
        return None
    return 'no distutils, and setuptools not where Python starts with it'


def mend_distutils() -> None:
    """Let setuptools put its own in the place."""
    importlib.import_module('setuptools')
