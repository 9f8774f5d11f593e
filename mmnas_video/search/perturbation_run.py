"""Perturbation at the end of a search: within its budget, tuned on its data, in its history and its checkpoints."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mmengine.runner import Runner

from mmnas_video.datasets import derive_seed
from mmnas_video.space import Arch, Value

from .admitted import moved
from .perturbation import PerturbationSelection, select_by_perturbation
from .tuning import Tuning

if TYPE_CHECKING:
    from .darts import DARTSSearchHook


class PerturbationRun:
    """Fixes the choices of a mixed network, one after another; after a resume those that are left.

    Args:
        hook: the search, whose ``selected_from`` is the mixture as it is now, and ``selection_score`` what scores it.
        runner: its Runner.
    """

    def __init__(self, hook: DARTSSearchHook, runner: Runner) -> None:
        self.hook, self.runner = hook, runner
        rng = random.Random(derive_seed(hook.seed, 'perturbation'))
        self.selection = PerturbationSelection(
            hook.space,
            lambda: hook.selected_from(self.selection),
            rng,
            self._feasible,
            hook.searchable.occurrence,
            hook.perturbed_choices,
        )
        self.tuning = Tuning(hook, runner, hook.tune_iters, hook.tune_lr) if hook.tune_iters else None
        if state := hook.final.kept(runner):
            self.selection.load_state_dict(state['perturbation'])
            if self.tuning and state['tuning']:
                self.tuning.load_state_dict(state['tuning'])
        self._start, self._begun = time.monotonic(), len(self.selection.fixed)

    def __call__(self) -> Arch:
        """What the network's rule makes of the values that are kept."""
        keep = partial(self.hook.final.keep, self.runner)
        arch = select_by_perturbation(self.selection, self.hook.selection_score(), self.tuning, self._report, keep)
        if self.tuning is not None:
            self.tuning.close()
        return self.hook.decided(arch)

    def _report(self, line: Mapping[str, Any]) -> None:
        done, todo = len(self.selection.fixed), len(self.selection.order[: self.selection.most])
        left = (time.monotonic() - self._start) / (done - self._begun) * (todo - done)
        self.runner.logger.info(
            f'Search: {line["choice"]} is {line["value"]!r}  {done}/{todo} choices, {left:.0f} s left'
        )
        if self.hook.record:
            self.hook.record.append({'kind': 'perturbation', **line})

    def _feasible(self, fixed: Mapping[str, Value]) -> bool:
        """Whether the choices that are left can bring the cost within the budget."""
        hook = self.hook
        if not hook.budget.needs:
            return True
        rng = random.Random(derive_seed(hook.seed, 'perturbation budget'))
        start = Arch({**hook.choose(), **fixed})
        return not hook.decided_violation(moved(hook.space.fix(fixed), start, rng, hook.decided_violation))

    def state_dict(self) -> dict[str, Any]:
        """What has been fixed, and how far the tuning is."""
        tuning = self.tuning.state_dict() if self.tuning else None
        return {'perturbation': self.selection.state_dict(), 'tuning': tuning}
