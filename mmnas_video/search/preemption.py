"""Preemption: a run that is told to end (SIGTERM) leaves a checkpoint within its epoch, and goes on from there; in a
long epoch it leaves some unasked."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, barrier, get_rank, get_world_size, is_main_process
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmnas_video.datasets import FileWatchHook, SeededSampler, close_runner_workers, outlive_sigterm_from_the_start
from mmnas_video.errors import ConfigError
from mmnas_video.runner_state import counts_iterations, is_resuming, loader_of
from mmnas_video.told_again import tell_again_if_ignored

from .generators import random_state, set_random_state
from .over_ranks import sum_over_ranks
from .ranks import running_statistics
from .validated import validates_at

#: Exit status of a process that SIGTERM ends.
STATUS = 128 + signal.SIGTERM
#: Key of the place within an epoch in a checkpoint.
PLACE = 'within_epoch'
#: Of the time that may go by without a checkpoint: what may have gone by where SIGTERM will end the process at once.
SHORT = 1 / 30


class Preemption:
    """Lets a training finish the step that it is in when SIGTERM comes, save, and exit with status 143.

    Slurm, a batch system or a cloud that takes a machine back sends SIGTERM, and SIGKILL half a minute later. What is
    saved is the state after a whole update: the number of batches that lie behind in the epoch, and every rank's
    generators and BatchNorm statistics. With a ``SeededSampler`` (or joint data) the resumed run is bit for bit the one
    that was not told to end. With another sampler an epoch cannot be gone on with: then, and while no training step is
    running (validation, the selection at the end, a generation of an evolution), the process ends at once, and the
    last checkpoint stands; of an epoch's end one is written before its validation, if the last is a minute old.
    Checkpoints of every so many steps (``by_epoch=False``) hold the place as well.

    Several ranks ask each other at every step, and end after the same one: torchrun sends SIGKILL 30 s after SIGTERM,
    and a step of a large search takes half of that.

    Args:
        save: writes a checkpoint, given the Runner and MMEngine's ``meta`` (epoch, iter) of it.
        max_minutes: since the last checkpoint, of any kind, after which one is written within the epoch, and the run
            goes on, undisturbed bit for bit.
    """

    def __init__(self, save: Callable[[Runner, dict[str, Any]], None], max_minutes: float | None = None) -> None:
        self._save = save
        self._max_seconds = math.inf if max_minutes is None else 60 * max_minutes
        self._saved = 0.0  # when
        self._told = self._agreed = self._stepping = False
        self._previous: Any = None
        self._runner: Runner | None = None
        self._place: dict[str, Any] | None = None  # of the checkpoint that is resumed
        self._here: dict[str, Any] | None = None  # of the one that is being written
        self._begun = self._done = 0  # batches of this epoch: that an earlier run has done, that lie behind

    # ------------------------------------------------------------------ the signal
    def watch(self, runner: Runner) -> None:
        """Take SIGTERM over; only a process's main thread can."""
        self._runner, self._process = runner, os.getpid()
        self.note_saved()
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._receive)
            for mode in ('train', 'val'):
                if (loader := loader_of(runner, mode)) is not None:
                    outlive_sigterm_from_the_start(loader)

    def unwatch(self) -> None:
        """Give SIGTERM back."""
        if self._previous is not None and os.getpid() == self._process:
            signal.signal(signal.SIGTERM, self._previous)
        self._previous = self._runner = None

    def _receive(self, number: int, frame: Any) -> None:
        if self._runner is None or os.getpid() != self._process:  # a worker that has been forked from this process
            raise SystemExit(STATUS)
        self._told = True
        for hook in self._runner.hooks:
            if isinstance(hook, FileWatchHook):
                hook.stop()
        if not self._stepping:
            tell_again_if_ignored(number)
            self._end(self._runner)

    def _end(self, runner: Runner) -> None:
        last = runner.message_hub.runtime_info.get('last_ckpt')
        place = f'goes on from {last}' if last else 'begins anew: there is no checkpoint yet'
        runner.logger.warning(f'Told to end (SIGTERM): the same command with --resume {place}')
        if self._stepping:
            close_runner_workers(runner)
        if self._agreed:  # a launcher ends the first rank, which may still be writing, when another one has gone
            barrier()
        self.unwatch()
        raise SystemExit(STATUS)

    # ------------------------------------------------------------------ the run
    def give_statistics(self, runner: Runner) -> None:
        """Give every rank its own BatchNorm statistics, if the resumed checkpoint has them: before a validation, which
        averages them."""
        own = (self._place or {}).get('statistics') or ()
        if len(own) == get_world_size() > 1:
            for buffer, value in zip(running_statistics(runner), own[get_rank()], strict=True):
                buffer.copy_(value)

    def enter_epoch(self, runner: Runner) -> None:
        """Go to where the resumed checkpoint was written within this epoch, if it was."""
        place, self._place = self._place, None
        loader = runner.train_loop.dataloader
        # Not from the step of the run: epochs before this one may have had more steps, or fewer.
        self._begun = getattr(loader.batch_sampler, 'begun', place['batches'] if place else 0)
        if place and place['batches']:
            if isinstance(loader.sampler, SeededSampler):  # joint data has gone there by itself
                loader.sampler.go_to(runner.epoch, place['batches'] * loader.batch_size)
            _set_generators(place['generators'][get_rank()])
        # Nothing of a generation can be saved; its hook says so.
        self._stepping = all(getattr(hook, 'trains_weights', True) for hook in runner.hooks)

    def note_saved(self) -> None:
        """Note that a checkpoint has been written."""
        self._saved = time.monotonic()

    def count(self, batch_idx: int) -> None:
        """Note that a batch lies behind, the one with this number since the epoch was begun or gone on with."""
        self._done = self._begun + batch_idx + 1

    def ends_epoch(self, runner: Runner) -> bool:
        """Whether the step that has been done is the last of its epoch."""
        return self._done >= len(runner.train_loop.dataloader)

    def after_step(self, runner: Runner) -> None:
        """Between two updates leave, if a rank has been told to end, or save, if there has been no checkpoint for too
        long."""
        loop, done = runner.train_loop, 0
        told, due = self._ask(runner, counts_iterations(runner) and validates_at(runner, runner.iter + 1))
        if not (told or due) or not runner.optim_wrapper.should_update():
            return
        if not counts_iterations(runner):
            if self.ends_epoch(runner):
                return  # the epoch's own end comes first
            if not goes_on_within(loop.dataloader):
                if told:
                    self._end(runner)
                return
            done = self._done
        self._write(runner, dict(epoch=runner.epoch, iter=runner.iter + 1), done)
        if told:
            self._end(runner)

    def after_epoch(self, runner: Runner, saved: bool) -> None:
        """At the end of an epoch leave, if a rank has been told to end, or save, if it is time before a validation.

        Args:
            runner: of the run.
            saved: whether this epoch's checkpoint has been written already.
        """
        validates = not counts_iterations(runner) and validates_at(runner, runner.epoch + 1)
        told, due = self._ask(runner, validates)
        if (told or (due and validates)) and not saved:
            self._write(runner, dict(epoch=runner.epoch + 1, iter=runner.iter), 0)
        if told:
            self._end(runner)
        self._stepping = False

    def is_due(self, runner: Runner) -> bool:
        """Whether a checkpoint within a selection is due by the first rank's clock. There SIGTERM ends the process at
        once: so it comes much sooner than within an epoch, after a minute of half an hour."""
        due = time.monotonic() - self._saved >= self._max_seconds * SHORT
        return sum_over_ranks([float(due and is_main_process())], next(runner.model.parameters()).device)[0] > 0

    def _ask(self, runner: Runner, validates: bool) -> tuple[bool, bool]:
        """Whether any rank has been told to end, and whether a checkpoint is due by the clock of the first, which it is
        sooner where a validation follows."""
        limit = self._max_seconds * (SHORT if validates else 1)
        due = self._stepping and time.monotonic() - self._saved >= limit
        if get_world_size() == 1:
            return self._told, due
        if not self._agreed:
            asked = [float(self._told), float(due and is_main_process())]
            told, overdue = sum_over_ranks(asked, next(runner.model.parameters()).device)
            self._agreed, due = told > 0, overdue > 0
        return self._agreed, due

    def _write(self, runner: Runner, meta: dict[str, Any], done: int) -> None:
        """Save, and leave every rank's statistics as they were: the undisturbed run would not average them here."""
        statistics = running_statistics(runner) if get_world_size() > 1 else []
        own = [buffer.cpu().clone() for buffer in statistics]
        with self._at(runner, done, own):
            self._save(runner, meta)
        for buffer, value in zip(statistics, own, strict=True):
            buffer.copy_(value)

    # ------------------------------------------------------------------ checkpoints
    @contextmanager
    def within_epoch(self, runner: Runner) -> Iterator[None]:
        """The checkpoint that is written meanwhile, on all ranks, gets the place within the epoch, where it can be gone
        on with; without statistics: those of the ranks have been averaged, as they are in the run that goes on."""
        if not goes_on_within(runner.train_loop.dataloader):
            yield
            return
        with self._at(runner, self._done):
            yield

    @contextmanager
    def _at(self, runner: Runner, done: int, statistics: Sequence[Tensor] = ()) -> Iterator[None]:
        self._here = {
            'batches': done,
            'of': _lengths(runner.train_loop.dataloader),
            'generators': all_gather_object(_generators()),
            'statistics': all_gather_object(statistics) if statistics else [],
        }
        try:
            yield
        finally:
            self._here = None

    def save(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put the place into a checkpoint that is written within an epoch."""
        if self._here is not None:
            checkpoint[PLACE] = self._here

    def load(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take the place from a checkpoint that is resumed.

        Raises:
            ConfigError: it was written within an epoch by another number of ranks, or of other batches.
        """
        place = checkpoint.get(PLACE) if is_resuming(runner) else None
        if place and place['batches']:
            expected = {'ranks': get_world_size(), **_lengths(runner.train_loop.dataloader)}
            found = {**expected, **place.get('of', {}), 'ranks': len(place['generators'])}
            if found != expected:
                raise ConfigError(
                    f'resume: found a checkpoint within an epoch of {found}, expected {expected}: batches would be '
                    'left out or done twice; resume with the same, or from the checkpoint of an epoch (--resume FILE)'
                )
        self._place = place


def goes_on_within(loader: DataLoader) -> bool:
    """Whether an epoch of this data can be gone on with."""
    if getattr(loader.batch_sampler, 'resumes_within_epoch', False):
        return True
    return isinstance(loader.sampler, SeededSampler) and loader.batch_size is not None


def _lengths(loader: DataLoader) -> dict[str, Any]:
    """What a number of batches has to be counted in for it to be a place."""
    return {'steps': len(loader), 'batch_size': loader.batch_size}


def _generators() -> dict[str, Any]:
    """State of every generator of this process, in what a checkpoint may hold."""
    name, keys, *rest = np.random.get_state()
    return {
        'python': random_state(random),
        'numpy': [name, keys.tolist(), *rest],
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_generators(states: dict[str, Any]) -> None:
    """Inverse of :func:`_generators`."""
    set_random_state(random, states['python'])
    name, keys, *rest = states['numpy']
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states['torch'].cpu())
    if states['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())
