"""Run by test_shared_clips.py: held-out clips that one, two and three processes load together.

Imports once and forks, as ranks.py. Each process writes what it has got, case by case, to a file.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmnas_video import compat
from mmnas_video.datasets.bad_sample import BadSample
from mmnas_video.errors import ConfigError, RunError
from mmnas_video.registry import DATASETS
from mmnas_video.search import shared_clips
from mmnas_video.search.candidates import CandidateScorer
from mmnas_video.search.shared_clips import load_together
from mmnas_video.search.stream import BatchStream

from .forked import fork_worlds, join_world
from .toy import SPACE, ToyDataset, checkpoint, config, loader

WORLDS = (1, 2, 3)
LOGGER = logging.getLogger('clips')
#: Batches of the two datasets: with two and three ranks some have one more than others.
COUNTS = {'images': 7, 'videos': 5}
BATCH = 3
MEGABYTES = 12
#: Clips, of which more than a tenth is among the images, and of each rank's part of them less.
BAD = (2, 5, 9, 11, 20, 30, 31)
#: Name → the dataset's options, and how the machines are (a letter for each rank; x cannot open the others' files).
CASES: dict[str, tuple[dict[str, Any], str]] = {
    'one machine': ({}, 'aaa'),
    'workers': (dict(workers=2), 'aaa'),
    'two machines': ({}, 'aab'),
    'containers': ({}, 'axa'),
    'a few bad': (dict(bad=(2, 9, 20), share=0.2), 'aaa'),
    'too many bad': (dict(bad=BAD, share=0.1), 'aaa'),
    'too many bad, two machines': (dict(bad=BAD, share=0.1), 'aab'),
    'a mistake': (dict(mistake=4), 'aaa'),
    'a mistake, two machines': (dict(mistake=4), 'aab'),
    'a mistake in a worker': (dict(mistake=4, workers=1), 'aaa'),
}


class Clips(Dataset):
    """Clips of uint8 whose axes were moved; notes what is loaded, in whichever process."""

    def __init__(self, notes: Path, bad: tuple[int, ...] = (), mistake: int | None = None, shape=(2, 5, 7, 3)) -> None:
        self.notes, self.bad, self.mistake, self.shape = notes, bad, mistake, shape

    def __len__(self) -> int:
        return 37

    def __getitem__(self, item: tuple[int, int]) -> Any:
        _, index = item
        with open(self.notes, 'a', encoding='utf-8') as file:
            file.write(f'{index}\n')
        if index in self.bad:
            return BadSample(f'{index}.mp4', 'cut off')
        if index == self.mistake:
            raise TypeError(f'no such step for {index}')
        generator = torch.Generator().manual_seed(index)
        clip = torch.randint(256, self.shape, dtype=torch.uint8, generator=generator)
        return {'inputs': clip.movedim(-1, 0), 'data_samples': {'index': index, 'label': torch.tensor([index])}}


@DATASETS.register_module()
class NotedToys(ToyDataset):
    """The toy's vectors; notes what is loaded."""

    def __init__(self, notes: str, size: int = 30, seed: int = 0) -> None:
        super().__init__(size, seed)
        self.notes = notes

    def __getitem__(self, item: Any) -> dict[str, Any]:
        with open(self.notes, 'a', encoding='utf-8') as file:
            file.write(f'{item[1]}\n')
        return super().__getitem__(item)


def stream(dataset: Dataset, name: str, workers: int = 0, share: float = 0.01) -> BatchStream:
    cfg = dict(dataset=dataset, batch_size=BATCH, num_workers=workers)
    return BatchStream(cfg, 3, name, 'key', share, shared=False)


def load(notes: Path, workers: int = 0, share: float = 0.01, **options: Any) -> dict[str, Any]:
    """What one case gives on this rank: batches and strides, or the error; and open files that it has cost."""
    streams = {name: stream(Clips(notes, **options), name, workers, share) for name in COUNTS}
    before = len(os.listdir('/proc/self/fd'))
    try:
        batches = load_together(streams, COUNTS, LOGGER)
    except (ConfigError, RunError, TypeError) as error:
        return {'error': f'{type(error).__name__}: {error}'}
    clips = [clip for part in batches.values() for batch in part for clip in batch['inputs']]
    return {
        'batches': batches,
        'strides': [clip.stride() for clip in clips],
        'opened': len(os.listdir('/proc/self/fd')) - before,
    }


def resident(tensors: list[torch.Tensor]) -> int:
    """Bytes of memory of what is mapped where these lie; a page of several processes by the share in it (PSS)."""
    places, total, within = sorted(tensor.data_ptr() for tensor in tensors), 0, False
    for line in Path('/proc/self/smaps').read_text(encoding='utf-8').splitlines():
        if re.match('[0-9a-f]+-[0-9a-f]+ ', line):
            low, high = (int(number, 16) for number in line.split()[0].split('-'))
            within = any(low <= place < high for place in places)
        elif within and line.startswith('Pss:'):
            total += 1024 * int(line.split()[1])
    return total


def weigh(notes: Path) -> dict[str, Any]:
    """Memory that clips of some megabytes cost this rank once all have been looked at, and what is seen of a rank that
    writes into its own."""
    shape = (64, 128, 128, 1)
    meet = dist.barrier if dist.is_initialized() else list
    streams = {'': stream(Clips(notes, shape=shape), 'large')}
    clips = [clip for batch in load_together(streams, {'': MEGABYTES // BATCH}, LOGGER)[''] for clip in batch['inputs']]
    sums = [int(clip.sum()) for clip in clips]
    meet()
    found = {'bytes': sum(clip.nbytes for clip in clips), 'pages': resident(clips)}
    meet()
    if notes.name.endswith('-0'):
        clips[0].zero_()
    meet()
    return {
        **found,
        'first': int(clips[0].sum()),
        'others': [int(c.sum()) for c in clips[1:]] == sums[1:],
        'was': sums[0],
    }


def score(notes: Path, folder: Path, ranks: int) -> list[float]:
    """Scores of a few candidates of an evolution."""
    from mmnas_video.launch import build_runner

    data = dict(type='NotedToys', notes=str(notes), seed=1)
    hook = dict(type='EvolutionSearchHook', checkpoint=str(folder / 'supernet.pth'), eval_batches=4)
    hook['arch_dataloader'] = dict(loader(1, sampler=False), dataset=data)
    cfg = config(hook, 1, str(folder / f'work-{ranks}'), launcher='pytorch' if ranks > 1 else 'none')
    cfg.experiment_name = f'{ranks}'
    runner = build_runner(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.call_hook('before_run')
    search = next(hook for hook in runner.hooks if type(hook).__name__ == 'EvolutionSearchHook')
    scorer = CandidateScorer(search, 4)
    return scorer.score_all([SPACE.largest, SPACE.smallest, {'scale': 1.0, 'width': 3}])


def rank_main(folder: Path, rank: int, ranks: int) -> None:
    """Everything, on one rank."""
    init_default_scope('mmaction')
    join_world(folder, rank, ranks)
    found: dict[str, Any] = {}
    machine, opened = shared_clips._machine, shared_clips._opened
    for number, (name, (options, machines)) in enumerate(CASES.items()):
        letter = machines[rank]
        shared_clips._machine = lambda letter=letter: (letter.replace('x', 'a'), '')
        shared_clips._opened = opened if letter != 'x' else lambda *args: None
        found[name] = load(folder / f'notes-{ranks}-{number}-{rank}', **options)
    shared_clips._machine, shared_clips._opened = machine, opened
    found['memory'] = weigh(folder / f'large-{ranks}-{rank}')
    found['scores'] = score(folder / f'toys-{ranks}-{rank}', folder, ranks)
    torch.save(found, folder / f'{ranks}-{rank}.pt')
    if ranks == WORLDS[-1]:
        dist.barrier()
        kept = load_together({'': stream(Clips(folder / 'last'), 'last')}, {'': 5}, LOGGER)
        dist.barrier()
        assert kept
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == '__main__':
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    compat.apply()
    os.replace(checkpoint(), Path(sys.argv[1]) / 'supernet.pth')
    killed = [{0}] * (len(WORLDS) - 1) + [{-signal.SIGKILL}]
    sys.exit(fork_worlds(rank_main, Path(sys.argv[1]), WORLDS) != killed)
