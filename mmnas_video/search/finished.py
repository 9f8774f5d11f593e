"""What a finished stage of a search leaves, for the stage after it and for the table at the end.

``finished.json`` (written last, atomically) and beside it ``weights.pth``: the weights of the network that the stage
chose, exactly as they stand in its supernet. (``search/extracted.pth`` is the same network with its BatchNorm
statistics recomputed.) Nothing else goes from one stage to the next, so a killed run, and one that starts from another
run's stage, do what an uninterrupted one does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process

from mmnas_video.entangle import extract_state
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, SearchSpace, parse_json, read_text, write_text_atomic

from .base import SearchHook
from .checkpoint import save_atomic
from .stages import Pins

FORMAT = 'mmnas-video/stage@1'
FINISHED, WEIGHTS, STAGES = 'finished.json', 'weights.pth', 'stages.json'


@dataclass(frozen=True)
class Finished:
    """A finished stage, as its folder tells it.

    Attributes:
        folder: of the stage.
        pins: what is chosen with it and before it, and what still waits.
        arch: its network in its own space.
        summary: all of ``finished.json``.
    """

    folder: Path
    pins: Pins
    arch: Arch
    summary: Mapping[str, Any]

    @property
    def weights(self) -> Path:
        """File of the network's weights."""
        return self.folder / WEIGHTS

    def check_space(self, space: SearchSpace, key: str) -> None:
        """Demand that all of the stage's choices and values are offered by ``space``.

        Raises:
            ConfigError: names the folder, and the first choice that is not.
        """
        for name, value in self.arch.items():
            if name not in space.names or Arch({name: value}) not in SearchSpace(space.name, [space[name]]):
                raise ConfigError(
                    f'{key}: found in {str(self.folder)!r} a stage of another space ({self.summary["space"]["name"]!r}'
                    f', with {name!r} = {value!r}); expected one of {space.name!r}'
                )


def find_finished(folder: Path, key: str) -> Finished:
    """The finished stage in ``folder``, or the last stage of the search that was run there.

    Raises:
        ConfigError: there is none, or its files are broken.
    """
    if (folder / 'search' / STAGES).is_file() and not (folder / FINISHED).is_file():
        try:
            last = _read(folder / 'search' / STAGES)['stages'][-1]['folder']
            return read_finished(folder / last, key)
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(f'{key}: cannot use {str(folder / "search" / STAGES)!r} ({error})') from None
    if not (folder / FINISHED).is_file():
        state = 'a search that is not finished' if (folder / 'search').is_dir() else 'no search'
        raise ConfigError(
            f'{key}: found {state} in {str(folder)!r}, expected the folder of a finished stage (with {FINISHED}), such '
            'as work_dirs/NAME/1_STAGE'
        )
    return read_finished(folder, key)


def read_finished(folder: Path, key: str) -> Finished:
    """What the stage in ``folder`` has left.

    Raises:
        ConfigError: a file that is missing or broken.
    """
    path = folder / FINISHED
    try:
        data = _read(path)
        if data['format'] != FORMAT:
            raise ValueError(f'format {data["format"]!r}')
        if not (folder / WEIGHTS).is_file():
            raise ValueError(f'no {WEIGHTS} beside it')
        _ = data['space']['name'], data['space']['hash']
        return Finished(folder, Pins(dict(data['chosen']), dict(data['waiting'])), Arch(data['arch']), data)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f'{key}: cannot use {str(path)!r} ({type(error).__name__}: {error}), expected what a finished stage leaves'
        ) from None


def _read(path: Path) -> Any:
    return parse_json(read_text(path, path.name), path.name, 'what a finished stage leaves')


def write_finished(folder: Path, hook: SearchHook, arch: Arch, summary: Mapping[str, Any]) -> None:
    """Leave ``weights.pth`` and then ``finished.json`` in a stage's folder.

    Args:
        folder: of the stage.
        hook: of its search, whose model holds the final weights.
        arch: the network that goes on.
        summary: further keys: ``name``, ``opened``, ``chosen``, ``waiting``, ``epochs``, ``note``.
    """
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.cpu() for name, value in extract_state(hook.bare, arch).items()}
        save_atomic({'meta': {'arch': dict(arch)}, 'state_dict': state}, folder / WEIGHTS)
        data = {
            'format': FORMAT,
            'folder': folder.name,
            'space': hook.space.identity,
            'size': hook.space.size,
            'budget': hook.budget.to_dict() or None,
            **hook.cost(arch)._asdict(),
            'entropy': hook.epoch_summary().get('entropy'),
            'arch': dict(arch),
            **summary,
        }
        write_text_atomic(folder / FINISHED, json.dumps(data, indent=1) + '\n')
    barrier()


def end_entropy(stages: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Sum and mean over the stages of the entropy (nats) that each ended with; None for a method that has none.

    Auto-TSNet's Table 9 prints the mean.
    """
    found = [stage['entropy'] for stage in stages]
    if None in found:
        return {'entropy_total': None, 'entropy_mean': None}
    return {'entropy_total': sum(found), 'entropy_mean': sum(found) / len(found)}


def stage_table(stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the stages ended with, line by line: open choices, size of the space, target and found MACs, found ms
    where there is a latency table, entropy."""
    width = max(12, *(len(stage['name']) + 2 for stage in stages))
    timed = any('latency_ms' in stage for stage in stages)
    ms = f'{"found ms":>11}' if timed else ''
    yield f'{"stage":<{width}}{"open":>6}{"space":>10}{"target M":>11}{"found M":>11}{ms}{"entropy":>9}  note'
    for stage in stages:
        high = ((stage['budget'] or {}).get('macs') or (None, None))[1]
        ms = _figure(stage.get('latency_ms')).rjust(11) if timed else ''
        yield (
            f'{stage["name"]:<{width}}{len(stage["opened"]):>6}{stage["size"]:>10.3g}'
            f'{_figure(high and high / 1e6):>11}{stage["macs"] / 1e6:>11,.2f}'
            f'{ms}{_figure(stage["entropy"]):>9}  {stage["note"]}'
        ).rstrip()
    sums = end_entropy(stages)
    yield f'end entropy: {_figure(sums["entropy_total"])} nats in all, {_figure(sums["entropy_mean"])} a stage (mean)'


def _figure(value: float | None) -> str:
    return '-' if value is None else f'{value:,.2f}'
