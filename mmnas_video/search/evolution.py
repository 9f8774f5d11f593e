"""Evolution with the inherited weights of a supernet that is trained already.

Source: VIM-NAS, Sec. 3.2 and Supp. C (Algorithm 2); NSGA-II (Deb et al., 2002) for the whole front in one run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmnas_video.errors import ConfigError, check_number
from mmnas_video.registry import HOOKS, TASK_UTILS, hook_class
from mmnas_video.runner_state import is_resuming, weights_to_load
from mmnas_video.space import Arch

from .base import SearchHook
from .candidates import CandidateScorer, record_candidates
from .clock import ForwardClock
from .extraction import check_space_of, check_weights, read_checkpoint
from .hook_configs import search_hook_index
from .inherit_hook import InheritHook
from .kept_scores import KeptScores
from .population import Evolution, EvolutionOptions
from .work import Work


@HOOKS.register_module()
class EvolutionSearchHook(SearchHook):
    """Search a trained supernet by evolution: a step is a generation, and no weight is touched.

    An epoch of one step makes a generation of each epoch, so that checkpoints, history, report, progress and resume are
    those of any search::

        train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20)  # generations
        train_dataloader = dict(num_batch_per_epoch=1)  # of what is never trained on; of joint data:
        train_dataloader = dict(batch_sampler=dict(steps_per_epoch=1))

    A generation's candidates are new (by canonical architecture) and within the budget before anything is run; each is
    scored once, on the same held-out clips, after its BatchNorm statistics have been recomputed. Every scored candidate
    is a line of the history. With both shares 0 this is random search.

    Args:
        population: N, candidates in a generation (AutoFormer: 50).
        top_k: K, the best so far, from which parents are drawn.
        crossover_share: of a generation, children of two parents.
        mutation_share: of a generation, mutated parents. The rest is drawn at random.
        mutation: pattern of choice names to the probability with which what fits mutates, the first that fits counts:
            ``{'depth': P_d, '*': P_m}``.
        unit: ``'layer'``: the choices of one layer (of one tube) are inherited and mutated as a whole; ``'choice'``:
            each by itself.
        pareto: None, or the cost (``'macs'``, ``'params'``, ``'latency_ms'`` where the budget has a latency table)
            against which the whole front is sought; its architectures are written to ``WORK_DIR/search/front``, and
            arch.json is that of the best score.
        indicator: the score; by default top-1 accuracy (``dict(type='VideoAccuracy')``), else
            ``dict(type='Likelihood', reduction='mean')``.
        eval_batches: held-out batches (of each dataset) that a candidate is scored on. Several ranks share the
            candidates of a generation; the result does not depend on their number.
        checkpoint: of the supernet (``tools/search.py --checkpoint``).
        **kwargs: see :class:`~mmnas_video.search.base.SearchHook`.

    Raises:
        ConfigError: an option without such a value; in ``before_run`` a missing checkpoint, one of another network or
            space, a mutation pattern that fits no choice, an EMA of weights that stay.
    """

    trains_weights = False
    dry_options: ClassVar[Mapping[str, int]] = {}  # the candidates are its steps: fewer would say a wrong time

    def __init__(
        self,
        population: int = 50,
        top_k: int = 10,
        crossover_share: float = 0.5,
        mutation_share: float = 0.5,
        mutation: Mapping[str, float] | None = None,
        unit: str = 'layer',
        pareto: str | None = None,
        indicator: Mapping[str, Any] | None = None,
        eval_batches: int = 10,
        checkpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        rates = {'*': 0.2} if mutation is None else mutation
        self.options = EvolutionOptions(population, top_k, crossover_share, mutation_share, rates, unit, pareto)
        self.pareto = pareto
        check_number('EvolutionSearchHook.eval_batches', eval_batches, 1)
        self.indicator = TASK_UTILS.build(dict(indicator or dict(type='VideoAccuracy')))
        self.held_out_clips = getattr(self.indicator, 'num_clips', None)
        self.eval_batches, self.checkpoint = eval_batches, checkpoint
        self._weights: Mapping[str, Tensor] | None = None

    # ------------------------------------------------------------------ set-up
    def setup(self, runner: Runner) -> None:
        """Read the supernet's weights, and begin with no candidates."""
        if self.options.pareto and not self.shape:
            raise ConfigError(
                f'cost_shape: found none, expected the (C, T, H, W) of the clip whose {self.options.pareto} '
                'EvolutionSearchHook.pareto compares'
            )
        if self.options.pareto == 'latency_ms' and self.costs.latency is None:
            raise ConfigError(
                "budget.latency_table: found none, expected one beside EvolutionSearchHook.pareto='latency_ms' "
                '(python tools/latency.py CONFIG makes it)'
            )
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ConfigError('default_hooks: found an EMAHook, expected none: an evolution changes no weights')
        self._weights = self._read_weights(runner)
        self.evolution = Evolution(self.space, self.options, self.cost, self.budget, self.searchable.canonical)
        self.clock = ForwardClock(self.bare)

    def _read_weights(self, runner: Runner) -> Mapping[str, Tensor] | None:
        """The checked weights of ``checkpoint``; None where the Runner has them to load (``load_from``, a resume)."""
        inherits = any(isinstance(hook, InheritHook) for hook in runner.hooks)
        source = self.checkpoint or (weights_to_load(runner) if not is_resuming(runner) and not inherits else None)
        if source is None:
            if not is_resuming(runner) and not inherits:
                raise ConfigError(
                    'EvolutionSearchHook.checkpoint: found none, expected the checkpoint of a trained supernet '
                    '(tools/search.py CONFIG --checkpoint work_dirs/.../epoch_N.pth)'
                )
            return None
        data = read_checkpoint(source)
        check_space_of(self.bare, data, source)
        check_weights(self.bare, data, source)
        return data.get('state_dict', data)

    def before_train(self, runner: Runner) -> None:
        """Load the supernet, unless a resumed search has brought its own."""
        if not self._restored:
            if self._weights is not None:
                self.bare.load_state_dict(self._weights, strict=True)
            elif is_resuming(runner):
                raise ConfigError(
                    f'resume: found no checkpoint of an evolution in {runner.work_dir!r} to go on from, expected one; '
                    'or name the supernet again (--checkpoint)'
                )
        self._weights = None
        super().before_train(runner)
        self.clock.restart()

    def _train_step(self, data: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        return self.step(data, optim_wrapper)  # the training batch is not looked at, so it is not preprocessed

    # ------------------------------------------------------------------ one generation
    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Score a generation and select from it."""
        archs = self.evolution.ask(self.rng)
        scorer = self._scorer
        with self.clock.watching(), optim_wrapper.optim_context(self.bare):
            scores = scorer.score_all(archs, KeptScores(self.runner))
        self.evolution.tell(archs, scores)
        record_candidates(self, archs, scores, generation=self.evolution.generation)
        self._log(len(archs), scorer.scored)
        best = self.evolution.best
        return {'score': torch.tensor(best.score), 'candidates': torch.tensor(float(len(self.evolution.seen)))}

    @cached_property
    def _scorer(self) -> CandidateScorer:
        return CandidateScorer(self, self.eval_batches, self.indicator)

    def _log(self, count: int, scored: int) -> None:
        """The generation's line in the log, with the times that the history does not hold; ``scored`` of its candidates
        have been run."""
        best, clock = self.evolution.best, self.clock
        self.runner.logger.info(
            f'Evolution(generation) [{self.evolution.generation}]  {count} candidates, '
            f'{len(self.evolution.seen):,} so far  best: {best.score:.4g} at {best.cost.macs / 1e6:,.4g} MMACs  '
            f'{60 * scored / clock.total:.3g} candidates a minute, '
            f'{clock.overhead:.1%} of the time not in forward'
        )
        clock.restart()

    def choose(self) -> Arch:
        """The best score so far, of equals the cheaper; the largest architecture before there is any."""
        return self.evolution.best.arch if self.evolution.best else self.space.largest

    def select(self, runner: Runner) -> Arch:
        """The best score; in Pareto mode the whole front is written as well."""
        if self.options.pareto and self.record:
            self._write_front()
        return self.choose()

    def _write_front(self) -> None:
        """One arch file for each member of the front, by rising cost: ``front/01.json``, ``front/02.json``, ..."""
        folder = self.record.folder / 'front'
        for old in folder.glob('*.json'):
            old.unlink()
        front = self.evolution.front
        for number, found in enumerate(front, start=1):
            about = self.about(score=found.score, pareto=self.pareto)
            name = f'front/{number:0{len(str(len(front)))}}.json'
            self.record.write_arch(found.arch, found.cost, self.shape, about, name)
        self.runner.logger.info(f'Evolution: {len(front)} architectures on the front, in {folder}')

    def epoch_summary(self) -> dict[str, Any]:
        """Best score, and how many candidates it is the best of."""
        best = self.evolution.best
        return {'score': best.score if best else None, 'candidates': len(self.evolution.seen)}

    def step_work(self, ranks: int) -> list[Work]:
        """A generation, which the ranks share; nothing is trained."""
        passes = self.options.population / ranks * self.eval_batches
        clips, kept = self.held_out_clips or 1, self.eval_batches
        return [
            Work('sampled', 0),
            Work('sampled', passes, held_out=True, backward=False, clips=clips, kept=kept, every_set=True),
        ]

    # ------------------------------------------------------------------ checkpoints
    def state_dict(self) -> dict[str, Any]:
        """All candidates with their scores, and the parents."""
        return self.evolution.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.evolution.load_state_dict(state)


def use_checkpoint(cfg: Config, checkpoint: str | os.PathLike[str]) -> None:
    """Make a supernet's checkpoint the one that the config's search hook starts from (``--checkpoint``).

    Raises:
        ConfigError: the search trains a supernet of its own, or the config names no search at all.
    """
    number = search_hook_index(cfg)
    hook = cfg.custom_hooks[number]
    found = hook_class(hook)
    if not issubclass(found, EvolutionSearchHook):
        raise ConfigError(
            f'--checkpoint: found custom_hooks[{number}] of type {found.__name__}, which trains a supernet of its own, '
            'expected an EvolutionSearchHook'
        )
    hook['checkpoint'] = str(checkpoint)
