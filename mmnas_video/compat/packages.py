"""Which packages are there, found without importing them."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path


def is_importable(name: str) -> bool:
    """Whether a top-level package can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module put into sys.modules by hand, without a spec
        return True


def host_present() -> bool:
    """Whether there is an MMEngine on torch to register with; ``mmnas_video.space`` needs neither."""
    return is_importable('torch') and is_importable('mmengine')


def version_of(*distributions: str) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def numbers(version: str) -> tuple[int, ...]:
    """``'2.11.0+cpu'`` → ``(2, 11)``: enough to compare releases of the packages named here."""
    return tuple(int(number) for number in re.findall(r'\d+', version)[:2])


def folder_of(package: str) -> Path | None:
    """Where a top-level package lies, found without importing it."""
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None
