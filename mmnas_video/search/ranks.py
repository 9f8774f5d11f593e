"""What several ranks must have in common, and a look whether they do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.runner import Runner
from torch import Tensor, nn

from mmnas_video.entangle import norm_layers
from mmnas_video.errors import ConfigError, RunError, StackError, shown

from .over_ranks import average_over_ranks

#: How far numbers of two ranks may be apart: processors of two kinds round differently.
TOLERANCE = 1e-9
T = TypeVar('T')


def before_checkpoint(runner: Runner) -> None:
    """Average BatchNorm statistics over the ranks and demand that all hold the same search; on every rank, before rank
    0 writes a checkpoint for all.

    Every hook with a method ``shared_state(runner)`` is asked: name → numbers, texts, or lists and dicts of these.

    Raises:
        RunError: names the rank and what differs.
    """
    if get_world_size() == 1:
        return
    average_statistics(runner)
    state: dict[str, Any] = {'iteration': runner.iter}
    for hook in runner.hooks:
        if hasattr(hook, 'shared_state'):
            state.update(hook.shared_state(runner))
    check_agreement(state, f'at iteration {runner.iter}')


def average_statistics(runner: Runner) -> None:
    """Make BatchNorm's running statistics their mean over the ranks; on every rank."""
    with torch.no_grad():
        average_over_ranks(running_statistics(runner))


def running_statistics(runner: Runner) -> list[Tensor]:
    """Running means and variances of the network, and of its average where there is one (EMA): what each rank has by
    itself, of its shard alone, but with synced statistics (``sync_bn``)."""
    averages = [hook.ema_model for hook in runner.hooks if isinstance(getattr(hook, 'ema_model', None), nn.Module)]
    norms = [norm for model in (runner.model, *averages) for norm in norm_layers(model)]
    return [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]


def on_all_ranks(work: Callable[[], T]) -> list[T]:
    """What some work gives on each rank, in their order; every rank has to call this.

    Args:
        work: without anything that waits for other ranks; what it returns goes to all of them.

    Raises:
        Exception: on every rank, if the work ends with an error on one: the first rank's, if it is an error of this
            package; of another kind it stays what it is on that rank, and the others have a RunError that quotes it.
    """
    own, error = None, None
    try:
        own = work()
    except Exception as caught:
        error = caught
    told = None
    if isinstance(error, (ConfigError, RunError, StackError)):
        told = type(error), str(error)
    elif error is not None:
        told = RunError, f'rank {get_rank()}: {type(error).__name__}: {error}'
    found = all_gather_object((own, told))
    for rank, (_, told) in enumerate(found):
        if told is not None:
            raise error if error is not None and rank == get_rank() else told[0](told[1])
    return [result for result, _ in found]


def check_agreement(state: Mapping[str, Any], when: str) -> None:
    """Demand the same ``state`` on all ranks; every rank has to call this.

    Args:
        state: name → numbers (equal to 1e-9), texts, None, or lists and dicts of these.
        when: for the message.

    Raises:
        RunError: on every rank, and the same text. Names the ranks that differ from what most hold (of two ranks the
            second), and the first thing that does.
    """
    ranks = all_gather_object(json.loads(json.dumps(state)))
    groups: list[list[int]] = []
    for rank, found in enumerate(ranks):
        home = next((group for group in groups if _difference(ranks[group[0]], found) is None), None)
        groups.append([rank]) if home is None else home.append(rank)
    if len(groups) == 1:
        return
    most = max(groups, key=len)  # the first of equals, so that of two ranks it is rank 0
    wrong = [
        (rank, _difference(ranks[most[0]], ranks[rank])) for group in groups if group is not most for rank in group
    ]
    rank, (path, found, expected) = wrong[0]
    others = f' (and ranks {", ".join(str(rank) for rank, _ in wrong[1:])} differ too)' if len(wrong) > 1 else ''
    raise RunError(
        f'rank {rank}: found {path} = {shown(found)} {when}, expected {shown(expected)} as on rank {most[0]}{others}; '
        'the ranks do not run one search any more: go on from the last checkpoint (--resume)'
    )


def _difference(expected: Any, found: Any) -> tuple[str, Any, Any] | None:
    """Path, found and expected value of the first difference; None for none."""
    return next(_differences(expected, found, ''), None)


def _differences(expected: Any, found: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        for key in expected:
            yield from _differences(expected[key], found[key], f'{path}.{key}' if path else key)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _differences(one, other, f'{path}[{index}]')
    elif isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        close = expected == found or abs(expected - found) <= TOLERANCE or (expected != expected and found != found)
        if not close:
            yield path, found, expected
    elif expected != found:
        yield path, found, expected
