"""From a searched supernet to a network of its own: config and weights that stock tools train and test."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmnas_video import compat
from mmnas_video.datasets.joint_dataset import are_named, named_configs
from mmnas_video.entangle import Searchable, Window, copy_slices, find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.space import Arch, Value, write_text_atomic

from .checkpoint import save_atomic
from .config_text import config_text
from .hook_configs import is_named, is_search_hook

#: Hooks with which a run starts from weights of another network: of no use to what goes on from the run's own.
STARTS = ('InheritHook', 'FineTuneHook')
#: Hooks that a found network does not need.
LEFT_OUT = ('ReportHook', 'ProgressHook', *STARTS)


def model_part(cfg: Config, name: str) -> Any:
    """The config of a part of ``cfg.model``, as :func:`~mmnas_video.entangle.find_searchable` names it ('' is all)."""
    part = cfg.model
    for step in filter(None, name.split('.')):
        part = part[step]
    return part


def pinned_config(cfg: Config, model: nn.Module, arch: Mapping[str, Value]) -> Config:
    """The config of the network that ``arch`` is: the search's config without the search.

    The architecture stands in it as plain values, the search hooks are gone, and the whole training list is used,
    unless validation or test are made on what is held out.
    """
    pinned = copy.deepcopy(cfg)
    name, searchable = find_searchable(model)
    part = model_part(pinned, name)
    part.update(searchable.pinned_cfg(arch))
    part.pop('fixed', None)
    part.pop('local_weights', None)  # merged
    window = searchable.output(arch)
    if window is not None:
        _narrow_readers(pinned.model, part, window)
    pinned.custom_hooks = [
        h for h in pinned.get('custom_hooks') or [] if not is_search_hook(h) and not is_named(h, LEFT_OUT)
    ]
    _give_whole_list(pinned)
    _import_ours(pinned)
    for key in ('retrain', 'stages', 'resume', 'load_from', 'console'):
        pinned.pop(key, None)
    return pinned


def _give_whole_list(cfg: Config) -> None:
    """Train on what was held out too, at every place that holds out, if no other loader is of it."""
    used = [
        part['held_out'].get('part')
        for loader in ('val_dataloader', 'test_dataloader')
        for part in _within((cfg.get(loader) or {}).get('dataset'))
        if part.get('held_out')
    ]
    if 'held_out' in used:
        return
    for part in _within((cfg.get('train_dataloader') or {}).get('dataset')):
        part.pop('held_out', None)


def _import_ours(cfg: Config) -> None:
    """Let stock tools find our parts, and our repairs come first: a search by our own tools goes without."""
    given = cfg.get('custom_imports') or {}
    names = given.get('imports') or []
    names = [names] if isinstance(names, str) else names
    if not any(name.partition('.')[0] == 'mmnas_video' for name in names):
        cfg.custom_imports = {**given, 'imports': ['mmnas_video', *names]}


def _within(dataset: Any) -> Iterator[Any]:
    """A dataset's config and, outside in, those of all that it wraps or joins; nothing of None."""
    if not isinstance(dataset, Mapping):
        return
    yield dataset
    parts = dataset.get('datasets') or []
    for part in (*(parts.values() if isinstance(parts, Mapping) else parts), dataset.get('dataset')):
        yield from _within(part)


#: Steps of a pipeline that loads images, no videos.
IMAGE_STEPS = ('LoadImageFromFile', 'ImageAsClip')
#: What of a config a network needs that only answers.
INFERENCE_KEYS = ('default_scope', 'custom_imports', 'model', 'vis_backends', 'visualizer')


def inference_config(cfg: Config) -> Config | None:
    """The config with which MMAction2's ``inference_recognizer`` and its inferencer run an extracted network.

    They look for the pipeline where a stock loader has it, and the inferencer takes no ``collate_fn`` as the Runner
    does, so this one has a stock test loader and nothing to train. Of several named datasets the pipeline is that
    of the default head, or of the first of videos, whose head is then the default: they give the model a video, as a
    sample that names no dataset. None where the config has no test data of videos.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    head = cfg.model.get('cls_head') or {}
    default = head.get('default')
    named = {None: dataset}
    if dataset is not None and are_named(dataset.get('datasets')):
        named = named_configs(dataset.datasets, 'test_dataloader.dataset.datasets')
    videos = {
        name: found
        for name, part in named.items()
        if (found := next(filter(_of_videos, _within(part)), None)) is not None
    }
    if not videos:
        return None
    name = default if default in videos else next(iter(videos))
    kept = {key: cfg[key] for key in INFERENCE_KEYS if key in cfg}
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=videos[name])
    made = Config(copy.deepcopy({**kept, 'test_pipeline': videos[name]['pipeline'], 'test_dataloader': loader}))
    if name in (head.get('heads') or ()):
        made.model.cls_head.default = name
    return made


def _of_videos(dataset: Mapping[str, Any]) -> bool:
    kinds = [step['type'] for step in dataset.get('pipeline') or ()]
    names = {kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__ for kind in kinds}
    return bool(names) and names.isdisjoint(IMAGE_STEPS)


def _narrow_readers(cfg: Any, searchable: Any, window: Window) -> None:
    """Give heads and necks the input width of the extracted network, wherever they name the supernet's."""
    if cfg is searchable:
        return
    for key, value in cfg.items() if isinstance(cfg, Mapping) else ():
        if key == 'in_channels' and value == window.total:
            cfg[key] = window.length
        for part in value if isinstance(value, (list, tuple)) else [value]:
            _narrow_readers(part, searchable, window)


def fit_readers(cfg: Config) -> None:
    """Where a config pins an architecture, give its heads and necks the width that the pinned backbone puts out.

    So a config can name an arch file without knowing what will stand in it: it says the width of the whole space, as
    the search's does. A reader of another width is left alone. Changes ``cfg`` in place.

    Raises:
        ConfigError: the arch file cannot be read, or is not of the backbone's space.
    """
    backbone = cfg.model.get('backbone') or {}
    kind = backbone.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    varies = isinstance(kind, type) and issubclass(kind, Searchable) and kind.output is not Searchable.output
    if not varies or backbone.get('arch') is None:
        return
    whole = {name: value for name, value in backbone.items() if name not in ('arch', 'local_weights')}
    with torch.device('meta'):  # shapes only
        supernet = MODELS.build(whole)
    window = supernet.output(supernet.space.read(backbone['arch'], 'model.backbone.arch'))
    if window is not None:
        _narrow_readers(cfg.model, backbone, window)


def extract_model(cfg: Config, model: BaseModel, arch: Arch) -> tuple[BaseModel, Config]:
    """The pinned network with its weights copied out of ``model``, and its config.

    Its outputs are those of the supernet at ``arch``; heads and necks that read an output whose width depends on the
    architecture are as narrow as that. Inherited BatchNorm statistics are a mixture: recalibrate before it is scored.

    Args:
        cfg: of the supernet; ``Config(dict(model=...))`` will do. It stays as it is.
        model: what ``MODELS.build(cfg.model)`` made, trained.
        arch: of its space.

    Raises:
        ConfigError: ``model`` has no searchable part, or ``arch`` is not of its space.
    """
    pinned_cfg = pinned_config(cfg, model, arch)
    pinned = MODELS.build(pinned_cfg.model)
    copy_slices(model, arch, pinned.to(next(model.parameters()).device))
    return pinned.train(model.training), pinned_cfg


#: The line of a config that starts from the weights in its own folder, whose name may have any quote.
WEIGHTS_BESIDE = 'load_from = r"""{{ fileDirname }}/extracted.pth"""\n'


def save_extracted(folder: Path, model: nn.Module, cfg: Config, meta: Mapping[str, Any]) -> list[Path]:
    """Write ``extracted.py``, ``extracted.pth`` and ``inference.py`` into ``folder``, each atomically; returns their
    paths.

    The first config starts from the weights beside it (``load_from``), also where both are moved or copied; it runs
    with our tools and with MMAction2's own. Of the second see :func:`inference_config`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, config = folder / 'extracted.pth', folder / 'extracted.py'
    save_atomic({'meta': dict(meta), 'state_dict': {k: v.cpu() for k, v in model.state_dict().items()}}, weights)
    cfg = copy.deepcopy(cfg)
    for key in ('work_dir', 'load_from'):
        cfg.pop(key, None)
    texts = {config: config_text(cfg) + WEIGHTS_BESIDE}
    if (inference := inference_config(cfg)) is not None:
        texts[folder / 'inference.py'] = config_text(inference)
    for path, text in texts.items():
        write_text_atomic(path, text)
    return [*texts, weights]


def read_checkpoint(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's content, read with ``weights_only=True`` onto the CPU.

    Raises:
        ConfigError: no such file, a file that is broken, or one that would run code.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise ConfigError(f'checkpoint {str(path)!r}: found no such file, expected a checkpoint (.pth)')
    data = compat.safe_load(path, map_location='cpu')
    if not isinstance(data, dict):
        raise ConfigError(f'checkpoint {str(path)!r}: found a {type(data).__name__}, expected a dict with state_dict')
    return data


def check_weights(model: nn.Module, data: Mapping[str, Any], checkpoint: str | os.PathLike[str]) -> None:
    """Demand that a checkpoint is of this network: MMEngine loads what fits and leaves the rest as it was initialised.

    Args:
        model: the bare network.
        data: what :func:`read_checkpoint` gives.
        checkpoint: its file, for the message.

    Raises:
        ConfigError: names that are missing, unknown or of another shape.
    """
    found, expected = (
        {name: tuple(value.shape) if isinstance(value, Tensor) else type(value) for name, value in state.items()}
        for state in (data.get('state_dict', data), model.state_dict())
    )
    wrong = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    if wrong:
        name = wrong[0]
        raise ConfigError(
            f'checkpoint {str(checkpoint)!r}: found weights of another network: {len(wrong)} parameters or '
            f'buffers differ, such as {name} (found {found.get(name, "none")}, expected '
            f'{expected.get(name, "none")})'
        )


def check_space_of(model: nn.Module, data: Mapping[str, Any], checkpoint: str | os.PathLike[str]) -> None:
    """Demand that a checkpoint that was written by a search is of the model's space.

    Args:
        model: the bare supernet.
        data: what :func:`read_checkpoint` gives.
        checkpoint: its file, for the message.

    Raises:
        ConfigError: another space.
    """
    _, searchable = find_searchable(model)
    found = (data.get('search') or {}).get('space') or {}
    if found and found.get('hash') != searchable.space.hash:
        raise ConfigError(
            f'checkpoint {str(checkpoint)!r}: found a search of the space {found}, expected {searchable.space.identity}'
        )


def load_supernet(cfg: Config, checkpoint: str | os.PathLike[str]) -> BaseModel:
    """The supernet of ``cfg`` with the weights of a search's checkpoint (read with ``weights_only=True``).

    Raises:
        ConfigError: no such file, a file that is not a plain checkpoint, or weights of another network or space.
    """
    data = read_checkpoint(checkpoint)
    model = MODELS.build(cfg.model)
    check_space_of(model, data, checkpoint)
    check_weights(model, data, checkpoint)
    model.load_state_dict(data.get('state_dict', data))
    return model
