"""check_search_method: what every search hook must do, on a public toy problem."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor

from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS
from mmnas_video.search import SearchHook, Work
from mmnas_video.search.work import NETWORKS
from mmnas_video.space import Arch

from . import toy

EPOCHS = 3
#: Bounds MACs in the toy space, which reaches from 29 to 50.
BUDGET = {'macs': 45}
#: Of the search hook's methods, those that may not draw from the global generators.
WATCHED = (
    'before_run',
    'before_train',
    'step',
    'after_train_epoch',
    'before_val_epoch',
    'after_val_iter',
    'before_save_checkpoint',
    'after_load_checkpoint',
    'choose',
    'select',
)


class Run(NamedTuple):
    """What one search left."""

    folder: Path
    checkpoint: dict[str, Any]
    history: bytes
    arch_file: dict[str, Any]
    sampled: list[Any]


class Killed(Exception):
    """Stands in for a kill: ends a run in the middle of an epoch."""


class Killer(Hook):
    """Ends the run before an iteration."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Raise once it is time."""
        if runner.iter == self.at:
            raise Killed


def check_search_method(hook: Mapping[str, Any]) -> None:
    """Put a search hook through MMEngine's own Runner on the toy problem, several times.

    Args:
        hook: its config without a budget, e.g. ``dict(type='PARSECSearchHook', num_archs=3)``.

    Raises:
        AssertionError: says which property does not hold.
    """
    init_default_scope('mmaction')
    name = hook['type'] if isinstance(hook['type'], str) else hook['type'].__name__
    _check_unknown_option(hook, name)
    with tempfile.TemporaryDirectory(prefix='check-search-') as temporary:
        try:
            _check_runs(hook, Path(temporary), name)
        finally:
            _forget(Path(temporary).name)


def _check_runs(hook: Mapping[str, Any], folder: Path, name: str) -> None:
    whole = _run(hook, folder / 'whole')
    _check_result(whole, name)
    _check_same(whole, _run(hook, folder / 'again'), f'{name}: two runs of the same seed')
    _check_resume(hook, whole, folder / 'killed', name)
    other = _run(hook, folder / 'other', seed=5)
    if len(set(whole.sampled)) > 1:
        assert other.sampled != whole.sampled, f'{name}: another seed drew the same architectures'


def _forget(experiment: str) -> None:
    """Take the runs whose names begin so out of what MMEngine holds for the whole process: their folder goes, and the
    caller's own are the current ones again."""
    for owner in (MMLogger, MessageHub, DefaultScope, Visualizer, *Visualizer.__subclasses__()):
        for name in [name for name in owner._instance_dict if name.startswith(experiment)]:
            left = owner._instance_dict.pop(name)
            for handler in list(left.handlers) if isinstance(left, MMLogger) else ():
                handler.close()
                left.removeHandler(handler)


def _config(hook: Mapping[str, Any], folder: Path, seed: int) -> Any:
    cfg = toy.config(
        {'budget': BUDGET, **hook},
        epochs=EPOCHS,
        work_dir=str(folder),
        randomness=dict(seed=seed),
        val_dataloader=toy.loader(2),
        val_cfg={},
        val_evaluator=dict(type='ToyMetric'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
    )
    # MMEngine finds its loggers, message hubs and visualizers by it and the second: no two checks may have one name.
    cfg.experiment_name = f'{folder.parent.name}-{folder.name}'
    cfg.train_cfg.val_interval = 1
    return cfg


def _run(hook: Mapping[str, Any], folder: Path, seed: int = 3, resume: bool = False, kill_at: int | None = None) -> Run:
    cfg = _config(hook, folder, seed)
    cfg.resume = resume
    cfg.experiment_name += f'-{resume}'
    runner = Runner.from_cfg(cfg)
    search = next(h for h in runner.hooks if isinstance(h, SearchHook))
    start = {name: value.clone() for name, value in runner.model.state_dict().items()}
    sampled, replaced = _spy(runner, search)
    if kill_at is not None:
        runner.register_hook(Killer(kill_at), priority='HIGHEST')
    try:
        runner.train()
    except Killed:
        return Run(folder, {}, b'', {}, sampled)
    _check_end(runner, search, start, replaced)
    if not resume:
        _check_work(search, len(sampled), runner.iter)
    checkpoint = torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=True)
    files = folder / 'search'
    return Run(
        folder,
        checkpoint,
        (files / 'history.jsonl').read_bytes(),
        json.loads((files / 'arch.json').read_text()),
        sampled,
    )


def _check_resume(hook: Mapping[str, Any], whole: Run, folder: Path, name: str) -> None:
    """Kill a run in the middle of the second of three epochs, of six steps each, and let another Runner go
    on."""
    killed, resumed = _run(hook, folder, kill_at=9), _run(hook, folder, resume=True)
    what = f'{name}: a run that was killed and resumed'
    tail = len(whole.sampled) - len(resumed.sampled)
    assert killed.sampled == whole.sampled[: len(killed.sampled)], (
        f'{name}: two runs of one seed drew other architectures'
    )
    assert resumed.sampled == whole.sampled[tail:], f'{what}: other architectures were drawn'
    _check_same(whole, resumed._replace(sampled=whole.sampled), what)


def _spy(runner: Runner, search: SearchHook) -> tuple[list[Any], list[bool]]:
    """Note the architectures of each step, whether steps are run at all, and who touches the global
    generators."""
    sampled: list[Any] = []
    replaced: list[bool] = []
    backbone, name = runner.model.backbone, type(search).__name__
    step, select = search.step, search.select

    def noting(module: Any, inputs: Any) -> None:
        if replaced and replaced[-1]:
            sampled.append(_comparable(module.arch))

    def stepping(*args: Any) -> Any:
        replaced.append(True)
        result = step(*args)
        replaced[-1] = False
        return result

    def selecting(*args: Any) -> Arch:
        arch = select(*args)
        assert arch in search.space, f'{name}: selected {dict(arch)}, which is not of its space'
        return arch

    backbone.register_forward_pre_hook(noting)
    search.step, search.select = stepping, selecting
    for verb in WATCHED:
        setattr(search, verb, _watched(getattr(search, verb), f'{name}.{verb}'))
    return sampled, replaced


def _comparable(arch: Arch | Mixture) -> Any:
    """An architecture itself; of a mixture its numbers, which can be compared and hashed."""
    return tuple((name, *arch[name].tolist()) for name in arch) if isinstance(arch, Mixture) else arch


def _watched(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        before = _generators()
        result = function(*args, **kwargs)
        for kind, old, new in zip(('random', 'numpy.random', 'torch'), before, _generators(), strict=True):
            assert old == new, f'{what}: drew from the global generator of {kind}, expected one of its own'
        return result

    return call


def _generators() -> tuple[Any, ...]:
    return (
        random.getstate(),
        [str(part) for part in np.random.get_state(legacy=True)],
        torch.get_rng_state().tolist(),
    )


def _check_unknown_option(hook: Mapping[str, Any], name: str) -> None:
    try:
        HOOKS.build({**hook, 'no_such_option': 1})
    except ConfigError as error:
        assert 'no_such_option' in str(error), f'{name}: the error does not name the unknown option: {error}'
    except TypeError as error:
        raise AssertionError(f'{name}: an unknown option is a TypeError ({error}), expected a ConfigError') from error
    else:
        raise AssertionError(f'{name}: took an option that it does not know')


def _check_end(runner: Runner, search: SearchHook, start: Mapping[str, Tensor], replaced: list[bool]) -> None:
    name, model = type(search).__name__, runner.model
    assert replaced, f'{name}: its step was never called, so the model trained without it'
    assert 'train_step' not in vars(model), f'{name}: the model did not get its train_step back'
    assert model.backbone.arch == toy.SPACE.largest, f'{name}: left the architecture {dict(model.backbone.arch)} active'
    if search.trains_weights:
        still = [key for key, value in model.named_parameters() if torch.equal(value, start[key])]
        assert not still, f'{name}: {still} are as they were at the start: the weights do not learn'
    else:
        moved = [key for key, value in model.state_dict().items() if not torch.equal(value, start[key])]
        assert not moved, f'{name}: {moved} have changed, although the method says that it trains no weights'


def _check_work(search: SearchHook, ran: int, steps: int) -> None:
    """What ``tools/plan.py`` reckons with: networks that it knows, a training pass first, and in the steps of a method
    that trains no fewer passes than there were."""
    name, works = type(search).__name__, search.step_work(1)
    after = search.selection_work(search.space, 1, EPOCHS)
    for work in (*works, *after):
        known = isinstance(work, Work) and work.network in NETWORKS
        assert known, f'{name}: its work has {work}, expected a Work of one of {NETWORKS}'
    assert works and not works[0].held_out, f'{name}.step_work: found {works[:1]} first, expected a training pass'
    said = sum(work.count * work.share(EPOCHS) for work in works) * steps
    assert ran <= said * (1 + 1e-9) or not search.trains_weights, (
        f'{name}.step_work: found {said:g} passes in {steps} steps, expected the {ran} that there were'
    )


def _check_result(run: Run, name: str) -> None:
    found, space = run.arch_file, toy.SPACE
    assert found['space'] == space.identity, f'{name}: arch.json is of the space {found["space"]}'
    arch = found['arch']
    assert arch in space, f'{name}: arch.json holds {arch}, which is not of its space'
    about = found['search']
    assert about['method'] == name and about['seed'] == 3 and about['final'], f'{name}: arch.json says {about}'
    assert about['budget'] == {'macs': [None, BUDGET['macs']]}, f'{name}: arch.json has the budget {about["budget"]}'
    expected = int(arch['width']) * toy.FEATURES + 5 * toy.CLASSES
    assert found['cost']['macs'] == expected, f'{name}: arch.json has {found["cost"]["macs"]} MACs, expected {expected}'
    lines = [json.loads(line) for line in run.history.splitlines()]
    epochs = [line for line in lines if line['kind'] == 'epoch']
    assert [line['epoch'] for line in epochs] == list(range(1, EPOCHS + 1)), (
        f'{name}: epochs in the history are missing'
    )
    for line in epochs:
        shown = space.decode(line['most_probable'])
        macs = int(shown['width']) * toy.FEATURES + 5 * toy.CLASSES
        assert (line['macs'], line['target']) == (macs, BUDGET['macs']), f'{name}: the history has wrong MACs: {line}'
    assert run.checkpoint['search']['space'] == space.identity, f'{name}: the checkpoint does not name its space'


def _check_same(one: Run, two: Run, what: str) -> None:
    assert one.history == two.history, f'{what}: the histories differ'
    for run in (one, two):
        run.arch_file['search'].pop('commit', None)
    assert one.arch_file == two.arch_file, f'{what}: found {two.arch_file["arch"]}, expected {one.arch_file["arch"]}'
    for part in ('state_dict', 'optimizer', 'search'):
        difference = _difference(one.checkpoint[part], two.checkpoint[part])
        assert not difference, f'{what}: {part}{difference} in the last checkpoint differ'
    assert one.sampled == two.sampled, f'{what}: other architectures were drawn'


def _difference(one: Any, two: Any) -> str:
    """Where two nested values differ, as a path; empty if they do not."""
    if isinstance(one, Tensor):
        return '' if torch.equal(one, two) else ' values'
    if isinstance(one, Mapping):
        if set(one) != set(two):
            return f' keys {sorted(set(one) ^ set(two), key=str)}'
        pairs = [(key, one[key], two[key]) for key in one]
    elif isinstance(one, (list, tuple)):
        if len(one) != len(two):
            return ' lengths'
        pairs = list(zip(range(len(one)), one, two, strict=True))
    else:
        return '' if one == two or (one != one and two != two) else f' ({one} and {two})'
    for key, first, second in pairs:
        if found := _difference(first, second):
            return f'.{key}{found}'
    return ''
