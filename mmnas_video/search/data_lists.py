"""Which data lists a run reads, and their hashes: a result is of these videos with these labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Where a config names datasets; a search hook may have an ``arch_dataloader`` of its own.
KEYS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'custom_hooks')


def data_lists(cfg: Mapping[str, Any]) -> list[dict[str, str]]:
    """The annotation files that a config's datasets name, each once, in the order of the config.

    Args:
        cfg: a config; its datasets name ``ann_file`` and ``data_root`` as MMEngine's do, however deeply nested.

    Returns:
        ``file`` (as the config has it, below ``data_root``) and ``sha256`` of its bytes in hex. Files that are not
        there are left out: that they are missing is for the dataset to say.
    """
    found: dict[str, str] = {}
    for path in (path for key in KEYS for path in _named(cfg.get(key))):
        if path.as_posix() not in found and path.is_file():
            found[path.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return [{'file': file, 'sha256': digest} for file, digest in found.items()]


def _named(node: Any) -> Iterator[Path]:
    if isinstance(node, Mapping):
        file, root = node.get('ann_file'), node.get('data_root')
        if isinstance(file, str) and file:
            yield Path(root, file) if isinstance(root, str) else Path(file)  # an absolute file stays as it is
        for value in node.values():
            yield from _named(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _named(value)
