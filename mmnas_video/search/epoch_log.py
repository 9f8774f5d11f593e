"""One line for each epoch of a search: in the history, in the log and, as curves, in the visualizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.runner import Runner

if TYPE_CHECKING:
    from .base import SearchHook


def log_epoch(hook: SearchHook, runner: Runner) -> None:
    """Write what the search would name after this epoch, its cost, and what the method says of the epoch."""
    arch = hook.choose()
    line = {
        'kind': 'epoch',
        'epoch': runner.epoch + 1,
        'dropped': hook.finite.dropped,
        **hook.epoch_summary(),
        'most_probable': list(hook.space.encode(arch)),
        'macs': hook.cost(arch).macs,
        'target': hook.budget.macs[1],
    }
    if hook.costs.latency is not None:
        line['latency_ms'] = hook.costs.latency(arch)
    if hook.record:
        hook.record.append(line)
    scalars = {key: value for key, value in line.items() if isinstance(value, (int, float)) and key != 'epoch'}
    undecided = {f'entropy/{name}': value for name, value in line.get('entropies', {}).items()}
    curves = {f'search/{key}': value for key, value in {**scalars, **undecided}.items()}
    runner.visualizer.add_scalars(curves, step=runner.iter)
    shown = '  '.join(f'{key}: {_short(value)}' for key, value in scalars.items())
    runner.logger.info(f'Search(epoch) [{runner.epoch + 1}]  {shown}')


def _short(value: float) -> str:
    return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'
