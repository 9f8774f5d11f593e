"""A list is read once in a process, however many datasets look at it: counted, and looked for in what is pickled."""

import copy
import gc
import os
import pickle
from collections import Counter
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from mmnas_video.datasets import HeldOut, JointDataset, SeededDataset, listing
from mmnas_video.datasets.listing import _below
from mmnas_video.search.held_out import held_out_part, with_pipelines

from .joint import parts


@pytest.fixture(autouse=True)
def nothing_read(monkeypatch):
    """What an earlier test has left, and Python's collector not come for yet, holds no list here."""
    monkeypatch.setattr(listing, '_READ', WeakSet())


@pytest.fixture
def read(monkeypatch):
    """How often each list has been read."""
    counts, stock = Counter(), BaseDataset.full_init

    def full_init(self):
        counts[Path(self.ann_file).parent.name] += not self._fully_initialized
        stock(self)

    monkeypatch.setattr(BaseDataset, 'full_init', full_init)
    monkeypatch.setattr('mmpretrain.datasets.base_dataset.BaseDataset.full_init', full_init)
    return counts


def test_the_parts_of_a_joint_search_read_each_list_once(demo_root, read, monkeypatch):
    """What trains, what is held out, and that again through the pipeline that scores. Rejects a list for each of them:
    with the four of VIM-NAS a minute of every rank's start and 235 MB of its memory each; a split ranked anew for each
    part; and one pipeline for all."""
    ranked, stock = Counter(), HeldOut.indices

    def indices(self, names, labels):
        ranked[len(names)] += 1
        return stock(self, names, labels)

    monkeypatch.setattr(HeldOut, 'indices', indices)
    sets = parts(demo_root)
    scoring = [step for step in sets['motion']['pipeline'] if step['type'] != 'RandomResizedCrop']
    sets['motion']['held_out'] = dict(pipeline=scoring)
    dataset = dict(type='JointDataset', datasets=sets, held_out=dict(fraction=0.3, part='train'), overlap='drop')
    loader = dict(batch_size=2, dataset=dataset)
    held = held_out_part(loader, 'arch_dataloader')
    made = [cfg['dataset'] for cfg in (loader, held, with_pipelines(held))]
    train, arch, scored = (JointDataset(**{k: v for k, v in cfg.items() if k != 'type'}) for cfg in made)
    assert read == {'motion': 1, 'scene': 1, 'meta': 1} and ranked == {28: 1, 15: 1, 9: 1}
    for task in train.tasks:
        assert len({id(joint.parts[task].dataset.data_bytes) for joint in (train, arch, scored)}) == 1
        assert not set(train.parts[task].file_ids()) & set(arch.parts[task].file_ids())
        assert arch.parts[task].file_ids() == scored.parts[task].file_ids()
    steps = [
        [type(step).__name__ for step in joint.parts['motion'].dataset.pipeline.transforms] for joint in (arch, scored)
    ]
    assert 'RandomResizedCrop' in steps[0] and 'RandomResizedCrop' not in steps[1]
    key = 'motion', 0, 0
    assert arch[key]['inputs'].shape == scored[key]['inputs'].shape == (1, 3, 5, 23, 29)


def test_what_a_spawned_worker_is_sent_has_each_line_once(video_cfg):
    """Rejects a second copy of the list, and Python lists of its paths, in a dataset that shares one."""
    train = SeededDataset(video_cfg, held_out=dict(fraction=0.3, part='train'))
    held = SeededDataset({**video_cfg, 'pipeline': []}, held_out=dict(fraction=0.3, part='held_out'))
    for dataset in (train, held):
        name = os.path.basename(dataset.file_of(0)).encode()
        assert pickle.dumps(dataset).count(name) == 1
        assert pickle.loads(pickle.dumps(dataset)).file_ids() == dataset.file_ids()


def test_another_list_is_read(video_cfg, read, tmp_path):
    """Rejects the list of an earlier dataset where the file has been written anew, where the data lies elsewhere, and
    where nothing holds it any more."""
    lines = Path(video_cfg['ann_file']).read_text().splitlines()
    cfg = {**video_cfg, 'ann_file': str(tmp_path / 'motion' / 'list.txt')}
    Path(cfg['ann_file']).parent.mkdir()
    Path(cfg['ann_file']).write_text('\n'.join(lines[:13]))
    first = SeededDataset(copy.deepcopy(cfg))
    assert len(SeededDataset(copy.deepcopy(cfg))) == 13 and read['motion'] == 1
    Path(cfg['ann_file']).write_text('\n'.join(lines[:11]))
    assert len(SeededDataset(cfg)) == 11 and len(first) == 13 and read['motion'] == 2
    for other in (dict(start_index=1), dict(data_prefix=dict(video=f'{video_cfg["data_prefix"]["video"]}/'))):
        assert len(SeededDataset({**cfg, **other})) == 11
    assert read['motion'] == 4
    odd = {**cfg, 'metainfo': dict(colours=np.zeros((3, 2)))}
    assert len(SeededDataset(odd)) == len(SeededDataset(copy.deepcopy(odd))) == 11  # arrays are not compared
    del first
    gc.collect()
    before = read['motion']
    SeededDataset(cfg)
    assert read['motion'] == before + 1


def test_lines_are_read_for_the_split_and_the_rest_at_once(video_cfg, monkeypatch):
    """28 lines, each asked for once. Rejects a pass over the list for the split and another for everything else."""
    asked, stock = Counter(), BaseDataset.get_data_info

    def get_data_info(self, index):
        asked[index] += 1
        return stock(self, index)

    monkeypatch.setattr(BaseDataset, 'get_data_info', get_data_info)
    SeededDataset(video_cfg, held_out=dict(fraction=0.3, part='train'))
    assert asked == dict.fromkeys(range(28), 1)


@pytest.mark.parametrize('prefix', ['a/b', 'a/b/', '/a/b', 'a/../b', './a', '.', '/'])
def test_paths_below_the_prefix_are_those_of_relpath(prefix, monkeypatch):
    """Rejects a prefix that is cut off as text: the split would be another one than relpath's, which searches that run
    have been started with. And the working directory asked for at each path: two million times at the start of
    VIM-NAS's joint search."""
    tails = ['c/d', '/c.mp4', '../c', './c.mp4', 'c//d', 'c/../d', '..c/d', '', 'c/', '../b/c', 'é .mp4']
    paths = [*(os.path.join(prefix, '') + tail for tail in tails), 'elsewhere/c.mp4', 'a/bc.mp4', prefix]
    expected = [os.path.relpath(path, prefix) for path in paths]
    assert list(_below(prefix, paths)) == expected
    assert list(_below(prefix, ['s3://c/d.mp4', f'{prefix}://d'])) == ['s3://c/d.mp4', f'{prefix}://d']
    calls, getcwd = [], os.getcwd
    monkeypatch.setattr(os, 'getcwd', lambda: calls.append(0) or getcwd())
    list(_below(prefix, [os.path.join(prefix, f'{i}.mp4') for i in range(101)]))
    assert not calls
