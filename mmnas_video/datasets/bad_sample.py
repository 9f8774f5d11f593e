"""Files that cannot be read: named, skipped and counted, never replaced by another.

A dataset returns a :class:`BadSample` for such a file; :func:`skip_bad_collate` takes it out of the batch and
leaves its name there; a :class:`BadSampleCounter` takes the names out of the batch before a model sees it,
and gives up when they are too many. :class:`BadSampleHook` does the last for MMEngine's loops; a stream of
one's own calls ``counter.take``. Of a batch without any good file, ``redraw.py`` says what comes in training, and
:class:`BadSampleHook` skips it elsewhere.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mmengine.logging import print_log
from mmengine.registry import (
    FUNCTIONS,
)  # the root: build_dataloader looks a collate function up there and nowhere else

from mmnas_video.errors import ConfigError, StackError

from .checks import is_local

KEY = 'bad_samples'  # of a batch: list of (path, reason)
#: Share of a dataset's clips that may be bad, unless a config says otherwise.
MAX_SHARE = 0.01
LISTED = 20  # bad files that an error names; the log has named all
# Raised by a wrong pipeline or a missing package, whatever the file: never taken for a bad file.
MISTAKES = (ImportError, NameError, TypeError, KeyError, MemoryError, ConfigError, StackError)
WHERE = re.compile(r'\[\d\d:\d\d:\d\d\] \S+:\d+: ')  # decord: the time, and a line of its source


@dataclass(frozen=True, eq=False)
class BadSample(Mapping):
    """Stands where a sample should, and says which file could not be read and why.

    It is a mapping without content, because samples are: every collate function that does not know it looks a
    key up, and that look-up raises an error that names the file.
    """

    path: str
    reason: str

    def _refuse(self) -> NoReturn:
        raise ConfigError(
            f"collate_fn: cannot read '{self.path}' ({self.reason}), and this collate function does not "
            'skip bad files. '
            "Set collate_fn=dict(type='skip_bad_collate') and add dict(type='BadSampleHook') to "
            'custom_hooks, or mend the file.'
        )

    def __getitem__(self, name: str) -> NoReturn:
        self._refuse()

    def __iter__(self) -> Iterator[str]:
        self._refuse()

    def __len__(self) -> int:
        self._refuse()


@FUNCTIONS.register_module()
def skip_bad_collate(samples: Sequence[Any], collate: str = 'pseudo_collate') -> dict[str, Any]:
    """Collate what could be read; name the rest under ``bad_samples``, a key that is there only if need be.

    Args:
        samples: what the dataset gave; some may be :class:`BadSample`.
        collate: registered name of the function that collates the others. If there are none, the batch has ``inputs``
            and ``data_samples`` without content (:func:`is_empty`).
    """
    bad = [(sample.path, sample.reason) for sample in samples if isinstance(sample, BadSample)]
    good = [sample for sample in samples if not isinstance(sample, BadSample)]
    batch = FUNCTIONS.get(collate)(good) if good else dict(inputs=[], data_samples=[])
    if bad:
        batch[KEY] = bad
    return batch


def is_empty(batch: Any) -> bool:
    """Whether nothing of a batch could be read."""
    return isinstance(batch, dict) and 'inputs' in batch and len(batch['inputs']) == 0


class BadSampleCounter:
    """Takes the names of bad files out of the batches of one dataset, and gives up when they are too many.

    Args:
        key: config key of the data, for messages, such as ``'train_dataloader'``.
        total: clips in the dataset.
        max_share: share of ``total`` that may be bad, 0 to 1. A file counts once, however often it is met.

    Each process counts what it meets itself.
    """

    def __init__(self, key: str, total: int, max_share: float = MAX_SHARE) -> None:
        if not 0 <= max_share <= 1:
            raise ConfigError(f'max_bad_share: found {max_share}, expected a number from 0 to 1.')
        self.key, self.total, self.max_share = key, total, max_share
        self.bad: dict[str, str] = {}  # path → reason

    def take(self, batch: Any, needed: bool = True) -> None:
        """Remove ``bad_samples`` from ``batch`` (in place), log each file that is new, and count it.

        Args:
            batch: as :func:`skip_bad_collate` gives it.
            needed: whether a batch without a clip is an error.

        Raises:
            ConfigError: more than the allowed share of the clips is bad, or nothing of a batch that is needed could be
                read, nor what was drawn in its place; lists them.
        """
        found = batch.pop(KEY, ()) if isinstance(batch, dict) else ()
        for path, reason in found:
            if path not in self.bad:
                self.bad[path] = reason
                counted = f'bad file {len(self.bad)} of {self.total} clips'
                print_log(f"{self.key}: skipped '{path}': {reason} ({counted})", 'current', logging.WARNING)
        if found and len(self.bad) > self.max_share * self.total:
            raise ConfigError(
                f'{self.key}: found {len(self.bad)} of {self.total} clips that cannot be read, expected '
                f'at most a share of {self.max_share} (max_bad_share of BadSampleHook): '
                f'{_listing(list(self.bad.items()))}. '
                'Mend them, take them out of the annotation list, or allow more.'
            )
        if needed and is_empty(batch):
            raise ConfigError(
                f'{self.key}: found a batch in which no file can be read, nor any of those drawn in its place: '
                f'{_listing(found)}. Mend these files, or take them out of the annotation list.'
            )


def bad_reason(path: str, error: Exception) -> str:
    """One short line for the log, whatever a decoder put into its message."""
    if is_local(path) and not os.path.exists(path):
        return 'no such file'
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return 'empty file'
    line = WHERE.sub('', str(error).split('\n')[0])[:200]
    return f'{type(error).__name__}: {"".join(c if c.isprintable() else "?" for c in line)}'


def _listing(bad: Sequence[tuple[str, str]]) -> str:
    more = f'; and {len(bad) - LISTED} more' if len(bad) > LISTED else ''
    return '; '.join(f"'{path}' ({reason})" for path, reason in bad[:LISTED]) + more
