"""A whole search: train the supernet, select, extract, retrain, test."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from mmnas_video.building import building
from mmnas_video.config_keys import check_keys
from mmnas_video.datasets import check_labels, only_written
from mmnas_video.errors import ConfigError, refuse_unknown, shown
from mmnas_video.launch import AUTO, LOOPS, dry_run, join_ranks, load_config, train
from mmnas_video.search import Calibration, SearchHook, extract_model, is_named, save_extracted, search_hook_index
from mmnas_video.space import read_arch_file, write_text_atomic
from mmnas_video.staged import dry_stages, leave_report, run_stages, set_aside
from mmnas_video.visualization import ReportHook
from mmnas_video.visualization.recorded import TESTED, TRAINED

#: What ``retrain`` may say.
RETRAIN = ('config', 'cfg_options')
#: What a config needs for its test, and what scores.
TEST, EVALUATORS = ('test_dataloader', 'test_cfg', 'test_evaluator'), ('val_evaluator', 'test_evaluator')


def run_search(cfg: Config, retrain: bool = True) -> dict[str, Any]:
    """Run the search that ``cfg`` names to its end; ``cfg`` stays as it is.

    With ``retrain = dict(config=...)`` in the config the found network is then trained from scratch by that config
    (its ``model.backbone.arch`` set to the found arch.json) in ``WORK_DIR/retrain`` and tested.

    Returns:
        Paths: ``arch``, ``config``, ``weights``; of a search in stages what each ended with (``stages``); and after a
        retraining ``retrained`` and its ``metrics``.

    Raises:
        ConfigError: the config names no search hook, or anything that a search refuses.
    """
    search_hook_index(cfg)
    join_ranks(cfg)
    if retrain and cfg.get('retrain'):
        check_retrain(cfg.retrain)
    folder = Path(os.path.abspath(cfg.work_dir)) / 'search'
    found: dict[str, Any] = {
        'arch': folder / 'arch.json',
        'config': folder / 'extracted.py',
        'weights': folder / 'extracted.pth',
    }
    if cfg.get('stages'):
        found['stages'] = [stage.summary for stage in run_stages(cfg, search_once)]
    else:
        cfg = search_once(cfg).runner.cfg  # where resume='auto' is settled: after a search that began, this begins too
    if retrain and cfg.get('retrain'):
        found.update(retrain_arch(cfg.retrain, found['arch'], Path(cfg.work_dir) / 'retrain', cfg))
        if is_main_process():
            leave_report(Path(cfg.work_dir))
        barrier()
    return found


def search_once(cfg: Config) -> SearchHook:
    """Train the supernet of a config without stages, select, and extract; returns the search hook."""
    return _extract(train(cfg), cfg)


def dry_search(cfg: Config, retrain: bool = True) -> dict[str, dict[str, Any]]:
    """A few steps of every phase of :func:`run_search`, in ``WORK_DIR/dry_run`` (the retraining's beside it).

    Returns:
        For ``search`` (or each stage of it) and, if there is one, ``retrain`` what
        :func:`~mmnas_video.launch.dry_run` says.
    """
    search_hook_index(cfg)
    join_ranks(cfg)
    if retrain and cfg.get('retrain'):
        check_retrain(cfg.retrain)
    if cfg.get('stages'):
        said, arch = dry_stages(cfg, _extract)
        plans = {f'search ({name})': plan for name, plan in said.items()}
    else:
        plans = {'search': dry_run(cfg, _extract)}
        arch = Path(cfg.work_dir) / 'dry_run' / 'search' / 'arch.json'
    if retrain and cfg.get('retrain'):
        plans['retrain'] = dry_run(retrain_config(cfg.retrain, str(arch), Path(cfg.work_dir) / 'retrain', cfg))
    return plans


def check_retrain(retrain: Mapping[str, Any]) -> None:
    """Read the config of the retraining and build its data and metrics: what is wrong is said before the search.

    Raises:
        ConfigError: what :func:`load_retrain` refuses, a key that nothing reads, no test, data or metrics that
            cannot be built, or a label that the head has no class for.
    """
    cfg = load_retrain(retrain)
    try:
        check_keys(cfg)
        for key in TEST:
            if cfg.get(key) is None:
                raise ConfigError(f'{key}: found none, expected one: what is trained is tested at its end')
        with building(cfg):
            for key in filter(cfg.get, LOOPS.values()):
                loader = Runner.build_dataloader(copy.deepcopy(cfg[key]))
                if not only_written(cfg.get(key.replace('dataloader', 'evaluator'))):
                    check_labels(cfg.model.get('cls_head'), {f'{key}.dataset': loader.dataset})
            for key in filter(cfg.get, EVALUATORS):
                found = copy.deepcopy(cfg[key])
                Evaluator(found['metrics'] if isinstance(found, Mapping) and 'metrics' in found else found)
    except ConfigError as error:
        raise ConfigError(f'retrain.config={retrain["config"]!r}: {error}') from None


def load_retrain(retrain: Mapping[str, Any]) -> Config:
    """The config that a search's ``retrain=dict(config=PATH, cfg_options={...})`` names, with its options merged in.

    Raises:
        ConfigError: something else than these two keys, or no such config.
    """
    if not isinstance(retrain, Mapping):
        raise ConfigError(f'retrain: found {shown(retrain)}, expected dict(config=PATH)')
    refuse_unknown('retrain', retrain, RETRAIN)
    path, options = (retrain.get(key) for key in RETRAIN)
    if not isinstance(path, str):
        raise ConfigError(f'retrain.config: found {shown(path)}, expected the path of a config')
    if not isinstance(options, (Mapping, type(None))):
        raise ConfigError(f'retrain.cfg_options: found {shown(options)}, expected a dict')
    try:
        return load_config(path, options)
    except ConfigError as error:
        raise ConfigError(f'retrain.{error}') from None


def _extract(runner: Runner, cfg: Config) -> SearchHook:
    """Leave the found network, and the report if no hook has written it, beside arch.json; returns the search hook."""
    hook = next(hook for hook in runner.hooks if isinstance(hook, SearchHook))
    if is_main_process():
        pinned, pinned_cfg = extract_model(cfg, hook.bare, hook.chosen)
        Calibration(pinned, cfg, hook.calibration_clips, runner.seed, runner.logger).run()
        save_extracted(Path(runner.work_dir) / 'search', pinned, pinned_cfg, {'arch': dict(hook.chosen)})
    if not any(isinstance(other, ReportHook) for other in runner.hooks):
        ReportHook().after_run(runner)  # on the main process; what goes wrong in it is a warning
    barrier()
    return hook


def retrain_arch(
    retrain: Mapping[str, Any],
    arch: str | os.PathLike[str] | Mapping[str, Any] | None,
    work_dir: str | os.PathLike[str],
    search: Config,
    backbone: Mapping[str, Any] | None = None,
    name: str = 'retrain',
) -> dict[str, Any]:
    """Train a network from scratch and test it.

    With ``resume`` in the search's config a training of the same network and seed goes on, or is not run again if its
    ``tested.json`` stands. Any other one that is in the way moves to ``NAME-1``, ``NAME-2``, ...

    Args:
        retrain: ``config`` (a path) and what to override in it (``cfg_options``).
        arch: arch file, or the values; None with a ``backbone`` that has nothing to choose.
        work_dir: of this training.
        search: the search's config, for launcher, seed, log level and resume.
        backbone: takes the place of the config's backbone.
        name: for the progress line.

    Returns:
        ``retrained``, the folder, and the ``metrics`` of the test.

    Raises:
        ConfigError: what :func:`load_retrain` and :func:`~mmnas_video.launch.train` refuse.
    """
    join_ranks(search)
    work_dir = Path(work_dir)
    cfg, done = retrain_config(retrain, arch, work_dir, search, backbone), work_dir / TESTED
    trained, goes_on = _trained(cfg), bool(cfg.resume) and is_same_training(cfg)
    barrier()  # all ranks have looked
    if not goes_on:
        cfg.resume = False
        if is_main_process():
            if any((work_dir / name).exists() for name in (TRAINED, TESTED, 'last_checkpoint')):
                set_aside(work_dir)
            work_dir.mkdir(parents=True, exist_ok=True)
            write_text_atomic(work_dir / TRAINED, trained)
        barrier()
    if not (goes_on and done.is_file()):
        if any(is_named(hook, ('ProgressHook',)) for hook in search.get('custom_hooks') or []):
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ProgressHook', name=name)]
        runner = train(cfg)
        metrics = runner.test()
        if is_main_process():
            write_text_atomic(done, json.dumps({k: float(v) for k, v in metrics.items()}, indent=1) + '\n')
        barrier()
    return {'retrained': work_dir, 'metrics': json.loads(done.read_text())}


def is_same_training(cfg: Config) -> bool:
    """Whether the training in the work dir of ``cfg`` (:func:`retrain_config`) is of this network and seed."""
    file = Path(cfg.work_dir) / TRAINED
    return file.is_file() and file.read_text(encoding='utf-8') == _trained(cfg)


def _trained(cfg: Config) -> str:
    """What makes a training another one: the values of its network, or all of the backbone where it has none; seed."""
    backbone = cfg.model.backbone
    arch = read_arch_file(backbone.arch)['arch'] if isinstance(backbone.arch, str) else backbone.arch
    said = {'network': dict(backbone if arch is None else arch), 'randomness': cfg.randomness}
    return json.dumps(said, indent=1, sort_keys=True, default=str) + '\n'


def retrain_config(
    retrain: Mapping[str, Any],
    arch: str | os.PathLike[str] | Mapping[str, Any] | None,
    work_dir: str | os.PathLike[str],
    search: Config,
    backbone: Mapping[str, Any] | None = None,
) -> Config:
    """The config that :func:`retrain_arch` trains; arguments as there."""
    cfg = load_retrain(retrain)
    if backbone is not None:
        cfg.model.backbone = dict(backbone)
    if arch is not None:
        arch = os.fspath(arch) if isinstance(arch, (str, os.PathLike)) else dict(arch)
    cfg.model.backbone.arch = arch
    cfg.work_dir, cfg.launcher = str(work_dir), search.get('launcher', 'none')
    cfg.log_level = search.get('log_level', 'INFO')  # MMEngine's own
    cfg.console = search.get('console', 'all')
    cfg.randomness = copy.deepcopy(search.get('randomness') or dict(seed=0))
    cfg.resume = AUTO if search.get('resume') else False
    return cfg
