"""Tuning: a few training steps of a mixture, between the choices that a selection fixes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_rank
from mmengine.runner import Runner

from mmnas_video.datasets import derive_seed, seeded
from mmnas_video.entangle import Mixture

from .generators import random_state, set_random_state
from .stream import BatchStream
from .task_streams import TaskStreams, is_joint, workers_of_each

if TYPE_CHECKING:
    from .base import SearchHook


class Tuning:
    """Trains the network's weights while a mixture is what is run; what ``tune`` of
    :func:`~mmnas_video.search.perturbation.select_by_perturbation` may be.

    Each call has dropout masks of its own seed: they must not depend on whether the training before has run in this
    process, or the search was killed after its last checkpoint and resumed.

    Args:
        hook: the search.
        runner: its Runner, for the weights' optimiser and the training data (in an order of its own; of several named
            datasets each step draws one as the training does).
        iters: steps per call.
        rate: learning rate of the steps; None leaves what stands in the optimiser.
    """

    def __init__(self, hook: SearchHook, runner: Runner, iters: int, rate: float | None = None) -> None:
        self.hook, self.iters, self.optim_wrapper = hook, iters, runner.optim_wrapper
        own = ('sampler', 'batch_sampler', 'num_batch_per_epoch')
        cfg = {k: v for k, v in runner.cfg.train_dataloader.items() if k not in own}
        args = (hook.seed, 'tuning', 'train_dataloader', hook.max_bad_share)
        self.shares: dict[str, float] = {}
        self.rng = random.Random(derive_seed(hook.seed, 'tuning tasks'))
        if is_joint(cfg):
            self.shares = runner.train_dataloader.batch_sampler.weights
            sizes = (runner.cfg.train_dataloader.get('batch_sampler') or {}).get('batch_sizes') or {}
            workers = workers_of_each(cfg.get('num_workers', 0), len(self.shares))
            cfg = {**cfg, 'num_workers': workers, 'batch_sizes': sizes}
            self.stream: BatchStream | TaskStreams = TaskStreams(cfg, *args)
        else:
            self.stream = BatchStream(cfg, *args)
        self.calls = 0
        for group in self.optim_wrapper.optimizer.param_groups if rate is not None else ():
            group['lr'] = rate

    def __call__(self, mixture: Callable[[], Mixture]) -> None:
        """Train; the mixture is made anew for every step."""
        self.hook.bare.train()
        self.hook.forget_gradients(self.optim_wrapper)  # of a training that was ended between two updates
        # The training's own count is over; with accumulation the last steps of this call make one update.
        self.optim_wrapper.initialize_count_status(self.hook.bare, 0, self.iters)
        with self._own_masks():
            for _ in range(self.iters):
                batch = self.hook.prepare(self._next(), training=True)
                self.hook.sampled_step([mixture()], batch, self.optim_wrapper)

    @contextmanager
    def _own_masks(self) -> Iterator[None]:
        device = self.hook.device
        seed = derive_seed(self.hook.seed, 'tuning masks', get_rank(), self.calls)
        self.calls += 1
        with torch.random.fork_rng([device] if device.type == 'cuda' else []), seeded(seed):
            if device.type == 'cuda':
                torch.cuda.manual_seed(seed)
            yield

    def _next(self) -> dict[str, Any]:
        if isinstance(self.stream, TaskStreams):
            return self.stream.next(self.rng.choices(list(self.shares), list(self.shares.values()))[0])
        return next(self.stream)

    def close(self) -> None:
        """End the workers."""
        self.stream.close()

    def state_dict(self) -> dict[str, Any]:
        """How far the calls so far have come in the data."""
        return {'calls': self.calls, 'stream': self.stream.state_dict(), 'rng': random_state(self.rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.calls = state['calls']
        self.stream.load_state_dict(state['stream'])
        set_random_state(self.rng, state['rng'])
