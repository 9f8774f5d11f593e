"""The comparison that a search ends with: the searched network beside the alternatives at the same cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .recorded import number, scalars

_RANDOM = re.compile(r'random[ _#-]*\d+')


@dataclass(frozen=True)
class Row:
    """One network of the table. Figures that are not known are None.

    Attributes:
        name: what stands in the table.
        params: parameters.
        macs: multiply-adds.
        top1: top-1 accuracy in 0..1.
        arch: choice name -> value; empty if not recorded.
        latency_ms: by a latency table.
    """

    name: str
    params: float | None
    macs: float | None
    top1: float | None
    arch: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None


def inherited(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the rows are of networks with the weights of their supernet: no figures of networks trained alone."""
    return any(row.get('weights') == 'inherited' for row in rows)


def read_row(data: Mapping[str, Any], name: str | None = None) -> Row:
    """A row from its JSON form."""
    return Row(
        name or str(data['name']),
        number(data, 'params'),
        number(data, 'macs'),
        number(data, 'top1'),
        scalars(data.get('arch')),
        number(data, 'latency_ms'),
    )


def summary_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows as they are compared: ``random 1``, ``random 2``... give way to their median and their best
    by top-1.

    Both are networks that exist, not averages: with an even number the median is the lower of the two in the
    middle. Fewer than two random rows stay as they are.
    """
    random = sorted(
        (row for row in rows if _is_random(row) and number(row, 'top1') is not None),
        key=lambda row: row['top1'],
    )
    if len(random) < 2:
        return [read_row(row) for row in rows]
    named = [read_row(row) for row in rows if not _is_random(row)]
    median = random[(len(random) - 1) // 2]
    return [
        *named,
        read_row(median, f'median of {len(random)} random ({median["name"]})'),
        read_row(random[-1], f'best of {len(random)} random ({random[-1]["name"]})'),
    ]


def _is_random(row: Mapping[str, Any]) -> bool:
    return _RANDOM.fullmatch(str(row['name'])) is not None
