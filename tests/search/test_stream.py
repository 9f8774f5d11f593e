"""A search's own stream of batches: what is loaded ahead, and what a resume makes of it."""

import os
import time

import pytest
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmnas_video.search.stream import BatchStream

from .toy import loader, prepared

BATCH = 3


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


class Noted(Dataset):
    """Answers with the key it was asked for, and writes it down first: in whichever process."""

    def __init__(self, file):
        self.file = file

    def __len__(self):
        return 11

    def __getitem__(self, key):
        with open(self.file, 'a', encoding='utf-8') as out:
            out.write(f'{key}\n')
        return {'key': str(key), 'process': os.getpid()}

    def loaded(self):
        """How many samples have been."""
        return len(self.file.read_text(encoding='utf-8').splitlines()) if self.file.exists() else 0


def stream_of(file, workers, **options):
    dataset = Noted(file)
    cfg = dict(dataset=dataset, batch_size=BATCH, num_workers=workers, collate_fn=dict(type='default_collate'))
    return BatchStream({**cfg, **options}, 7, 'held-out', 'Hook.arch_dataloader'), dataset


def wait_for(dataset, samples):
    """Until so many have been loaded, and a little longer, in which there may not be more."""
    for _ in range(600):
        if dataset.loaded() >= samples:
            break
        time.sleep(0.05)
    time.sleep(0.3)
    return dataset.loaded()


def test_workers_load_ahead_and_what_they_have_loaded_is_not_skipped(tmp_path):
    """Two workers have two batches ready each, before anyone asks and over the end of a pass. Rejects a stream that
    loads when it is asked (or in the training's process), and a resume that counts what was loaded ahead as used."""
    stream, dataset = stream_of(tmp_path / 'first', 2)
    assert dataset.loaded() == 0
    first = [next(stream)]
    assert wait_for(dataset, BATCH * (1 + 2 * 2)) == BATCH * (1 + 2 * 2)  # in the second pass of 11
    first.append(next(stream))
    assert wait_for(dataset, BATCH * (2 + 2 * 2)) == BATCH * (2 + 2 * 2)
    state = stream.state_dict()
    stream.close()
    assert state == {'consumed': 2}
    assert all(os.getpid() not in batch['process'].tolist() for batch in first)

    whole, _ = stream_of(tmp_path / 'whole', 0)
    keys = [next(whole)['key'] for _ in range(7)]
    assert [batch['key'] for batch in first] == keys[:2]
    resumed, _ = stream_of(tmp_path / 'second', 2)
    resumed.load_state_dict(state)
    assert [next(resumed)['key'] for _ in range(5)] == keys[2:]
    resumed.close()


def test_without_workers_nothing_is_loaded_ahead(tmp_path):
    """Rejects a thread that would draw from the generators that the training draws from."""
    stream, dataset = stream_of(tmp_path / 'seen', 0)
    for number in range(1, 4):
        next(stream)
        assert wait_for(dataset, number * BATCH) == number * BATCH


@pytest.mark.parametrize(('own', 'expected'), [({}, 2), (dict(num_workers=0), 0)])
def test_held_out_data_has_as_many_workers_as_training(own, expected):
    """Rejects held-out data whose config names a dataset, and which is therefore decoded in the training's process
    while the GPU waits; and a number that is named and not taken."""
    held_out = {key: value for key, value in loader(1, sampler=False).items() if key != 'num_workers'}
    made, hook = prepared(
        dict(type='PARSECSearchHook', num_archs=2, arch_dataloader={**held_out, **own}),
        train_dataloader=loader(0, workers=2),
    )
    stream = hook.held_out.loader
    assert (stream.num_workers, stream.persistent_workers) == (expected, bool(expected))
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert hook.held_out.consumed == 1
    hook.held_out.close()
    made.train_dataloader._iterator._shutdown_workers()
