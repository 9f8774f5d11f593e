"""What a run costs before it is run: steps, clips and multiply-adds of its phases, from the config alone.

Nothing is measured here. Networks are built on the meta device; their multiply-adds are the closed forms (of mixed
networks torch's counter); how many clips an annotation list has is read from the list, or is its published size.
"""

from __future__ import annotations

import copy
import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmnas_video.cost import RestCost, count
from mmnas_video.data_sizes import PUBLISHED
from mmnas_video.datasets import SegmentSampleFrames
from mmnas_video.datasets.held_out import HeldOut, read_held_out
from mmnas_video.datasets.joint_dataset import are_named, merged_held_out, named_configs
from mmnas_video.datasets.joint_sampler import check_first, first_steps
from mmnas_video.entangle import Mixture, find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS, OPTIMIZERS, TRANSFORMS, class_of, hook_class
from mmnas_video.search import (
    EntanglementSearchHook,
    SearchHook,
    Work,
    build_hook,
    fit_readers,
    is_named,
    search_hook_of,
)
from mmnas_video.search.drawn import DrawnValues
from mmnas_video.search.sandwich import sized_choices
from mmnas_video.space import Arch

#: Architectures that a mean over the space is taken of.
SAMPLES = 256
#: The same of mixtures of drawn values, which are counted one by one. They differ by a factor of ten.
MIXTURES = 12
#: A backward pass computes the gradients of inputs and weights: two products for the forward pass's one.
BACKWARD = 2


@dataclass(frozen=True)
class Clips:
    """One dataset of a run.

    Attributes:
        name: of a joint dataset's part; empty where there is only one.
        listed: clips in the annotation list.
        train: of an epoch that train the weights: what is not held out, as often as a ``RepeatDataset`` gives it.
        held_out: of the list that train the architecture.
        source: who says so.
        batch: clips of a training batch on one rank.
        held_out_batch: the same of a held-out batch.
        shape: (C, T, H, W) of one.
        frames: that are decoded for one (0 for an image).
    """

    name: str
    listed: int
    train: int
    held_out: int
    source: str
    batch: int
    held_out_batch: int
    shape: tuple[int, ...]
    frames: int


# ---------------------------------------------------------------------- data
def read_clips(cfg: Config, known: Mapping[str, int] | None = None) -> list[Clips]:
    """The training data of a config.

    Args:
        cfg: of the run.
        known: clips of lists (``FOLDER/LIST`` or the list's name), before those that are published.

    Raises:
        ConfigError: a list that is neither there nor known.
    """
    loader = cfg.train_dataloader
    hook = search_hook_of(cfg) or {}
    other = hook.get('arch_dataloader') or {}
    dataset, sizes = loader['dataset'], (loader.get('batch_sampler') or {}).get('batch_sizes') or {}
    key, joint = 'train_dataloader.dataset', are_named(dataset.get('datasets'))
    named = named_configs(dataset.datasets, f'{key}.datasets') if joint else {'': dataset}
    found = []
    for name, part in named.items():
        held = merged_held_out(dataset.get('held_out'), part.pop('held_out', None)) if joint else None
        where = f'{key}.datasets.{name}' if joint else key
        listed = apart = train = 0
        sources = {}  # in their order
        lists = list(_lists(part, held))
        for inner, option, times in lists:
            clips, source = _listed(inner, known or {}, where)
            out = _held_out(clips, read_held_out(option, where))
            listed, apart, train = listed + clips, apart + out, train + times * (clips - out)
            sources[source] = None
        frames = next(filter(None, map(_frames, lists[0][0]['pipeline'])), 0)
        shape = tuple(cfg.get('cost_shape') or ())
        if shape and joint:
            shape = (shape[0], frames or 1, *shape[2:])
        batch = sizes.get(name, loader['batch_size'])
        held_batch = (other.get('batch_sizes') or {}).get(name, other.get('batch_size', batch))
        found.append(Clips(name, listed, train, apart, ', '.join(sources), batch, held_batch, shape, frames))
    return found


def _lists(
    dataset: Mapping[str, Any], held: Mapping[str, Any] | None, times: int = 1
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any] | None, int]]:
    """The datasets with a list that a dataset is made of, the ``held_out`` of each, and how often it is repeated."""
    held = held or dataset.get('held_out')
    times *= dataset.get('times', 1)
    below = dataset.get('datasets') or ([dataset['dataset']] if 'dataset' in dataset else [])
    if not below:
        yield dataset, held, times
    for part in below:
        yield from _lists(part, held, times)


def _frames(step: Mapping[str, Any]) -> int:
    """Frames that a step of a pipeline samples; 0 of one that samples none."""
    if class_of(step, TRANSFORMS) is SegmentSampleFrames:
        made = SegmentSampleFrames(**{key: value for key, value in step.items() if key != 'type'})
        return made.num_segments * made.frames_per_segment
    return step.get('clip_len', 0) * step.get('num_clips', 1)


def _listed(dataset: Mapping[str, Any], known: Mapping[str, int], key: str) -> tuple[int, str]:
    root, name = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    file = Path(root) / name
    for table in (known, {place: clips for place, (clips, _) in PUBLISHED.items()}):
        for place in (f'{Path(root).name}/{name}', name):
            if place in table and (table is known or not file.is_file()):
                return table[place], 'given' if table is known else f'published: {PUBLISHED[place][1]}'
    if file.is_file():
        with open(file, encoding='utf-8') as lines:  # which end as MMAction2 has them end, unlike str.splitlines
            return sum(bool(line.strip()) for line in lines), 'counted'
    raise ConfigError(
        f'{key}.ann_file: found no list {str(file)!r}, and its size is not a published one; expected it, or '
        f'--clips {name or "LIST"}=NUMBER'
    )


def _held_out(listed: int, option: HeldOut | None) -> int:
    return 0 if option is None else round(option.fraction * listed)


def epochs_of(cfg: Config) -> int:
    """Epochs of a run.

    Raises:
        ConfigError: a loop that counts none.
    """
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        kind = (cfg.get('train_cfg') or {}).get('type', 'no type')
        raise ConfigError(
            f'train_cfg.max_epochs: found {epochs!r} ({kind}), expected the epochs of an EpochBasedTrainLoop, which a '
            'plan counts in'
        )
    return epochs


def steps_of(cfg: Config, data: Sequence[Clips], ranks: int) -> dict[str, float]:
    """Steps of each dataset in an epoch, in the mean over all epochs; together those of an epoch.

    Raises:
        ConfigError: an epoch without a step, or a dataset of a joint one without a batch.
    """
    loader = cfg.train_dataloader
    if data[0].name == '' and len(data) == 1:
        share = math.ceil(data[0].train / ranks)
        if fixed := loader.get('num_batch_per_epoch'):
            share = min(share, fixed * loader['batch_size'])
        steps = share // loader['batch_size'] if loader.get('drop_last') else math.ceil(share / loader['batch_size'])
        if not steps:
            raise ConfigError(
                f'train_dataloader.batch_size: found {loader["batch_size"]} on {ranks} ranks, expected at most '
                f'{data[0].train // ranks}: an epoch has no step'
            )
        return {'': steps}
    trains = all(getattr(hook_class(hook), 'trains_weights', True) for hook in cfg.get('custom_hooks') or [])
    return _joint_steps(loader, data, ranks, epochs_of(cfg), trains)


def _joint_steps(
    loader: Mapping[str, Any], data: Sequence[Clips], ranks: int, epochs: int, trains: bool
) -> dict[str, float]:
    """As a ``JointBatchSampler`` draws them."""
    sampler = loader['batch_sampler']
    passes = {part.name: part.train // (part.batch * ranks) for part in data}
    for part in data:
        if not passes[part.name]:
            raise ConfigError(
                f'train_dataloader.dataset.datasets.{part.name}: found {part.train} clips, expected at least the '
                f'{part.batch * ranks} of a batch on {ranks} rank(s)'
            )
    if fixed := loader.get('num_batch_per_epoch'):  # the datasets take turns, each at least once
        whole, turns = max(fixed, len(data)) * epochs, len(data)
        return {name: (whole // turns + (place < whole % turns)) / epochs for place, name in enumerate(passes)}
    whole = sampler.get('steps_per_epoch') or sum(passes.values())
    weights = sampler.get('weights') or {name: steps / sum(passes.values()) for name, steps in passes.items()}
    first = sampler.get('first')
    check_first(first, tuple(passes), 'train_dataloader.batch_sampler.first')
    total = whole * epochs
    alone = min(first_steps(first, whole, total, trains=trains) / total, 1)
    chosen = first['dataset'] if first else None
    return {name: whole * ((1 - alone) * weights[name] + alone * (name == chosen)) for name in passes}


# ---------------------------------------------------------------------- networks
class Networks:
    """Multiply-adds of a clip through the networks that a config's search runs, and its parameters.

    Args:
        cfg: one ordinary search or training.
        hook: of its search; None for a training.
    """

    def __init__(self, cfg: Config, hook: Any = None) -> None:
        fit_readers(cfg)
        with torch.device('meta'):
            self.model: nn.Module = MODELS.build(cfg.model)
        self.part, self.hook = find_searchable(self.model)[1], hook
        self.params = sum(p.numel() for p in self.model.parameters())
        #: Forward passes that a backward pass costs; with_cp computes the layers once more.
        self.backward = BACKWARD + any(getattr(module, 'with_cp', False) for module in self.model.modules())
        self.space = self.part.space
        rng = random.Random(0)
        self._drawn = [self.space.sample(rng) for _ in range(SAMPLES if self.space.open else 1)]
        self._mixtures = list(self._mixed(rng)) if self.space.open else []
        self._rest: dict[tuple[int, ...], RestCost] = {}
        self._known: dict[tuple[str, tuple[int, ...]], float] = {}

    def macs(self, network: str, shape: tuple[int, ...]) -> float:
        """One forward pass of one clip.

        Args:
            network: ``'sampled'`` (mean of the space), ``'target'`` (what the budget allows; the mean without one),
                ``'searched'`` (the mean of these two: a search begins with one and ends with the other),
                ``'smallest'``, ``'largest'`` (what has no size as drawn: :mod:`~.search.sandwich`) or ``'mixed'``.
            shape: (C, T, H, W).
        """
        if (network, shape) not in self._known:
            self._known[network, shape] = self._mean(network, shape)
        return self._known[network, shape]

    def _mean(self, network: str, shape: tuple[int, ...]) -> float:
        if network == 'searched':
            return (self.macs('sampled', shape) + self.macs('target', shape)) / 2
        if network == 'target':
            high = self.hook.budget.macs[1] if self.hook is not None else None
            return self.macs('sampled', shape) if high is None else min(high, self.macs('largest', shape))
        if network == 'mixed' and self._mixtures:
            rest = self._cost(self.space.largest, shape) - self.part.cost(self.space.largest, shape).macs
            return rest + self._count(self._mixtures, shape) / len(self._mixtures)
        archs = self._drawn
        if network in ('smallest', 'largest'):
            end, sized = getattr(self.space, network), sized_choices(self.part)
            archs = [arch.replace({name: end[name] for name in sized}) for arch in archs]
        return statistics.mean(self._cost(arch, shape) for arch in archs)

    def nearest(self, macs: float, shape: tuple[int, ...]) -> Arch:
        """Of the architectures that were drawn the one that costs about so much."""
        return min(self._drawn, key=lambda arch: abs(self._cost(arch, shape) - macs))

    def _cost(self, arch: Arch, shape: tuple[int, ...]) -> float:
        if shape not in self._rest:
            self._rest[shape] = RestCost(self.model, self.part, shape)
        return (self.part.cost(arch, shape) + self._rest[shape](arch)).macs

    def _mixed(self, rng: random.Random) -> Iterator[Mixture]:
        """A few mixtures of the values that a step draws; one of all where none are drawn."""
        drawn = isinstance(self.hook, EntanglementSearchHook) and DrawnValues(self.space, self.hook.drawn, 'drawn')
        for _ in range(MIXTURES if drawn else 1):
            live = drawn.draw(rng).tolist() if drawn else [[True] * len(choice) for choice in self.space]
            weights = {choice.name: torch.zeros(len(choice), device='meta') for choice in self.space}
            # Else it is read from the weights' values, which there are none of on the meta device.
            present = {c.name: row[: len(c)] for c, row in zip(self.space, live, strict=True)}
            yield Mixture(self.space, weights, present)

    def _count(self, mixtures: Sequence[Mixture], shape: tuple[int, ...]) -> int:
        """Of all of them together, on one copy of the network."""

        def forward(twin: Any, x: torch.Tensor) -> None:
            for mixture in mixtures:
                with twin.use(mixture):
                    twin(x)

        return count(self.part, torch.zeros(1, *shape, device='meta'), forward=forward)[0].macs


# ---------------------------------------------------------------------- a run
class Plan:
    """What one ordinary search or training costs, on any number of ranks.

    Args:
        cfg: of the run.
        known: see :func:`read_clips`.

    Raises:
        ConfigError: no ``cost_shape``, no epochs, or what :func:`read_clips` refuses.
    """

    def __init__(self, cfg: Config, known: Mapping[str, int] | None = None) -> None:
        self.cfg, self.epochs = copy.deepcopy(cfg), epochs_of(cfg)
        if not cfg.get('cost_shape'):
            raise ConfigError('cost_shape: found none, expected the (C, T, H, W) of a clip, such as (3, 13, 160, 160)')
        found = search_hook_of(self.cfg)
        self.hook = None if found is None else build_hook(found)
        self.data = read_clips(self.cfg, known)
        self.networks = Networks(self.cfg, self.hook)

    def on(self, ranks: int) -> dict[str, Any]:
        """Plain numbers: ``epochs``, ``steps_per_epoch``, ``steps``; ``clips`` (of training), ``held_out_clips`` and
        ``decoded_frames`` of the whole run, and of these ``kept_frames``, which each machine decodes for itself;
        ``rank_macs``, multiply-adds of one rank over the whole run; ``reference_macs``, those of a training clip in one
        forward pass; ``params``, ``checkpoint_bytes``, and what a step sums over the ranks, ``gradient_bytes`` and
        ``alpha_bytes``; ``data``, ``space``.

        Raises:
            ConfigError: what :func:`steps_of` refuses.
        """
        per_epoch, epochs = steps_of(self.cfg, self.data, ranks), self.epochs
        space = self.networks.space
        works = self.hook.step_work(ranks) if self.hook else [Work('sampled')]
        after = self.hook.selection_work(space, ranks, epochs) if self.hook else []
        macs = clips = held = frames = kept = reference = 0.0
        for part in self.data:
            steps, whole = per_epoch[part.name] * epochs, sum(per_epoch.values()) * epochs
            shares = {work: work.share(epochs) * (whole if work.every_set else steps) for work in works}
            drawn = [work for work in works if work.held_out and work.kept is None]
            seen = ranks * max((_batch(work, part) * shares[work] for work in drawn), default=0.0)
            same = max((_batch(work, part) * work.kept for work in works if work.kept), default=0.0)
            clips, held = clips + steps * ranks * part.batch, held + seen + same
            frames += (steps * ranks * part.batch + seen + same) * part.frames
            kept += same * part.frames
            macs += sum(shares[work] * self._macs(work, part) for work in works)
            reference += steps * ranks * part.batch * self.networks.macs(works[0].network, part.shape)
        for work in after:
            macs += sum(self._macs(work, part) for part in self.data)
        return {
            'ranks': ranks,
            'epochs': epochs,
            'steps_per_epoch': round(sum(per_epoch.values())),
            'steps': round(sum(per_epoch.values()) * epochs),
            'data': {part.name or 'data': {'clips': part.listed, 'source': part.source} for part in self.data},
            'clips': round(clips),
            'held_out_clips': round(held),
            'decoded_frames': round(frames),
            'kept_frames': round(kept),
            'rank_macs': macs,
            'reference_macs': reference / clips,
            'params': self.networks.params,
            **traffic(self.cfg, self.networks, self.hook),
            'space': {'name': space.name, 'size': space.size, 'choices': len(space.open)},
        }

    def _macs(self, work: Work, part: Clips) -> float:
        """Of one step on one rank."""
        passes = work.count * _batch(work, part) * (1 + self.networks.backward * work.backward)
        return passes * self.networks.macs(work.network, part.shape) if passes else 0.0


def _batch(work: Work, part: Clips) -> float:
    return part.held_out_batch * work.clips if work.held_out else part.batch


def traffic(cfg: Config, networks: Networks, hook: SearchHook | None) -> dict[str, float]:
    """Bytes: of a checkpoint (float32 weights, buffers and the optimiser's moments), and of what a step sums over the
    ranks (gradients; what α needs, in float64)."""
    floats = [t.numel() * t.element_size() for t in networks.model.state_dict().values()]
    kind = cfg.optim_wrapper['optimizer']
    name = getattr(class_of(kind, OPTIMIZERS), '__name__', '')
    moments = 2 if name.startswith('Adam') else int(bool(kind.get('momentum')))
    ema = any(is_named(h, ('EMAHook',)) for h in cfg.get('custom_hooks') or [])
    trains = hook.trains_weights if hook else True
    return {
        'checkpoint_bytes': sum(floats) * (1 + ema) + 4 * moments * networks.params * trains,
        'gradient_bytes': 4 * networks.params * trains,
        'alpha_bytes': 8 * hook.summed_values(networks.space) if hook else 0,
    }
