"""SearchRecord: the files a search leaves in ``WORK_DIR/search``."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from mmnas_video.cost import Cost, TimedCost
from mmnas_video.errors import ConfigError, RunError
from mmnas_video.space import Arch, SearchSpace, arch_to_json, remove_unfinished, write_text_atomic

#: Packages whose versions stand in arch.json.
VERSIONS = ('torch', 'mmengine', 'mmaction2', 'mmnas-video')
#: Of the cost in an arch file, without and with a latency table.
UNIT, TIMED = 'MACs of one clip, parameters', ', ms of a batch by the latency table'


class SearchRecord:
    """``space.json``, ``history.jsonl`` (append-only) and ``arch.json``.

    The history holds nothing that differs between two equal runs (no times, no paths), so that a resumed search can be
    compared with an uninterrupted one byte by byte.

    Args:
        folder: ``WORK_DIR/search``.
        space: what is searched.
        description: further keys for ``space.json`` (:meth:`Searchable.describe`).
        resuming: keep the history that is there; :meth:`cut` shortens it to a checkpoint's length. A search that begins
            anew sets aside what an earlier one left, and ``last_checkpoint`` beside the folder: should it be killed
            before its first checkpoint, a resume must not go on from the earlier one's.

    Raises:
        ConfigError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, space: SearchSpace, resuming: bool, description: Mapping[str, Any] | None = None
    ) -> None:
        self.folder, self.space = Path(folder), space
        self.history = self.folder / 'history.jsonl'
        try:
            if not resuming:
                self._set_aside()
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.folder)
            write_text_atomic(
                self.folder / 'space.json', json.dumps({**space.to_dict(), **(description or {})}, indent=1) + '\n'
            )
            # By lines: what a killed search still held would be written late, into the history of the resumed one.
            self._file = open(self.history, 'a', buffering=1, encoding='utf-8')  # noqa: SIM115 - for the whole search
        except (OSError, RunError) as error:
            raise ConfigError(
                f'work_dir: cannot write to {str(self.folder)!r} ({error}); expected a folder that can be written'
            ) from None

    def _set_aside(self) -> None:
        """What an earlier search left moves to ``search-1`` and ``last_checkpoint-1`` (2, 3, ...); nothing is
        overwritten. The history goes first: a checkpoint without one is refused, a history without one is cut to 0."""
        last = self.folder.with_name('last_checkpoint')
        old = [path for path, found in ((self.folder, self.history), (last, last)) if found.exists()]
        number = 1
        while any(path.with_name(f'{path.name}-{number}').exists() for path in (self.folder, last)):
            number += 1
        for path in old:
            path.rename(path.with_name(f'{path.name}-{number}'))

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line to the history. Numbers that are not finite become null: JSON has none.

        Raises:
            RunError: the line cannot be written. A resume cuts off what of it stands there.
        """
        try:
            self._file.write(json.dumps({k: _finite(v) for k, v in line.items()}) + '\n')
        except OSError as error:
            raise self._failed(error) from None

    def length(self) -> int:
        """Bytes of the history, all of them on the disk: a checkpoint that names them may outlast a power cut.

        Raises:
            RunError: what is buffered cannot be written.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from None
        return self.history.stat().st_size

    def _failed(self, error: OSError) -> RunError:
        return RunError(
            f'{str(self.history)!r}: cannot be written ({error.strerror or error}); the last checkpoint is intact'
        )

    def cut(self, length: int) -> None:
        """Shorten the history to a checkpoint's length.

        Raises:
            ConfigError: the file is shorter than the checkpoint says, or has no end of a line there: it is another
                search's.
        """
        found = self.length()
        if found < length:
            raise ConfigError(
                f'{str(self.history)!r}: found {found} bytes, expected at least the {length} that the '
                'checkpoint was written with; resume in the work_dir of the search, or start anew'
            )
        with open(self.history, 'rb') as file:
            file.seek(max(length - 1, 0))
            if length and file.read(1) != b'\n':
                raise ConfigError(
                    f'{str(self.history)!r}: found no end of a line after {length} bytes, where the checkpoint was '
                    'written, expected the history of the same search; resume in its work_dir, or start anew'
                )
        self._file.truncate(length)
        self._file.seek(0, 2)

    def write_arch(
        self,
        arch: Arch,
        cost: Cost | TimedCost,
        shape: tuple[int, ...],
        search: Mapping[str, Any],
        name: str = 'arch.json',
    ) -> Path:
        """Write an arch file, by default ``arch.json``, and return its path."""
        unit = UNIT + (TIMED if isinstance(cost, TimedCost) else '')
        extra = {
            'cost': {**cost._asdict(), 'unit': unit, 'shape': list(shape)},
            'search': {**search, 'versions': _versions(), 'commit': _commit()},
        }
        path = self.folder / name
        write_text_atomic(path, arch_to_json(arch, self.space.identity, extra))
        return path

    def close(self) -> None:
        """Write out and close the history."""
        self._file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _commit() -> str | None:
    """Commit of the checkout that this code lies in, None for an installed package."""
    try:
        command, here = ['git', 'rev-parse', 'HEAD'], Path(__file__).parent
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
