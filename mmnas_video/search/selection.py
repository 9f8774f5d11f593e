"""The selection at the end of a search: done once, and gone on with by a resume where a kill has cut it short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine.runner import Runner

from mmnas_video.space import Arch

from .average import averaged, exchanged
from .kept_scores import remove_scores

if TYPE_CHECKING:
    from .base import SearchHook


class Selection:
    """What a search ends with, and in its checkpoints what has been selected, or where the selection stands.

    Args:
        hook: the search, which selects (``select``) and says where that stands (``selection_state``).
    """

    def __init__(self, hook: SearchHook) -> None:
        self.hook = hook
        self.arch: Arch | None = None  # what the search has ended with
        self._kept: Mapping[str, Any] = {}  # what the checkpoint that is resumed has

    def run(self, runner: Runner) -> Arch:
        """What the search ends with; from a checkpoint that was written after the selection, what that has found."""
        if 'found' in (kept := self.kept(runner)):
            self.arch = self.hook.space.decode(kept['found'])
            return self.arch
        with averaged(runner):
            self.arch = self.hook.select(runner)
        if self.hook.keeps_selection:
            runner.call_hook('after_selection')
        remove_scores(runner)
        return self.arch

    def keep(self, runner: Runner) -> None:
        """Let a checkpoint be written within the selection, if it is time for one; every rank calls this."""
        with exchanged(runner):  # as in training, which is how a resume will find them
            runner.call_hook('after_choice')

    def kept(self, runner: Runner) -> Mapping[str, Any]:
        """Of a selection that was cut short its ``selection_state``, of one that has ended ``found``; empty where there
        was none after this step, or its budget was another one."""
        return self._kept if self._kept.items() >= self._place(runner).items() else {}

    def state_dict(self, runner: Runner) -> dict[str, Any] | None:
        """What :meth:`kept` of a resume gives; None before the selection."""
        found = {} if self.arch is None else {'found': list(self.hook.space.encode(self.arch))}
        stands = found or self.hook.selection_state()
        return {**self._place(runner), **stands} if stands else None

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Inverse of :meth:`state_dict`."""
        self._kept = state or {}

    def _place(self, runner: Runner) -> dict[str, Any]:
        return {'iter': runner.iter, 'budget': self.hook.budget.to_dict()}
