"""Orders are functions of (seed, pass), dealt out over ranks, resumable."""

from itertools import islice

import mmengine
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.runner import Runner
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import Dataset, Subset

from mmnas_video.datasets import EndlessSampler, SeededSampler
from mmnas_video.datasets import seeded_sampler as module
from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATA_SAMPLERS


def on_rank(monkeypatch, rank, world, cls, *args, **options):
    monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world))
    return cls(*args, **options)


def test_every_epoch_is_a_permutation_of_its_own():
    """Rejects an order that ignores the epoch, or the seed, and draws with repetition."""
    sampler = SeededSampler(range(31), seed=5)
    orders = []
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {e for e, _ in keys} == {epoch}
        orders.append([i for _, i in keys])
        assert sorted(orders[-1]) == list(range(31))
    sampler.set_epoch(1)
    assert [i for _, i in sampler] == orders[1]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [i for _, i in SeededSampler(range(31), seed=6)] != orders[0]


def test_no_global_generator_moves():
    """Rejects ``sync_random_seed`` and ``torch.randperm`` without a generator."""
    np.random.seed(0), torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    list(SeededSampler(range(13))), list(islice(EndlessSampler(range(13)), 30))
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(('length', 'expected'), [(7, 7), (13, 11)])
def test_a_list_that_is_shorter_than_num_batch_per_epoch_ends_where_it_ends(length, expected):
    """Rejects samples that the list does not have: MMEngine takes the number of batches at its word."""
    sampler = SeededSampler(_SlicedDataset(range(11), length))
    assert sorted(index for _, index in sampler) == list(range(expected)) and len(sampler) == expected


class Listed(BaseDataset):
    """Eleven samples without a file."""

    def load_data_list(self):
        return [dict(number=number) for number in range(11)]


@pytest.mark.parametrize('kind', [SeededSampler, EndlessSampler])
@pytest.mark.parametrize(
    'wrap',
    [
        lambda listed: listed,
        lambda listed: Subset(range(11), [1, 3]),
        lambda listed: torch.utils.data.ConcatDataset([range(11)]),
        lambda listed: mmengine.dataset.ConcatDataset([listed]),
        lambda listed: RepeatDataset(listed, 2),
    ],
)
def test_a_dataset_that_takes_an_index_alone_is_refused(kind, wrap):
    """Rejects torch's own "list indices must be integers" at the first batch, and advice that is refused in turn."""
    with pytest.raises(ConfigError, match=r'dataset: found a \w+, which takes an index .+ joined in one ann_file'):
        kind(wrap(Listed()))


def test_unshuffled_is_the_lists_order():
    """Rejects a validation that shuffles."""
    assert list(SeededSampler(range(7), shuffle=False)) == [(0, i) for i in range(7)]


@pytest.mark.parametrize('size, world', [(31, 3), (30, 3), (2, 5), (17, 1)])
@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_deal_out_the_set(monkeypatch, size, world, round_up):
    """Rejects ranks that overlap, leave a sample out, or (rounded up) give different numbers: DDP would
    hang."""
    options = dict(seed=3, round_up=round_up)
    ranks = [on_rank(monkeypatch, r, world, SeededSampler, range(size), **options) for r in range(world)]
    dealt = [[i for _, i in rank] for rank in ranks]
    assert [len(d) for d in dealt] == [len(r) for r in ranks]
    everything = [i for d in dealt for i in d]
    assert set(everything) == set(range(size))
    if round_up:
        assert len({len(d) for d in dealt}) == 1
        assert len(everything) == -(-size // world) * world
    else:
        assert len(everything) == size


@pytest.mark.parametrize('world, rank', [(1, 0), (3, 2)])
@pytest.mark.parametrize('start', [0, 1, 5, 10, 11, 12, 47])
def test_a_started_stream_is_the_tail_of_the_whole(monkeypatch, world, rank, start):
    """Rejects a resume that restarts the pass, or that counts samples of all ranks instead of this rank's."""
    whole = on_rank(monkeypatch, rank, world, EndlessSampler, range(31), seed=2)
    tail = on_rank(monkeypatch, rank, world, EndlessSampler, range(31), seed=2, start=start)
    assert list(islice(tail, 60)) == list(islice(whole, start, start + 60))
    whole.start = start
    assert list(islice(whole, 60)) == list(islice(tail, 60))


@pytest.mark.parametrize('start', [0, 5])
@pytest.mark.parametrize('runs', [range(1, 8, 3), range(0, 5), range(2, 2)])
def test_only_some_runs(start, runs):
    """Rejects runs that are counted within a pass, or from the stream's beginning and not ``start``, a stream that goes
    on after the last (its workers would decode for nobody), and one that does not give everything again."""
    sampler = EndlessSampler(range(11), seed=2, start=start)
    whole = list(islice(sampler, 40))
    sampler.only(runs, 3)
    assert list(islice(sampler, 40)) == [key for run in runs for key in whole[3 * run : 3 * run + 3]]
    sampler.only(None)
    assert list(islice(sampler, 40)) == whole


def test_endless_passes_cover_the_set_in_different_orders():
    """Rejects one order that is repeated, and random draws with repetition."""
    keys = list(islice(EndlessSampler(range(11), seed=2), 33))
    passes = [[i for n, i in keys if n == number] for number in range(3)]
    assert [sorted(p) for p in passes] == [list(range(11))] * 3
    assert len({tuple(p) for p in passes}) == 3
    assert len(EndlessSampler(range(11))) == 11


def test_an_empty_set_is_refused():
    """Rejects an endless loop over nothing."""
    for cls in (SeededSampler, EndlessSampler):
        with pytest.raises(ConfigError, match='no sample'):
            cls([])


class Keys(Dataset):
    """Answers with the key it was asked for."""

    def __len__(self):
        return 11

    def __getitem__(self, key):
        return {'key': str(key)}  # text, which collating leaves alone


@pytest.mark.parametrize('workers', [0, 2])
def test_the_runner_builds_them_and_resumes_the_stream(workers):
    """Rejects samplers that MMEngine cannot build by name, and a ``start`` that a DataLoader does not see."""
    assert DATA_SAMPLERS.get('SeededSampler') is SeededSampler
    more = dict(persistent_workers=True) if workers else {}
    cfg = dict(dataset=Keys(), batch_size=3, num_workers=workers, sampler=dict(type='EndlessSampler'), **more)
    loader = Runner.build_dataloader(cfg, seed=7)
    whole = [batch['key'] for batch in islice(iter(loader), 9)]
    loader.sampler.start = 5 * 3
    assert [batch['key'] for batch in islice(iter(loader), 4)] == whole[5:]
    assert whole[0] == [str(key) for key in islice(EndlessSampler(range(11), seed=7), 3)]
