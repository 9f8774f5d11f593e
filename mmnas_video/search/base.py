"""SearchHook: how a search method reaches MMEngine's training step, its checkpoints and its files."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmnas_video.cost import Budget, Cost, TimedCost
from mmnas_video.datasets import bad_share, derive_seed
from mmnas_video.entangle import Mixture, Searchable, bare_model, find_searchable
from mmnas_video.errors import ConfigError, check_number, refuse_unknown
from mmnas_video.registry import options_of
from mmnas_video.runner_state import counts_iterations, has_validation, is_resuming, is_training
from mmnas_video.space import Arch, SearchSpace

from .calibration import Calibration
from .candidates import check_score_weights
from .checkpoint import counts_to_host
from .config_checks import check_config, check_loaded
from .costs import Costs
from .data_lists import data_lists
from .epoch_log import log_epoch
from .finite import FiniteUpdates
from .freeze import frozen_unsampled
from .generators import random_state, set_random_state
from .held_out import open_held_out
from .indicator import BatchLoss, batch_loss
from .loss_scale import scaled_loss
from .over_ranks import average_over_ranks
from .preemption import PLACE
from .record import SearchRecord
from .selection import Selection
from .stream import BatchStream
from .task_streams import TaskStreams
from .work import Work


class SearchHook(Hook):
    """Base of every search method.

    A method implements :meth:`step` (one training step in place of the model's own), :meth:`choose` (the architecture
    it would name now) and, if it has more state than a generator, :meth:`state_dict` and :meth:`load_state_dict`. It
    knows only the space: ``self.space``, ``self.searchable.use(arch)`` and ``self.cost(arch)``. What it costs is said
    by :meth:`step_work`, :meth:`selection_work` and :meth:`summed_values`, which ``tools/plan.py`` adds up. What makes
    it short in a dry run it says by :attr:`dry_options` and :attr:`dry_if_given`.

    The hook replaces ``train_step`` of the (possibly wrapped) model on the instance for the time of the training;
    loop, OptimWrapper, checkpointing and logging stay MMEngine's.

    Args:
        budget: bounds on cost, e.g. ``dict(macs=2e9)``; see :class:`~mmnas_video.cost.Budget`.
        cost_shape: (C, T, H, W) of the clip whose cost is meant; by default ``cost_shape`` of the config.
        arch_dataloader: held-out data (a DataLoader config without a sampler). Without a ``dataset`` in it, the
            held-out part of the training list, if the training dataset is a ``SeededDataset`` with
            ``held_out=dict(part='train', ...)``.
        calibration_clips: training clips from which BatchNorm statistics are recomputed before an architecture is
            scored with inherited weights; 0 turns it off.
        max_lost_updates: so many updates of the weights may be left out one after another because no loss or gradient
            was finite; then the search ends, with its last good state. See
            :class:`~mmnas_video.search.finite.FiniteUpdates`.
        score_weights: of joint data, name of a dataset to how much its score counts in a candidate's (a weighted mean).
            Those that are not named count 1, and by default all do; one that counts 0 is not scored.
        freeze_unsampled: keep weight, momentum and decay of slices that no sampled architecture used bit-identical over
            a step. Off by default, as in PARSEC: with fair windows and several architectures per step little is unused.

    Raises:
        ConfigError: an unknown option, or a number that is none or too small; in ``before_run`` also for anything in
            the config that a search cannot run with.
    """

    priority = 'BELOW_NORMAL'  # after EMA has swapped weights for validation, before checkpoints are written
    #: Whether the method needs held-out data.
    needs_held_out = True
    #: Whether steps update the weights; a method that only scores with inherited ones leaves them bit-identical.
    trains_weights = True
    #: The cost against which the method seeks a whole front; None for one architecture alone.
    pareto: str | None = None
    #: Whether the method learns from several datasets at once (a ``JointDataset``).
    takes_joint_data = True
    #: Clips of each held-out video; None leaves the pipeline's own.
    held_out_clips: int | None = None
    #: Epochs in which only the weights learn, of methods with such an option.
    warmup_epochs = 0
    #: (C, T, H, W) of the clip whose cost is meant, empty where none is given; None until a run begins.
    shape: tuple[int, ...] | None = None
    #: Whether the selection at the end is work that a resume must not do again.
    keeps_selection = False
    #: Options of a base class that the method does not take.
    refused: tuple[str, ...] = ()
    #: Option to the most of it in a dry run, which has so much also where the config does not give it: the phases come
    #: at once, and are short. A method adds its own to its base's.
    dry_options: ClassVar[Mapping[str, int]] = {'calibration_clips': 2}
    #: The same of options that are off (0) by default, and stay off where the config does not give them.
    dry_if_given: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self,
        budget: Mapping[str, Any] | None = None,
        cost_shape: Sequence[int] | None = None,
        arch_dataloader: Mapping[str, Any] | None = None,
        calibration_clips: int = 64,
        freeze_unsampled: bool = False,
        max_lost_updates: int = 20,
        score_weights: Mapping[str, float] | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self).__name__, unknown, options_of(type(self)))
        check_number(f'{type(self).__name__}.calibration_clips', calibration_clips)
        self.budget = Budget.from_cfg(budget)
        self.cost_shape = cost_shape
        self.arch_dataloader, self.score_weights = arch_dataloader, score_weights
        self.calibration_clips, self.freeze_unsampled = calibration_clips, freeze_unsampled
        self._restored = self._within_epoch = False
        self.finite = FiniteUpdates(self, max_lost_updates)
        self._pending: list[Arch | Mixture] = []  # sampled since the last optimiser step
        self._validation = ExitStack()
        self.final = Selection(self)
        self._validated: Arch | None = None  # with the weights as they are
        self._metrics: Mapping[str, Any] = {}  # of the last validation
        # What before_run builds; of a hook that is in no run the rest is not there.
        self.searchable: Searchable | None = None
        self.held_out: BatchStream | TaskStreams | None = None
        self.record: SearchRecord | None = None  # on the main process alone
        self.runner: Runner
        self.bare: nn.Module
        self.space: SearchSpace
        self.costs: Costs
        self.seed: int
        self.rng: random.Random
        self.calibration: Calibration

    @property
    def is_set_up(self) -> bool:
        """Whether :meth:`before_run` has met a training: a validation or a test alone builds nothing."""
        return self.searchable is not None

    @property
    def device(self) -> torch.device:
        """Of the network."""
        return next(self.bare.parameters()).device

    # ------------------------------------------------------------------ what a method implements
    def step(self, batch: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One training step on a preprocessed batch; returns the values to log."""
        raise TypeError(f'{type(self).__name__} implements no step')

    def choose(self) -> Arch:
        """The architecture that the search would name now."""
        raise TypeError(f'{type(self).__name__} implements no choose')

    def select(self, runner: Runner) -> Arch:
        """The architecture that the search ends with; by default what it would name at its end."""
        return self.choose()

    def epoch_summary(self) -> dict[str, Any]:
        """What the epoch's line in the history says beyond epoch, most probable arch and cost."""
        return {}

    def step_work(self, ranks: int) -> list[Work]:
        """What each of so many ranks runs in a step; by default one sampled network on the training batch.

        Asked of a hook that is not in a run yet. Training passes come first, and of these the one that is run most.
        """
        return [Work('sampled')]

    def selection_work(self, space: SearchSpace, ranks: int, epochs: int) -> list[Work]:
        """What each rank runs after epochs and at the end, in the whole run: scores of candidates, and steps between
        them; by default nothing."""
        return []

    def summed_values(self, space: SearchSpace) -> int:
        """Numbers that a step sums over the ranks beside the gradients of the weights, such as those of α."""
        return 0

    def state_dict(self) -> dict[str, Any]:
        """State beyond the generator and the streams, for the checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""

    def selection_state(self) -> dict[str, Any]:
        """Where :meth:`select` stands, for a checkpoint that is written within it."""
        return {}

    # ------------------------------------------------------------------ set-up
    def before_run(self, runner: Runner) -> None:
        """Check everything that can be checked before work starts, and build what the search needs."""
        # The Runner says so before a validation and a test too: there is nothing to search, and the files of the search
        # that was must stay.
        if not is_training(runner) or self.is_set_up:
            return
        check_config(self, runner)
        self.runner, self.seed, self.max_bad_share = runner, runner.seed, bad_share(runner.cfg)
        self.bare = bare_model(runner.model)
        _, self.searchable = find_searchable(self.bare)
        self.space = self.searchable.space
        self.shape = tuple(self.cost_shape or runner.cfg.get('cost_shape') or ())
        self.costs = Costs(self.bare, self.searchable, self.budget, self.shape)
        self.rng = random.Random(derive_seed(self.seed, 'archs'))
        self.calibration = Calibration(self.bare, runner.cfg, self.calibration_clips, self.seed, runner.logger)
        if self.needs_held_out:
            self.held_out, self.scoring_cfg = open_held_out(self, runner)
            check_score_weights(self)
        self.data = data_lists(runner.cfg)
        if is_main_process():
            self.record = SearchRecord(
                Path(runner.work_dir) / 'search', self.space, is_resuming(runner), self.searchable.describe()
            )
        self.setup(runner)
        self._say(runner)

    def setup(self, runner: Runner) -> None:
        """What a method builds before the checkpoint is loaded (α and its optimiser)."""

    def _say(self, runner: Runner) -> None:
        text = f'{type(self).__name__}: space {self.space.name!r} of {self.space.size:.3g} architectures'
        if self.shape:
            low, high = self.costs.reach['macs']
            text += f', {low / 1e6:,.1f} to {high / 1e6:,.1f} MMACs at {"x".join(map(str, self.shape))}'
        runner.logger.info(text + (f', budget {self.budget.to_dict()}' if self.budget.needs else ''))

    # ------------------------------------------------------------------ the seam
    def before_train(self, runner: Runner) -> None:
        """Put the search's step in the place of the model's."""
        if self.record and is_resuming(runner) and not self._restored:
            self.record.cut(0)  # killed before its first checkpoint: a fresh start
        runner.model.train_step = self._train_step

    def _train_step(self, data: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        return self.step(self.prepare(data, training=True), optim_wrapper)

    def after_train(self, runner: Runner) -> None:
        """Give the model its step back and write the final architecture; where weights are averaged (EMAHook), from
        here on with the average."""
        runner.model.__dict__.pop('train_step', None)
        arch = self.final.run(runner)
        self._write_arch(arch, epoch=runner.epoch, final=True)
        if self.violation(arch):
            runner.logger.warning(
                f'Search: found an architecture of {self.cost(arch)._asdict()}, outside the budget '
                f'{self.budget.to_dict()}: raise cost_weight, or let EvolutionSearchHook find one in the checkpoint'
            )
        if has_validation(runner) and self._validated != arch:
            runner.logger.info('Search: validation of the architecture that was found, with inherited weights')
            runner.val_loop.run()
            self._write_arch(arch, epoch=runner.epoch, final=True)  # with what that has found
        if self.held_out:
            self.held_out.close()
        if self.record:
            self.record.close()

    def prepare(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """A batch on the model's device, normalised; with ``training`` also blended (mixup), if configured."""
        return self.bare.data_preprocessor(data, training)

    def held_out_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The next held-out batch, prepared; of several named datasets it is of that of the training ``batch``."""
        if isinstance(self.held_out, TaskStreams):
            return self.prepare(self.held_out.next(batch['data_samples'][0].task))
        return self.prepare(next(self.held_out))

    def sampled_step(
        self,
        archs: Sequence[Arch | Mixture],
        batch: dict[str, Any],
        optim_wrapper: OptimWrapper,
        drawn: Sequence[Arch | Mixture] | None = None,
    ) -> dict[str, Tensor]:
        """An ordinary training step of the mean loss of one or a few sampled architectures (or of a mixture); ``drawn``
        are those of all ranks, one each, where these run different ones."""
        logged: dict[str, Tensor] = {}
        for arch in archs:
            values, good = self._backward(arch, batch, optim_wrapper, len(archs), drawn)
            logged = values if good or not logged else logged
        self.finish_step(optim_wrapper, archs if drawn is None else drawn)
        return logged

    def _backward(
        self,
        arch: Arch | Mixture,
        batch: dict[str, Any],
        optim_wrapper: OptimWrapper,
        count: int,
        drawn: Sequence[Arch | Mixture] | None = None,
        loss_of: BatchLoss = batch_loss,
    ) -> tuple[dict[str, Tensor], bool]:
        """Add the gradient of the loss of one of ``count`` architectures, if it is finite; returns the values to log
        and whether it was. No graph is left: it would stay beside the next architecture's."""
        with self.searchable.use(arch), optim_wrapper.optim_context(self.bare):
            loss, values = loss_of(self.bare, batch)
        if good := self.finite.admits(loss, arch, drawn):
            scaled_loss(optim_wrapper.scale_loss(loss / count), optim_wrapper).backward()
        return {key: value.detach() for key, value in values.items()}, good

    def finish_step(self, optim_wrapper: OptimWrapper, archs: Sequence[Arch | Mixture]) -> None:
        """Update from the gradients that stand in the parameters: averaged over ranks, then stock counting, clipping,
        scaler, step and zero_grad. With ``freeze_unsampled`` the unsampled slices are kept; a mixture uses all. Without
        a finite gradient the step is only counted."""
        self._pending.extend(archs)
        self._validated, good = None, True
        if optim_wrapper.should_sync():
            self.complete_gradients()
            good = self.finite.gradient(optim_wrapper, self._pending)
        nothing = torch.zeros((), device=self.device, requires_grad=True)
        with ExitStack() as stack:
            if self.freeze_unsampled and not any(isinstance(arch, Mixture) for arch in self._pending):
                frozen = frozen_unsampled(self.searchable, self._pending, optim_wrapper.optimizer, self.bare)
                stack.enter_context(frozen)
            if good:
                optim_wrapper.update_params(nothing)
            else:
                optim_wrapper.backward(nothing)
                optim_wrapper.zero_grad()
        if optim_wrapper.should_update():
            self._pending = []

    def forget_gradients(self, optim_wrapper: OptimWrapper) -> None:
        """Drop what has been gathered since the last update."""
        optim_wrapper.zero_grad()
        self._pending = []

    def complete_gradients(self) -> None:
        """Once before each update: make what stands in the parameters the gradient of the batch over all ranks.

        One that is None has to be None on all of them, as where all ran the same architectures, and stays so: momentum
        and decay must not move what nobody used.
        """
        average_over_ranks([p.grad for p in self.bare.parameters() if p.requires_grad])

    def cost(self, arch: Arch) -> Cost | TimedCost:
        """MACs and parameters of the whole network at the config's clip shape, and latency where the budget has a
        table; zero where no shape is given.

        Raises:
            ConfigError: the hook is in no run yet.
        """
        if self.shape is None:
            raise ConfigError(
                f'{type(self).__name__}.cost: found a hook that is in no run yet, expected one whose before_run was '
                'called; without a run mmnas_video.cost.total_cost says what an architecture costs'
            )
        return self.costs(arch)

    def violation(self, arch: Arch) -> float:
        """How far the cost is outside the budget, 0 within: of upper bounds the hinge max(cost - T, 0) / T (AutoX3D,
        Eq. 2), of lower ones max(T - cost, 0) / T, added up; see :meth:`~mmnas_video.cost.Budget.violation`."""
        return self.budget.violation(**self.cost(arch)._asdict()) if self.budget.needs else 0.0

    # ------------------------------------------------------------------ epochs and validation
    def after_train_epoch(self, runner: Runner) -> None:
        """One line in the log and in the history: before the CheckpointHook runs, so that it is in the checkpoint."""
        log_epoch(self, runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Validate the architecture that the search would name now, or has ended with, with recalibrated BatchNorm
        statistics."""
        self._validated = self._look_at_found(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the figures: those of what was found stand in arch.json."""
        super().after_val_epoch(runner, metrics)
        self._metrics = metrics or {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Test what would be validated."""
        self._look_at_found(runner)

    def _after_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = 'train'
    ) -> None:
        """Leave the architecture that is looked at with the last batch: before EMA swaps the weights back."""
        if mode != 'train' and batch_idx + 1 == len(getattr(runner, f'{mode}_dataloader')):
            self._validation.close()

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """As :meth:`_after_iter`, should there have been no batch."""
        self._validation.close()

    def _look_at_found(self, runner: Runner) -> Arch | None:
        """Have what the search would name now, or has ended with, until the validation or test is done; a warning where
        nothing has been searched in this process."""
        if self.is_set_up:
            arch = self.final.arch or self.choose()
            self._validation.enter_context(self.inherited(arch))
            return arch
        if find_searchable(bare_model(runner.model))[1].space.open:
            runner.logger.warning(
                'Search: found a validation or test without a search before it: it is of the largest architecture, '
                'with BatchNorm statistics of all. Test what was found (WORK_DIR/search/extracted.py with '
                'extracted.pth), or what python tools/extract.py makes of a checkpoint'
            )
        return None

    @contextmanager
    def inherited(self, arch: Arch | Mixture) -> Iterator[None]:
        """``arch`` active with inherited weights, its BatchNorm statistics recalibrated and given back afterwards."""
        with self.searchable.use(arch), self.calibration.applied():
            yield

    # ------------------------------------------------------------------ checkpoints
    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put everything that a resume needs into the checkpoint, and write arch.json beside it; after the selection
        (``save_best`` saves once more at the last validation) that of what was found."""
        if not self.is_set_up:
            return
        if self.trains_weights:
            self.finite.check_state()
        checkpoint['search'] = {
            'method': type(self).__name__,
            'space': self.space.identity,
            'rng': random_state(self.rng),
            'held_out': self.held_out.state_dict() if self.held_out else None,
            'history': self.record.length() if self.record else 0,
            'finite': self.finite.state_dict(),
            'state': self.state_dict(),
            'selection': self.final.state_dict(runner),
        }
        arch = self.final.arch or self.choose()
        self._write_arch(arch, epoch=checkpoint['meta']['epoch'], final=self.final.arch is not None)

    def shared_state(self, runner: Runner) -> dict[str, Any]:
        """What all ranks must have in common, looked at before every checkpoint: the architecture that would be named,
        and the generator that draws; empty before the set-up. A method with more of it (α) adds that."""
        if not self.is_set_up:
            return {}
        drawn = hashlib.blake2b(repr(self.rng.getstate()).encode(), digest_size=8).hexdigest()
        return {'arch': dict(self.choose()), 'generator of architectures': drawn}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Continue where the checkpoint was written; weights that were only loaded (``load_from``) change nothing
        here, but some must be this network's."""
        if not self.is_set_up:
            return
        if not is_resuming(runner):
            if self.trains_weights:  # else it has looked at what it uses
                check_loaded(runner, checkpoint)
            return
        saved = checkpoint.get('search')
        found = None if saved is None else (saved['method'], saved['space']['hash'])
        if found != (type(self).__name__, self.space.hash):
            raise ConfigError(
                f'resume: found a checkpoint of {found or "no search"}, expected one of '
                f'{(type(self).__name__, self.space.hash)} (method, hash of the space)'
            )
        set_random_state(self.rng, saved['rng'])
        if self.held_out:
            self.held_out.load_state_dict(saved['held_out'])
        if self.record:
            self.record.cut(saved['history'])
        self.finite.load_state_dict(saved['finite'])
        counts_to_host(saved['state'])
        self.load_state_dict(saved['state'])
        self.final.load_state_dict(saved.get('selection'))
        self._restored = True
        # A training that counts iterations is one epoch, and every checkpoint of it within that.
        within = bool(checkpoint.get(PLACE, {}).get('batches'))
        self._within_epoch = counts_iterations(runner) or within

    def _write_arch(self, arch: Arch, epoch: int, final: bool) -> None:
        self.chosen = arch
        if self.record:
            score = self.epoch_summary().get('score')
            more: dict[str, Any] = {'pareto': self.pareto} if self.pareto else {}
            if final and self._validated == arch:
                figures = {k: float(v) for k, v in self._metrics.items() if isinstance(v, Real)}
                more['validated'] = {k: v for k, v in figures.items() if math.isfinite(v)}
            search = self.about(epoch=epoch, final=final, score=score, data=self.data, **more)
            self.record.write_arch(arch, self.cost(arch), self.shape, search)

    def about(self, **more: Any) -> dict[str, Any]:
        """What an arch file says of the search."""
        budget = self.budget.to_dict() or None
        return {'method': type(self).__name__, 'seed': self.seed, 'budget': budget, **more}
