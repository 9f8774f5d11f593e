"""Measuring a latency table: networks of a space are timed block by block, and rates fitted to all of them.

Not every block of a space is timed, there are too many: some dozens of whole networks are built, each for itself as it
would be deployed, and run. They are drawn so that every value of every choice has its turn, and half of them so that
they spread from small to large. A block's time is taken where it will be spent, between its neighbours; its widths are
interpolated by the rates (:mod:`~mmnas_video.cost.latency_fit`).
"""

from __future__ import annotations

import json
import os
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmnas_video.cost import (
    LatencyTable,
    Sample,
    Timed,
    TimedNetwork,
    fastest_runs,
    fit_rates,
    prediction_agreement,
    total_cost,
)
from mmnas_video.cost.latency import FORMAT, read_data
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError, check_one_of
from mmnas_video.registry import MODELS
from mmnas_video.search.extraction import pinned_config
from mmnas_video.space import Arch, SearchSpace, write_text_atomic

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
#: Networks that take turns while a table is measured, between two writes of its file; all are in memory at once.
TOGETHER = 4
#: Bytes of weights in memory at once while a table is checked. As many networks as these hold take turns there:
#: how the machine's speed drifts from minute to minute would else change their order.
CHECKED_BYTES = 2**32
#: A network of more multiply-adds than this many times the median of random ones is not measured: it would take longer
#: than all others together, and the rates say what it takes.
TOO_LARGE = 4
#: Random architectures from which that median is taken.
DRAWS = 201
#: Passes of the first network before anything is timed: until then clocks are low and kernels are chosen.
START_UP = 10


@dataclass(frozen=True)
class Setting:
    """What a latency is of, beside the network.

    Args:
        device: ``'cpu'`` or ``'cuda'`` (``'cuda:1'``).
        dtype: a key of :data:`DTYPES`.
        batch: clips.
        threads: of the CPU.

    Raises:
        ConfigError: no such device or dtype here, or a number below 1.
    """

    device: str = 'cpu'
    dtype: str = 'fp32'
    batch: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        kind = self.device.partition(':')[0]
        if kind not in ('cpu', 'cuda') or (kind == 'cuda' and not torch.cuda.is_available()):
            offered = 'cpu or cuda' if torch.cuda.is_available() else 'cpu (torch sees no GPU here)'
            raise ConfigError(f'--device: found {self.device!r}, expected {offered}')
        check_one_of('--dtype', self.dtype, DTYPES)
        for key in ('batch', 'threads'):
            if getattr(self, key) < 1:
                raise ConfigError(f'--{key}: found {getattr(self, key)}, expected at least 1')

    def describe(self) -> dict[str, Any]:
        """The setting and the machine, as they stand in a table: two of which anything differs do not compare."""
        on_gpu = self.device.startswith('cuda')
        machine = torch.cuda.get_device_name(torch.device(self.device)) if on_gpu else _processor()
        return {**asdict(self), 'machine': machine}


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Bench:
    """Networks of a config's space, built one by one and timed.

    Args:
        cfg: with a supernet.
        shape: (C, T, H, W) of a clip.
        setting: what is timed.
        repeats: passes of each network; the fastest counts.

    Raises:
        ConfigError: a config with nothing to choose, or a shape that the network does not take.
    """

    def __init__(self, cfg: Config, shape: Sequence[int], setting: Setting, repeats: int = 7) -> None:
        self._cfg = Config(dict(model=cfg.model))  # the data's part is not copied for every network
        self.shape, self.setting, self.repeats = tuple(shape), setting, repeats
        with torch.device('meta'):  # shapes only
            self.model = MODELS.build(cfg.model)
        _, self.searchable = find_searchable(self.model)
        self.space: SearchSpace = self.searchable.space
        if not self.space.open:
            raise ConfigError('model: found a network with nothing to choose (arch is set), expected a supernet')
        self.network = total_cost(self.model, self.searchable, self.space.largest, self.shape)._asdict()
        self._started = False

    def describe(self) -> dict[str, Any]:
        """What a table says that it is of."""
        return {
            'format': FORMAT,
            'space': self.space.identity,
            'shape': list(self.shape),
            'network': dict(self.network),
            'setting': self.setting.describe(),
        }

    def build(self, arch: Arch) -> TimedNetwork:
        """The network of ``arch`` on the device, with random weights and input."""
        device, dtype = torch.device(self.setting.device), DTYPES[self.setting.dtype]
        with device:
            model = MODELS.build(pinned_config(self._cfg, self.model, arch).model)
        model = model.to(device, dtype).eval()
        clips = torch.randn(self.setting.batch, 1, *self.shape, dtype=torch.float32, device=device).to(dtype)
        _, searchable = find_searchable(model)
        names = [block.module for block in self.searchable.latency_blocks(arch, self.shape) if block.module]

        @torch.inference_mode()
        def run() -> object:
            return model(clips, mode='tensor', stage='head')

        assert isinstance(searchable, nn.Module)
        return TimedNetwork(run, [searchable.get_submodule(name) for name in names], device)

    def time(self, archs: Sequence[Arch], report: Callable[[int], object] = lambda _: None) -> list[Timed]:
        """The fastest run of each; they take turns, and ``report`` is told the number of turns so far."""
        torch.set_num_threads(self.setting.threads)
        networks = [self.build(arch) for arch in archs]
        if not self._started:
            for _ in range(START_UP):
                networks[0]()
            self._started = True
        return fastest_runs(networks, self.repeats, report)

    def samples(self, arch: Arch, timed: Timed) -> Iterator[Sample]:
        """What a run says about the kinds of its blocks; what no block has is the rest's."""
        named = iter(timed.blocks)
        rest = max(timed.ms - sum(timed.blocks), 0.0)
        for block in self.searchable.latency_blocks(arch, self.shape):
            yield Sample(block.kind, block.work, next(named) if block.module else rest, timed.ms)


def measure_table(
    bench: Bench,
    path: str | os.PathLike[str],
    networks: int,
    seed: int,
    report: Callable[[int, int], object] = lambda *_: None,
) -> LatencyTable:
    """Measure the table of a bench into ``path``; a file that is begun is gone on with.

    Args:
        bench: networks and setting.
        path: of the table, written after every few networks.
        networks: how many are timed.
        seed: of their choice.
        report: called with the number of networks done and of all.

    Raises:
        ConfigError: ``path`` is a file of another network, setting or seed.
    """
    path, source = Path(path), f'--out={str(path)!r}'
    head = {**bench.describe(), 'method': {'networks': networks, 'repeats': bench.repeats, 'seed': seed}}
    data = {**head, 'versions': _versions(), 'measured': []}
    if path.exists():
        data = read_data(path, source)
        check_same(data, head, source)
    archs = spread_archs(bench.space, networks, random.Random(seed), lambda a: bench.searchable.cost(a, bench.shape))
    measured = data['measured']
    while len(measured) < networks:
        chunk = archs[len(measured) : len(measured) + TOGETHER]
        for arch, timed in zip(chunk, bench.time(chunk), strict=True):
            indices = list(bench.space.encode(arch))
            measured.append({'arch': indices, 'ms': timed.ms, 'blocks': list(timed.blocks)})
        _write(path, data)
        report(len(measured), networks)
    if 'rates' not in data:
        runs = [(bench.space.decode(m['arch']), Timed(m['ms'], tuple(m['blocks']))) for m in measured]
        data['rates'] = fit_rates(sample for run in runs for sample in bench.samples(*run))
        _write(path, data)
    return LatencyTable(data, source)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    lines = {key: json.dumps(value) for key, value in data.items()}
    for key, parts in (('measured', '[]'), ('rates', '{}')):  # a line each: short, and still to be read
        rows = data.get(key) or ()
        texts = [json.dumps(row) for row in rows] if key == 'measured' else []
        texts = texts or [f'{json.dumps(kind)}: {json.dumps(row)}' for kind, row in dict(rows).items()]
        if texts:
            lines[key] = parts[0] + '\n  ' + ',\n  '.join(texts) + '\n ' + parts[1]
    write_text_atomic(path, '{\n ' + ',\n '.join(f'{json.dumps(k)}: {v}' for k, v in lines.items()) + '\n}\n')


def check_same(data: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> None:
    """Demand that a table is of the same network and setting.

    Raises:
        ConfigError: names the first key that differs.
    """
    for key, value in expected.items():
        found = data.get(key)
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            check_same(found, value, f'{source}: {key}')
        elif found != value:
            raise ConfigError(
                f'{source}: {key}: found {found!r}, expected {value!r}; a table holds one network on one machine in '
                'one setting (another --out makes another table)'
            )


def spread_archs(space: SearchSpace, count: int, rng: random.Random, cost: Callable[[Arch], Any]) -> list[Arch]:
    """Architectures in which every value of every choice has its turn, half of them from small to large.

    Args:
        space: what is drawn from.
        count: how many.
        rng: draws.
        cost: tells which are too large (:data:`TOO_LARGE`).
    """
    limit = TOO_LARGE * median(cost(space.sample(rng)).macs for _ in range(DRAWS))
    columns = [_column(len(choice), count, rng) for choice in space]
    archs = [_redrawn(space, row, rng, lambda arch: cost(arch).macs <= limit) for row in zip(*columns, strict=True)]
    rng.shuffle(archs)
    return archs


def _column(values: int, count: int, rng: random.Random) -> list[int]:
    """An index for each architecture: of the first half equally often each, of the others rising, with noise."""
    even = [i % values for i in range((count + 1) // 2)]
    rng.shuffle(even)
    rising = count - len(even)
    levels = (rng.gauss(values * (i + 0.5) / rising, 0.25 * values) for i in range(rising))
    return [*even, *(min(max(int(level), 0), values - 1) for level in levels)]


def _redrawn(space: SearchSpace, row: Sequence[int], rng: random.Random, fits: Callable[[Arch], bool]) -> Arch:
    arch = space.decode(row)
    while not fits(arch):
        arch = space.sample(rng)
    return arch


def check_table(
    bench: Bench, table: LatencyTable, count: int, seed: int, report: Callable[[int, int], object] = lambda *_: None
) -> dict[str, Any]:
    """Predict random architectures and measure each twice, the second time when all have had their first.

    Args:
        bench: networks and setting, those that the table is of.
        table: what predicts.
        count: how many architectures.
        seed: of their choice.
        report: called with the number of measurements done and of all.

    Returns:
        :func:`~mmnas_video.cost.latency_fit.prediction_agreement` of the prediction with the faster of the two, both
        lists (``predicted``, ``measured``), and ``repeated``: the agreement of the second measurement with the first.
        No prediction can be seen to be better than that; on a machine that is idle it is near 1 and 0.
    """
    rng = random.Random(f'check {seed}')
    archs = [bench.searchable.canonical(bench.space.sample(rng)) for _ in range(count)]
    predicted = [table(bench.searchable.latency_blocks(arch, bench.shape)) for arch in archs]
    together = max(TOGETHER, CHECKED_BYTES // (4 * bench.network['params']))
    measured: list[float] = []
    while len(measured) < 2 * count:
        at = len(measured) % count
        chunk = archs[at : min(at + together, count)]

        def told(turns: int, before: int = len(measured), size: int = len(chunk)) -> None:
            report(before + size * turns // bench.repeats, 2 * count)

        measured += [timed.ms for timed in bench.time(chunk, told)]
    first, second = measured[:count], measured[count:]
    fastest = [min(pair) for pair in zip(first, second, strict=True)]
    return {
        **prediction_agreement(predicted, fastest),
        'predicted': predicted,
        'measured': fastest,
        'repeated': prediction_agreement(second, first),
    }


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ('torch', 'mmengine', 'mmaction2')}
