"""Run the stages of a search one after another; what a stage is says :mod:`mmnas_video.search.stages`.

Each stage is a complete ordinary search in ``WORK_DIR/<number>_<name>``; at the end ``WORK_DIR/search`` holds the last
one's results, as after a search without stages, and ``stages.json``.
"""

from __future__ import annotations

import copy
import inspect
import json
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import init_default_scope

from mmnas_video.cost import Budget, total_range
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.launch import AUTO, dry_run
from mmnas_video.registry import MODELS
from mmnas_video.search import (
    FINISHED,
    STAGES,
    STARTS,
    Finished,
    Pins,
    SearchHook,
    Stage,
    build_hook,
    check_warm_up,
    end_entropy,
    find_finished,
    is_named,
    model_part,
    opened,
    read_finished,
    read_stages,
    search_hook_index,
    stage_config,
    start_values,
    write_finished,
)
from mmnas_video.space import Arch, SearchSpace, Value, write_atomic, write_text_atomic

#: What is copied from the last stage's ``search`` folder into that of the whole search.
RESULTS = ('arch.json', 'space.json', 'history.jsonl', 'extracted.pth', 'extracted.py')
#: The same of what there is only with test data.
EXTRAS = ('inference.py',)

#: Runs one ordinary search to its end and returns its hook, whose model holds the final weights.
Search = Callable[[Config], SearchHook]


@dataclass(frozen=True)
class StagePlan:
    """One stage, checked, before it is known what the stages before it choose.

    Attributes:
        stage: as the config has it.
        key: where it stands in the config, for messages.
        folder: its work dir.
        cfg: its config as an ordinary search, before anything is pinned.
        part: name of the searchable module in the model.
        space: of the network, with the config's own ``fixed`` alone.
        opened: names of the choices that it searches.
        waiting: choice to value of those that are neither chosen nor searched.
    """

    stage: Stage
    key: str
    folder: Path
    cfg: Config
    part: str
    space: SearchSpace
    opened: tuple[str, ...]
    waiting: Mapping[str, Value]

    def pinned(self, chosen: Mapping[str, Value]) -> Config:
        """The stage's config with everything pinned that it does not search."""
        cfg = copy.deepcopy(self.cfg)
        part = model_part(cfg, self.part)
        part.fixed = {**(part.get('fixed') or {}), **chosen, **self.waiting}
        cfg.work_dir = str(self.folder)
        cfg.experiment_name = self.folder.name  # MMEngine keeps one message hub for runs of one name and second
        return cfg


# ---------------------------------------------------------------------- before the first stage
def plan_stages(cfg: Config, work_dir: Path) -> tuple[list[StagePlan], Finished | None]:
    """Check all stages of a config before the first begins.

    Returns:
        The plans, and the finished stage that the first one goes on from, if it names one.

    Raises:
        ConfigError: what :func:`~mmnas_video.search.read_stages` and :func:`~mmnas_video.search.opened` refuse, a
            previous stage that is missing, unfinished or of another space, an option that a hook does not know, or a
            budget that even the stage's cheapest network exceeds.
    """
    init_default_scope(cfg.get('default_scope') or 'mmaction')  # no Runner has done it yet
    stages, key = read_stages(cfg), 'stages[0].previous'
    before = find_finished(Path(stages[0].previous), key) if stages[0].previous else None
    pins, plans = (before.pins if before else Pins()), []
    for i, stage in enumerate(stages):
        made = stage_config(cfg, stage, f'stages[{i}]')
        if 'max_epochs' not in made.train_cfg:
            raise ConfigError(
                f'train_cfg.max_epochs: found none for stages[{i}], expected it: the length of a stage is in epochs'
            )
        for hook in made.custom_hooks:
            check_warm_up(build_hook(hook), made.train_cfg.max_epochs, f'stages[{i}].epochs')
        part, searchable = find_searchable(MODELS.build(made.model))
        space = searchable.space
        if 'fixed' not in inspect.signature(type(searchable).__init__).parameters:
            raise ConfigError(
                f'stages[{i}]: found a {type(searchable).__name__}, which has no option fixed; expected a network of '
                'which a part can be pinned'
            )
        if before and not i:
            before.check_space(space, key)
        known = before.arch if before and not i else (plans[-1].space if plans else space).names
        start_values(stage, f'stages[{i}]', space, dict.fromkeys(known))
        names, waiting = opened(stage, f'stages[{i}]', space, pins)
        plan = StagePlan(stage, f'stages[{i}]', work_dir / f'{i + 1}_{stage.name}', made, part, space, names, waiting)
        check_cost(plan, before.pins.chosen if before and not i else {})
        plans.append(plan)
        pins = Pins({**pins.chosen, **dict.fromkeys(names)}, waiting)
    return plans, before


def check_cost(plan: StagePlan, chosen: Mapping[str, Value]) -> None:
    """Refuse a target that the pinned parts alone exceed.

    Raises:
        ConfigError: names the stage, the target and the range that can be reached.
    """
    cfg = plan.pinned(chosen)
    hook = cfg.custom_hooks[search_hook_index(cfg)]
    budget, shape = Budget.from_cfg(hook.get('budget')), hook.get('cost_shape') or cfg.get('cost_shape')
    if not budget.needs or not shape:
        return  # the hook says what is missing
    model = MODELS.build(cfg.model)
    try:
        budget.check_reachable(**total_range(model, find_searchable(model)[1], tuple(shape)))
    except ConfigError as error:
        raise ConfigError(f'{plan.key} ({plan.stage.name!r}, {len(plan.opened)} choices open): {error}') from None


# ---------------------------------------------------------------------- running
def run_stages(cfg: Config, search: Search) -> list[Finished]:
    """Run every stage of a config that is not finished, and put the last one's results into ``WORK_DIR/search``.

    Args:
        cfg: with ``stages``; with ``resume`` finished stages are not run again, and the killed one goes on. The first
            begins with ``load_from``.
        search: runs one ordinary search.

    Raises:
        ConfigError: see :func:`plan_stages`; a checkpoint named to resume from; finished stages of another config.
    """
    work_dir, resume = Path(cfg.work_dir), bool(cfg.get('resume'))
    if resume and cfg.resume != AUTO and cfg.get('load_from'):
        raise ConfigError(
            f'--resume: found the checkpoint {cfg.load_from!r}, expected no value: a search in stages goes on in the '
            'stage that it was in, from its last checkpoint'
        )
    plans, before = plan_stages(cfg, work_dir)
    barrier()
    if not resume and is_main_process():
        for folder in (*(plan.folder for plan in plans), work_dir / 'search'):
            set_aside(folder)
    barrier()
    done: list[Finished] = []
    for plan in plans:
        before = _run_stage(plan, before, search, resume)
        done.append(before)
    if is_main_process():
        _collect(work_dir, done, cfg.get('retrain'))
        leave_report(work_dir)
    barrier()
    return done


def _run_stage(plan: StagePlan, before: Finished | None, search: Search, resume: bool) -> Finished:
    chosen = before.pins.chosen if before else {}
    if resume and (plan.folder / FINISHED).is_file():
        done = read_finished(plan.folder, plan.key)
        expected = find_searchable(MODELS.build(plan.pinned(chosen).model))[1].space
        if done.summary['space']['hash'] != expected.hash:
            raise ConfigError(
                f'--resume: found in {str(plan.folder)!r} a stage of the space {done.summary["space"]}, expected '
                f'{expected.identity}; go on with the config that it was begun with, or start anew'
            )
        return done
    try:
        hook = search(_prepared(plan, before, resume))
    except ConfigError as error:  # a target below what the stages before chose, among others
        raise ConfigError(f'{plan.key} ({plan.stage.name!r}): {error}') from None
    return _conclude(plan, before, hook, hook.chosen)


def _prepared(plan: StagePlan, before: Finished | None, resume: bool) -> Config:
    """The stage as an ordinary search: parts pinned, weights inherited, to be resumed if it has a checkpoint."""
    cfg = plan.pinned(before.pins.chosen if before else {})
    if before:
        arch = start_values(plan.stage, plan.key, plan.space, before.arch)
        cfg.load_from = str(before.weights)
        # They have put the weights of the config's load_from into the first stage.
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if not is_named(hook, STARTS)]
        cfg.custom_hooks.append(dict(type='InheritHook', arch=arch, grown=set(arch) != set(before.arch)))
    cfg.resume = AUTO if resume else False
    return cfg


def _conclude(plan: StagePlan, before: Finished | None, hook: SearchHook, arch: Arch) -> Finished:
    summary = {
        'name': plan.stage.name,
        'opened': list(plan.opened),
        'chosen': {**(before.pins.chosen if before else {}), **{name: arch[name] for name in plan.opened}},
        'waiting': dict(plan.waiting),
        'epochs': plan.cfg.train_cfg.max_epochs,
        'note': plan.stage.note,
    }
    write_finished(plan.folder, hook, arch, summary)
    return read_finished(plan.folder, plan.key)


def set_aside(folder: Path) -> None:
    """What an earlier run left moves to ``NAME-1``, ``NAME-2``, ...; nothing is overwritten."""
    if folder.exists():
        number = 1
        while (aside := folder.with_name(f'{folder.name}-{number}')).exists():
            number += 1
        folder.rename(aside)


def _collect(work_dir: Path, done: Sequence[Finished], retrain: Mapping[str, Any] | None) -> None:
    """``WORK_DIR/search``: the last stage's results, what every stage ended with, and how what is found is trained."""
    last, target = done[-1].folder / 'search', work_dir / 'search'
    for name in (*RESULTS, *(name for name in EXTRAS if (last / name).is_file())):
        write_atomic(target / name, (last / name).read_bytes())
    stages = [dict(stage.summary) for stage in done]
    said = {'stages': stages, **end_entropy(stages), 'retrain': retrain}
    write_text_atomic(target / STAGES, json.dumps(said, indent=1, default=str) + '\n')


def leave_report(work_dir: Path) -> None:
    """Write the report with what has come to it since: the stages before, the test after the retraining."""
    from mmnas_video.visualization.report import write_report  # loads the plotting library

    try:
        write_report(work_dir)
    except Exception:  # the search is done: what is still to come must not end over a picture
        warnings.warn(f'the report of {str(work_dir)!r} could not be written\n{traceback.format_exc()}', stacklevel=2)


# ---------------------------------------------------------------------- dry run
def dry_stages(cfg: Config, finish: Callable[[Any, Config], SearchHook]) -> tuple[dict[str, dict[str, Any]], Path]:
    """A few steps of every stage, in ``WORK_DIR/dry_run``.

    What a search of two steps chooses may cost more than the next stage's target: each stage goes on from its
    cheapest network.

    Args:
        cfg: with ``stages``.
        finish: what a search does after training, given its Runner and shortened config; returns its hook.

    Returns:
        Stage name to what :func:`~mmnas_video.launch.dry_run` says, and the arch file of the last stage.
    """
    plans, before = plan_stages(cfg, Path(cfg.work_dir) / 'dry_run')
    said = {}
    for plan in plans:
        hooks: list[SearchHook] = []

        def keep(runner: Any, short: Config, hooks: list[SearchHook] = hooks) -> None:
            hooks.append(finish(runner, short))

        said[plan.stage.name] = dry_run(_prepared(plan, before, resume=False), keep)
        (hook,) = hooks
        cheapest = hook.searchable.cost_range(hook.shape)['macs'][0][1] if hook.shape else hook.space.smallest
        before = _conclude(plan, before, hook, cheapest)
    return said, plans[-1].folder / 'dry_run' / 'search' / 'arch.json'
