"""EpochArchs: the architecture of every epoch with its held-out score, and which of them a search names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RULES = ('best', 'last')


class EpochArchs:
    """One line per epoch: ``epoch``, ``arch`` (indices), ``score``, ``within`` (the budget admits it), ``stop`` (it is
    at the limit of an early stop).

    Args:
        lines: plain data, as it stands in a checkpoint.
    """

    def __init__(self, lines: Sequence[dict[str, Any]] = ()) -> None:
        self.lines = list(lines)

    def add(self, epoch: int, arch: Sequence[int], score: float, within: bool, stop: bool) -> None:
        """Note an epoch."""
        self.lines.append({'epoch': epoch, 'arch': list(arch), 'score': score, 'within': within, 'stop': stop})

    def named(self, rule: str) -> dict[str, Any] | None:
        """The line of the epoch whose architecture is named, or None without any.

        Epochs at the limit of an early stop count only where there are no others. ``'best'``: the best score of those
        within the budget (of all, if none is), the later of equals. ``'last'``: the last.
        """
        kept = [line for line in self.lines if not line['stop']] or self.lines
        if not kept or rule == 'last':
            return kept[-1] if kept else None
        kept = [line for line in kept if line['within']] or kept
        return max(kept, key=lambda line: (line['score'], line['epoch']))
