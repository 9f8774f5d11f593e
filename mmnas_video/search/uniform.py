"""Uniform sampling: the single-path one-shot baseline, ended by a random search.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.errors import check_number
from mmnas_video.registry import HOOKS
from mmnas_video.space import Arch, SearchSpace

from .base import SearchHook
from .candidates import random_search
from .work import Work


@HOOKS.register_module()
class UniformSearchHook(SearchHook):
    """Train every architecture equally often; then pick the best of some random ones under the budget.

    Args:
        num_archs: architectures per training step, whose losses are averaged.
        candidates: random architectures scored with inherited weights at the end.
        score_batches: held-out batches that each is scored on.
        **kwargs: see :class:`~mmnas_video.search.base.SearchHook`.
    """

    keeps_selection = True
    dry_options: ClassVar[Mapping[str, int]] = {**SearchHook.dry_options, 'candidates': 2, 'score_batches': 1}

    def __init__(self, num_archs: int = 1, candidates: int = 100, score_batches: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for key, value in (('num_archs', num_archs), ('candidates', candidates), ('score_batches', score_batches)):
            check_number(f'{type(self).__name__}.{key}', value, 1)
        self.num_archs, self.candidates, self.score_batches = num_archs, candidates, score_batches

    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """A step of uniformly sampled architectures."""
        return self.sampled_step([self.space.sample(self.rng) for _ in range(self.num_archs)], batch, optim_wrapper)

    def choose(self) -> Arch:
        """Nothing is preferred before the end: the largest architecture, as a stand-in for the supernet."""
        return self.space.largest

    def select(self, runner: Runner) -> Arch:
        """Random search under the budget."""
        return random_search(self, self.candidates, self.score_batches)

    def step_work(self, ranks: int) -> list[Work]:
        """The sampled architectures."""
        return [Work('sampled', self.num_archs)]

    def selection_work(self, space: SearchSpace, ranks: int, epochs: int) -> list[Work]:
        """The candidates, which the ranks share."""
        return [Work('sampled', self.candidates * self.score_batches / ranks, held_out=True, backward=False)]
