"""A whole search: train the supernet, select, extract, retrain, test."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmnas_video.errors import ConfigError
from mmnas_video.launch import LOOPS, build_runner, dry_run, load_config
from mmnas_video.registry import DATASETS
from mmnas_video.search import Calibration, SearchHook, extract_model, is_search_hook, save_extracted
from mmnas_video.space import write_text_atomic


def run_search(cfg: Config, retrain: bool = True) -> dict[str, Any]:
    """Run the search that ``cfg`` names to its end.

    With ``retrain = dict(config=...)`` in the config the found network is then trained from scratch by that config
    (its ``model.backbone.arch`` set to the found arch.json) in ``WORK_DIR/retrain`` and tested.

    Returns:
        Paths: ``arch``, ``config``, ``weights``; and after a retraining ``retrained`` and its ``metrics``.

    Raises:
        ConfigError: the config names no search hook, or anything that a search refuses.
    """
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if is_search_hook(hook)]
    if len(hooks) != 1:
        raise ConfigError(
            f"custom_hooks: found {len(hooks)} search hooks, expected one such as dict(type='PARSECSearchHook', ...)"
        )
    if retrain and cfg.get('retrain'):
        check_retrain(cfg.retrain)
    runner = build_runner(cfg)
    runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, SearchHook))
    found: dict[str, Any] = {'arch': Path(runner.work_dir) / 'search' / 'arch.json'}
    if is_main_process():
        found.update(_extract(cfg, runner, hook))
    barrier()
    if retrain and cfg.get('retrain'):
        found.update(retrain_arch(cfg.retrain, str(found['arch']), Path(runner.work_dir) / 'retrain', cfg))
    return found


def dry_search(cfg: Config, retrain: bool = True) -> dict[str, dict[str, Any]]:
    """A few steps of every phase of :func:`run_search`, in ``WORK_DIR/dry_run`` (the retraining's beside it).

    Returns:
        For ``search`` and, if there is one, ``retrain`` what :func:`~mmnas_video.launch.dry_run` says.
    """

    def extract(runner: Runner, short: Config) -> None:
        if is_main_process():
            _extract(short, runner, next(hook for hook in runner.hooks if isinstance(hook, SearchHook)))
        barrier()

    if retrain and cfg.get('retrain'):
        check_retrain(cfg.retrain)
    plans = {'search': dry_run(cfg, extract)}
    if retrain and cfg.get('retrain'):
        arch = Path(cfg.work_dir) / 'dry_run' / 'search' / 'arch.json'
        plans['retrain'] = dry_run(retrain_config(cfg.retrain, str(arch), Path(cfg.work_dir) / 'retrain', cfg))
    return plans


def check_retrain(retrain: Mapping[str, Any]) -> None:
    """Read the config of the retraining and look for its data: what is missing is said now, not after the search.

    Raises:
        ConfigError: no such config, or what a dataset of it says.
    """
    cfg = load_config(retrain['config'], retrain.get('cfg_options'))
    for key in filter(cfg.get, LOOPS.values()):
        try:
            DATASETS.build(copy.deepcopy(cfg[key].dataset))
        except ConfigError as error:
            raise ConfigError(f'retrain.config={retrain["config"]!r}: {error}') from None


def _extract(cfg: Config, runner: Runner, hook: SearchHook) -> dict[str, Path]:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    pinned, pinned_cfg = extract_model(cfg, model, hook.chosen)
    Calibration(pinned, cfg.train_dataloader, hook.calibration_clips, runner.seed, runner.logger).run()
    config, weights = save_extracted(Path(runner.work_dir) / 'search', pinned, pinned_cfg, {'arch': dict(hook.chosen)})
    return {'config': config, 'weights': weights}


def retrain_arch(
    retrain: Mapping[str, Any],
    arch: str | Mapping[str, Any] | None,
    work_dir: Path,
    search: Config,
    backbone: Mapping[str, Any] | None = None,
    name: str = 'retrain',
) -> dict[str, Any]:
    """Train a network from scratch and test it.

    Args:
        retrain: ``config`` (a path) and what to override in it (``cfg_options``).
        arch: arch file, or the values; None with a ``backbone`` that has nothing to choose.
        work_dir: of this training. One that is finished (its ``test.json`` stands) is not run again.
        search: the search's config, for launcher, seed and log level.
        backbone: takes the place of the config's backbone.
        name: for the progress line.
    """
    done = work_dir / 'test.json'
    if not (done.is_file() and search.get('resume')):
        cfg = retrain_config(retrain, arch, work_dir, search, backbone)
        if any(hook['type'] == 'ProgressHook' for hook in search.get('custom_hooks') or []):
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ProgressHook', name=name)]
        runner = build_runner(cfg)
        runner.train()
        metrics = runner.test()
        if is_main_process():
            write_text_atomic(done, json.dumps({k: float(v) for k, v in metrics.items()}, indent=1) + '\n')
        barrier()
    return {'retrained': work_dir, 'metrics': json.loads(done.read_text())}


def retrain_config(
    retrain: Mapping[str, Any],
    arch: str | Mapping[str, Any] | None,
    work_dir: Path,
    search: Config,
    backbone: Mapping[str, Any] | None = None,
) -> Config:
    """The config that :func:`retrain_arch` trains; arguments as there."""
    cfg = load_config(retrain['config'], retrain.get('cfg_options'))
    if backbone is not None:
        cfg.model.backbone = dict(backbone)
    cfg.model.backbone.arch = arch if isinstance(arch, str) or arch is None else dict(arch)
    cfg.work_dir, cfg.launcher, cfg.log_level = str(work_dir), search.get('launcher', 'none'), search.log_level
    cfg.randomness = copy.deepcopy(search.get('randomness') or dict(seed=0))
    cfg.resume = bool(search.get('resume'))
    return cfg
