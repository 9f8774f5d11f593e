"""Scores of candidates on the disk as soon as they are known: a kill costs the candidate that was being scored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.runner import Runner

from mmnas_video.errors import RunError
from mmnas_video.space import write_text_atomic

from .config_text import config_text

#: Below ``WORK_DIR/search``: what each rank has scored, and what earlier runs have.
OWN, EARLIER = 'scored-{}.jsonl', 'scored.jsonl'
#: Keys of a config that say nothing of what a score is.
ASIDE = ('work_dir', 'resume', 'launcher', 'log_level', 'experiment_name')

Sums = dict[tuple[int, ...], list[float]]


class KeptScores:
    """What is known of the candidates of one generation, or of a random search at the end.

    A line is a candidate: its indices in the space, and the sums that its score is made of. A file's first line says of
    which step of which config these are: what another has left is not read. Every rank writes a file of its own; what
    other machines have on disks that the first rank does not see is scored again.

    Args:
        runner: of the search, in the step.
    """

    def __init__(self, runner: Runner) -> None:
        self.folder = Path(runner.work_dir) / 'search'
        cfg = Config({key: value for key, value in runner.cfg.to_dict().items() if key not in ASIDE})
        self._of = json.dumps({'step': runner.iter, 'config': zlib.crc32(config_text(cfg).encode())}) + '\n'
        self._file: TextIO | None = None

    def read(self) -> Sums:
        """Indices to sums, on every rank the same; every rank has to call this, and adds to it afterwards.

        Raises:
            RunError: nothing can be written.
        """
        found: Sums = {}
        if is_main_process():
            files = [self.folder / EARLIER, *sorted(self.folder.glob(OWN.format('*')))]
            found = {indices: sums for file in files for indices, sums in self._lines(file)}
            text = self._of + ''.join(_line(indices, sums) for indices, sums in found.items())
            write_text_atomic(self.folder / EARLIER, text)
            for file in files[1:]:
                file.unlink(missing_ok=True)
        return all_gather_object(found)[0]

    def _lines(self, file: Path) -> Iterator[tuple[tuple[int, ...], list[float]]]:
        try:
            first, *lines = file.read_text(encoding='utf-8').splitlines(keepends=True)
        except (OSError, UnicodeDecodeError, ValueError):
            return
        for line in lines if first == self._of else ():
            try:
                indices, sums = json.loads(line)
            except ValueError:  # a kill or a power cut has left half of it
                continue
            yield tuple(indices), sums

    def add(self, indices: Sequence[int], sums: Sequence[float]) -> None:
        """Write what this rank has found of a candidate.

        Raises:
            RunError: it cannot be written.
        """
        path = self.folder / OWN.format(get_rank())
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = open(path, 'w', buffering=1, encoding='utf-8')  # noqa: SIM115 - until close()
                self._file.write(self._of)
            self._file.write(_line(indices, sums))
        except OSError as error:
            raise RunError(
                f'{str(path)!r}: cannot be written ({error.strerror or error}); the last checkpoint is intact'
            ) from None

    def close(self) -> None:
        """Close this rank's file; it stays until the next step or the end of the search."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(indices: Sequence[int], sums: Sequence[float]) -> str:
    return json.dumps([list(indices), list(sums)]) + '\n'


def remove_scores(runner: Runner) -> None:
    """Remove what was kept, on the first rank: the search has ended, and its history has all scores."""
    if is_main_process():
        for file in (Path(runner.work_dir) / 'search').glob('scored*.jsonl'):
            file.unlink(missing_ok=True)
