"""What a search has left behind, read from its files alone (no model, no torch).

``WORK_DIR/search/`` holds ``space.json``, ``arch.json``, ``history.jsonl`` and, of a demo after its comparison,
``table.json``; ``WORK_DIR/retrain/`` what the found network reached when it was trained from scratch.
A search may be under way, or may have been killed in the middle of a line: whatever cannot be read is left
out and said in :attr:`RecordedSearch.notes`, so that a report can still be drawn from the rest.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, Choice, SearchSpace

#: At most this many step lines are parsed. A published search has 10^5 to 10^6, and a curve of 1,000 pixels
#: shows no more; the lines are chosen evenly, so curves keep their shape and a report its cost.
MAX_STEPS = 2000
#: In the work dir of a retraining: what it trains, and what it ends with. (A ``test.json`` beside them is of
#: ``tools/test.py``, which may have tested a checkpoint on the way.)
TRAINED, TESTED = 'trained.json', 'tested.json'


@dataclass(frozen=True)
class RecordedSearch:
    """One search, as far as it has got.

    Attributes:
        work_dir: the work directory.
        space: the space, or None if ``space.json`` is not there.
        described: what ``space.json`` says beside the choices (:meth:`~mmnas_video.entangle.Searchable.describe`).
        arch: the chosen arch: from ``arch.json``, else the most probable one of the last epoch, else None.
        arch_source: ``'arch.json'``, ``'epoch 12'`` or ``''``.
        info: the ``search`` object of ``arch.json`` (method, seed, budget, versions, commit...).
        cost: the ``cost`` object of ``arch.json`` (macs, params, shape).
        steps: step lines, evenly thinned to at most twice :data:`MAX_STEPS`.
        steps_total: number of step lines in the file.
        epochs: epoch lines in order, one per epoch.
        candidates: candidate lines, all of them.
        rows: rows of the comparison table; one of a network that was not trained again has ``"weights": "inherited"``.
        stages: of a search in stages, what each of them ended with (``stages.json``); the rest is then the last one's.
        retrain: of a search in stages, how its config wants what is found trained (``stages.json``).
        tested: test metrics of the retraining, if it is of this arch.
        label: what it is called beside others, if not by its work directory's own name.
        notes: what is missing or could not be read, in plain sentences.
    """

    work_dir: Path
    space: SearchSpace | None = None
    described: Mapping[str, Any] = field(default_factory=dict)
    arch: Arch | None = None
    arch_source: str = ''
    info: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[dict[str, Any], ...] = ()
    steps_total: int = 0
    epochs: tuple[dict[str, Any], ...] = ()
    candidates: tuple[dict[str, Any], ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    stages: tuple[dict[str, Any], ...] = ()
    retrain: Mapping[str, Any] = field(default_factory=dict)
    tested: Mapping[str, float] = field(default_factory=dict)
    label: str = ''
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How the search is called beside others: by its label, or the work directory's own name."""
        return self.label or self.work_dir.resolve().name

    @property
    def drawn_with(self) -> dict[str, Any]:
        """What a picture of an arch needs beside its values: all that is described, and the clip's ``shape``."""
        return {**self.described, 'shape': self.cost.get('shape')}

    @property
    def final(self) -> bool:
        """Whether the search has come to its end (``arch.json`` says ``"final": false`` before)."""
        return self.arch_source == 'arch.json' and self.info.get('final') is not False

    @property
    def validated(self) -> dict[str, float]:
        """Metrics of what was found with inherited weights, by the config's validation; empty where there was none."""
        found = self.info.get('validated')  # a search writes it with its end
        metrics = found if isinstance(found, Mapping) else {}
        return {str(name): value for name, value in metrics.items() if finite(value) is not None}

    def target(self, cost: str = 'macs') -> float | None:
        """What the search aimed at of a cost: of MACs what its last epoch names that does, else its budget's upper
        bound."""
        named = (number(line, 'target') for line in reversed(self.epochs) if cost == 'macs')
        budget = self.info.get('budget')
        bounds = budget.get(cost) if isinstance(budget, Mapping) else None
        high = bounds[-1] if isinstance(bounds, list) and bounds else bounds
        return next((target for target in named if target), finite(high))


def number(line: Mapping[str, Any], key: str) -> float | None:
    """``line[key]`` if it is a finite number, else None."""
    return finite(line.get(key))


def finite(value: object) -> float | None:
    """``value`` if it is a finite number, also as a float, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) <= sys.float_info.max else None


def with_labels(records: Sequence[RecordedSearch]) -> list[RecordedSearch]:
    """The searches with names that differ: each with as many of the folders above it as that takes.

    None begins with ``_``: matplotlib leaves such names out of its legends.
    """
    paths, named = [record.work_dir.resolve() for record in records], []
    for record, path in zip(records, paths, strict=True):
        for depth in range(1, len(path.parts) + 1):
            end = path.parts[-depth:]
            if not end[0].startswith('_') and not any(p != path and p.parts[-depth:] == end for p in paths):
                break
        named.append(replace(record, label=Path(*end).as_posix()))
    return named


def scalars(data: object) -> dict[str, Any]:
    """The entries of a JSON object that can be values of a choice; empty if ``data`` is no object."""
    pairs = data.items() if isinstance(data, dict) else ()
    return {name: value for name, value in pairs if not isinstance(value, (dict, list))}


def read_search(work_dir: str | os.PathLike[str]) -> RecordedSearch:
    """Read what the search in ``work_dir`` has left so far.

    Raises:
        ConfigError: there is no ``search`` folder in it.
    """
    work_dir = Path(work_dir)
    folder = work_dir / 'search'
    if not folder.is_dir():
        raise ConfigError(
            f'work directory {str(work_dir)!r}: found no folder {str(folder)!r}, expected the work '
            'directory of a search (tools/search.py CONFIG --work-dir WORK_DIR makes one)'
        )
    notes: list[str] = []
    space, described = _read_space(folder / 'space.json', notes)
    steps, total, others = _read_history(folder / 'history.jsonl', notes)
    # A line of an epoch that was run twice (killed, resumed): the last one stands.
    by_epoch = {line['epoch']: line for line in others if line['kind'] == 'epoch' and number(line, 'epoch') is not None}
    epochs = tuple(by_epoch[epoch] for epoch in sorted(by_epoch))
    candidates = tuple(line for line in others if line['kind'] == 'candidate')
    chosen = _read_object(folder / 'arch.json', 'the search writes it at its first checkpoint', notes)
    arch, source = _chosen_arch(chosen, space, epochs, notes)
    info, cost = (chosen.get(key) if isinstance(chosen.get(key), dict) else {} for key in ('search', 'cost'))
    stages, retrain = _read_stages(folder / 'stages.json', notes)
    return RecordedSearch(
        work_dir,
        space,
        described,
        arch,
        source,
        info,
        cost,
        steps,
        total,
        epochs,
        candidates,
        _read_rows(folder / 'table.json', notes),
        stages,
        retrain,
        _read_tested(work_dir / 'retrain', arch, notes),
        notes=tuple(notes),
    )


def _read_object(path: Path, when: str, notes: list[str]) -> dict[str, Any]:
    """The JSON object in ``path``; empty, with a note, if there is none."""
    if not path.is_file():
        notes.append(f'{path.name} is not there yet: {when}.')
        return {}
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        notes.append(f'{path.name} cannot be read: {error}.')
        return {}
    if not isinstance(data, dict):
        notes.append(f'{path.name}: found a {type(data).__name__}, expected an object.')
        return {}
    return data


def _read_space(path: Path, notes: list[str]) -> tuple[SearchSpace | None, dict[str, Any]]:
    data = _read_object(path, 'the search writes it when it starts', notes)
    if not data:
        return None, {}
    try:
        choices = [Choice(choice['name'], tuple(choice['values'])) for choice in data['choices']]
        space = SearchSpace(str(data.get('name', '')), choices)
    except (ConfigError, KeyError, TypeError) as error:
        notes.append(f'{path.name} cannot be read: {type(error).__name__} {error}.')
        return None, {}
    return space, {key: value for key, value in data.items() if key not in space.to_dict()}


def _read_rows(path: Path, notes: list[str]) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        return ()  # most searches have none: the demos alone train alternatives
    data = _read_object(path, '', notes)
    rows = data.get('rows', [])
    good = [row for row in rows if isinstance(row, dict) and 'name' in row] if isinstance(rows, list) else []
    if data and (not isinstance(rows, list) or len(good) < len(rows)):
        notes.append(f"{path.name}: found rows that are no objects with a 'name'; they are left out.")
    return tuple(good)


def _read_stages(path: Path, notes: list[str]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    if not path.is_file():
        return (), {}  # most searches have none
    data = _read_object(path, '', notes)
    stages, retrain = data.get('stages'), data.get('retrain')
    named = tuple(s for s in stages if isinstance(s, dict) and 'name' in s) if isinstance(stages, list) else ()
    return named, retrain if isinstance(retrain, dict) else {}


def _read_tested(folder: Path, arch: Arch | None, notes: list[str]) -> dict[str, float]:
    """What the retraining in a folder ended with, if it was one of ``arch``: another may have stood there before."""
    if arch is None or not all((folder / name).is_file() for name in (TRAINED, TESTED)):
        return {}
    if _read_object(folder / TRAINED, '', notes).get('network') != dict(arch):
        return {}
    metrics = _read_object(folder / TESTED, '', notes)
    return {name: value for name, value in metrics.items() if finite(value) is not None}


def _chosen_arch(
    chosen: Mapping[str, Any], space: SearchSpace | None, epochs: tuple[dict[str, Any], ...], notes: list[str]
) -> tuple[Arch | None, str]:
    arch = scalars(chosen.get('arch'))
    if arch:
        return Arch(arch), 'arch.json'
    for line in reversed(epochs):
        if space is not None and 'most_probable' in line:
            try:
                return space.decode(line['most_probable']), f'epoch {line["epoch"]}'
            except (ConfigError, LookupError, TypeError, ValueError) as error:
                notes.append(f'the most probable arch of epoch {line["epoch"]} is not of this space: {error}.')
                break
    return None, ''


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open('rb') as file:
        yield from enumerate(file, start=1)


def _is_step(line: bytes) -> bool:
    """Whether a line is a step, seen without parsing it ('kind' comes first; else it is only slower)."""
    return line.startswith((b'{"kind":"step"', b'{"kind": "step"'))


def _read_history(path: Path, notes: list[str]) -> tuple[tuple[dict, ...], int, list[dict]]:
    """Step lines (thinned), their number, all other lines. Streams: the file may have gigabytes."""
    if not path.is_file():
        notes.append(f'{path.name} is not there yet: the search writes it from its first step on.')
        return (), 0, []
    kept: list[tuple[int, bytes]] = []
    others: list[tuple[int, bytes]] = []
    total, stride, last = 0, 1, None
    for i, line in _lines(path):
        if not line.endswith(b'\n'):
            break  # half a line: the search is writing it, or was killed over it (then a resume cuts it off)
        if not _is_step(line):
            others.append((i, line))
            continue
        last = (i, line)
        if total % stride == 0:
            kept.append(last)
            if len(kept) >= 2 * MAX_STEPS:
                kept, stride = kept[::2], stride * 2
        total += 1
    if last is not None and kept[-1][0] != last[0]:
        kept.append(last)
    bad: list[int] = []
    steps = [data for data in (_parse(i, line, bad) for i, line in kept) if data]
    rest = [data for data in (_parse(i, line, bad) for i, line in others) if data]
    slow = [data for data in rest if data['kind'] == 'step']
    steps, total, rest = steps + slow, total + len(slow), [data for data in rest if data['kind'] != 'step']
    if bad:
        notes.append(f'{path.name}: left out {len(bad)} line(s) that cannot be read, the first is line {min(bad)}.')
    if not rest and not steps:
        notes.append(f'{path.name} holds no step yet.')
    return tuple(steps), total, rest


def _parse(i: int, line: bytes, bad: list[int]) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        data = json.loads(line)
        if isinstance(data, dict) and isinstance(data.get('kind'), str) and _has_shares(data.get('probs')):
            return data
    except (ValueError, RecursionError):
        pass
    bad.append(i)
    return None


def _has_shares(probs: Any) -> bool:
    """Whether a line's probabilities, if it has any, are lists of numbers."""
    return not isinstance(probs, dict) or all(
        isinstance(shares, list) and all(finite(share) is not None for share in shares) for shares in probs.values()
    )
