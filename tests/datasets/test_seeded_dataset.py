"""A sample is a function of (seed, epoch, index); what cannot be listed is one clear error."""

import copy
import itertools
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner

from mmnas_video.datasets import HeldOut, SeededDataset, check_disjoint
from mmnas_video.datasets.video_ids import id_hash
from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATASETS


def pixels(loader_cfg: dict, epoch: int, video_cfg: dict) -> dict[str, torch.Tensor]:
    """Inputs of one epoch by file name, from a DataLoader that MMEngine built."""
    data = dict(type='SeededDataset', dataset=copy.deepcopy(video_cfg), seed=5)
    cfg = dict(dataset=data, sampler=dict(type='SeededSampler'), collate_fn=dict(type='skip_bad_collate'))
    loader = Runner.build_dataloader({**cfg, **loader_cfg}, seed=9)
    for earlier in range(epoch if loader.persistent_workers else 0):
        loader.sampler.set_epoch(earlier)
        list(loader)
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    names = [sample.filename for batch in batches for sample in batch['data_samples']]
    return dict(zip(names, (x for batch in batches for x in batch['inputs']), strict=True))


@pytest.fixture(autouse=True)
def with_names(video_cfg):
    video_cfg['pipeline'][-1]['meta_keys'] = ('filename',)


def test_same_pixels_with_any_workers_batches_and_history(video_cfg):
    """Rejects a dataset that draws from the workers' own generators, and workers that never see the epoch.

    The first loader has two persistent workers that have gone through epochs 0 and 1, the second has none and
    starts at epoch 2, as after a resume, with another batch size.
    """
    used = pixels(dict(batch_size=4, num_workers=2, persistent_workers=True), 2, video_cfg)
    fresh = pixels(dict(batch_size=3, num_workers=0), 2, video_cfg)
    other = pixels(dict(batch_size=3, num_workers=0), 1, video_cfg)
    assert used.keys() == fresh.keys() and len(used) == 28
    assert all(torch.equal(used[name], fresh[name]) for name in used)
    assert next(iter(used.values())).shape == (1, 3, 5, 23, 29)
    same = sum(torch.equal(fresh[name], other[name]) for name in fresh)
    assert same <= 1, f'{same} of 28 samples are alike in two epochs'


def test_samples_of_an_epoch_draw_apart(video_cfg, tmp_path):
    """One video, listed five times. Rejects one seed for all samples of an epoch: each batch would have one crop; and
    the crops of an epoch that come again in the next, one sample further on."""
    line = Path(video_cfg['ann_file']).read_text().splitlines()[0]
    video_cfg['ann_file'] = str(tmp_path / 'list.txt')
    Path(video_cfg['ann_file']).write_text(f'{line}\n' * 5)
    dataset = SeededDataset(video_cfg, seed=5)
    drawn = [dataset[2, index]['inputs'] for index in range(5)]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(drawn, 2))
    assert len({dataset.sample_seed(epoch, index) for epoch in range(7) for index in range(5)}) == 35


def test_generators_are_given_back(video_cfg):
    """Rejects a sample that leaves random, numpy or torch moved: dropout in the main process would follow the
    data."""
    dataset = SeededDataset(video_cfg)
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    dataset[1, 3]
    assert random.getstate() == state[0]
    assert (np.random.get_state()[1] == state[1]).all()
    assert torch.equal(torch.get_rng_state(), state[2])


def test_key_kinds(video_cfg):
    """Rejects a plain index that means another epoch than 0, and a seed or an index that is not used."""
    dataset, other = SeededDataset(video_cfg, seed=5), SeededDataset(video_cfg, seed=6)
    assert torch.equal(dataset[3]['inputs'], dataset[0, 3]['inputs'])
    assert torch.equal(dataset[-1]['inputs'], dataset[27]['inputs'])
    assert not all(torch.equal(dataset[i]['inputs'], other[i]['inputs']) for i in range(3))
    with pytest.raises(IndexError):
        dataset[28]


def test_it_answers_as_the_wrapped_one(video_cfg):
    """Rejects a wrapper that MMEngine's loops cannot use as a dataset."""
    cfg = {**video_cfg, 'metainfo': dict(classes=('a', 'b'))}
    wrapped, plain = SeededDataset(cfg), DATASETS.build(cfg)
    wrapped.full_init()
    assert len(wrapped) == len(plain) == 28
    assert wrapped.metainfo == plain.metainfo
    assert wrapped.get_data_info(5) == plain.get_data_info(5)


def test_frame_folders(tmp_path, video_cfg):
    """Rejects a wrapper that knows only videos."""
    for folder, frames in (('a', 7), ('b', 5)):
        (tmp_path / folder).mkdir()
        for number in range(1, frames + 1):
            cv2.imwrite(str(tmp_path / folder / f'img_{number:05d}.jpg'), np.full((34, 46, 3), 9 * number, np.uint8))
    (tmp_path / 'list.txt').write_text('a 7 0\nb 5 1\n')
    pipeline = [video_cfg['pipeline'][1], dict(type='RawFrameDecode'), *video_cfg['pipeline'][3:-1]]
    pipeline.append(dict(type='PackActionInputs', meta_keys=()))
    cfg = dict(type='RawframeDataset', ann_file=str(tmp_path / 'list.txt'), pipeline=pipeline)
    dataset = SeededDataset({**cfg, 'data_prefix': dict(img=str(tmp_path))})
    assert dataset[1, 1]['inputs'].shape == (1, 3, 5, 23, 29)
    assert dataset.file_ids() == [str(tmp_path / 'a'), str(tmp_path / 'b')]
    (tmp_path / 'b/img_00003.jpg').unlink()
    bad = [dataset[epoch, 1] for epoch in range(3)]
    assert all('img_00003.jpg' in sample.reason for sample in bad)


def test_a_file_has_one_hash_however_its_folder_is_written(video_cfg, tmp_path, monkeypatch):
    """In the order of the part's files, of a list that is split and of one that is not. Rejects hashes of paths as they
    are listed, by which a file that two lists name would be in both."""
    folder = Path(video_cfg['data_prefix']['video'])
    monkeypatch.chdir(folder.parent)
    other = {**video_cfg, 'data_prefix': dict(video=f'./{folder.name}/../{folder.name}')}
    for held_out in (None, dict(fraction=0.3, part='held_out')):
        one, two = (SeededDataset(cfg, held_out=held_out) for cfg in (video_cfg, other))
        assert one.file_ids() == two.file_ids() and one.file_hashes().tolist() == two.file_hashes().tolist()
        assert one.file_hashes().tolist() == [id_hash(path) for path in one.file_ids()]


def part(video_cfg, name, **more):
    return SeededDataset(video_cfg, held_out=dict(fraction=0.3, part=name, **more))


def test_held_out_parts_split_the_list(video_cfg):
    """Rejects parts that overlap, that leave clips out, that starve a class, or that move with the list's
    order."""
    train, held = part(video_cfg, 'train'), part(video_cfg, 'held_out')
    check_disjoint({'train': train.file_ids(), 'held': held.file_ids()})
    assert {*train.file_ids(), *held.file_ids()} == {*SeededDataset(video_cfg).file_ids()}
    labels = [held.get_data_info(i)['label'] for i in range(len(held))]
    assert [labels.count(c) for c in range(4)] == [2, 2, 2, 2]  # round(0.3 · 7)
    assert held[0]['data_samples'].filename == held.file_ids()[0]
    assert {*part(video_cfg, 'held_out', seed=1).file_ids()} != {*held.file_ids()}


def test_videos_of_several_labels_are_split_by_each_label(video_cfg, tmp_path):
    """28 videos of two of 8 labels, no two alike. Rejects a split by sets of labels: none of which has two videos, so
    that nothing could be held out."""
    lines = [line.split()[0] for line in Path(video_cfg['ann_file']).read_text().splitlines()]
    pairs = list(itertools.combinations(range(8), 2))
    (tmp_path / 'list.txt').write_text(''.join(f'{n} {a} {b}\n' for n, (a, b) in zip(lines, pairs, strict=True)))
    cfg = {**video_cfg, 'ann_file': str(tmp_path / 'list.txt'), 'multi_class': True, 'num_classes': 8}
    train, held = part(cfg, 'train'), part(cfg, 'held_out')
    assert 8 <= len(held) <= 14 and len(train) + len(held) == 28
    for data in (train, held):
        assert sum(data[i]['data_samples'].gt_label for i in range(len(data))).all()


def test_the_split_does_not_depend_on_the_lists_order_or_the_folder(tmp_path, video_cfg):
    """Rejects a split by row number, or by absolute path: another machine would train α on other clips."""
    held = [name.rsplit('/', 1)[1] for name in part(video_cfg, 'held_out').file_ids()]
    lines = Path(video_cfg['ann_file']).read_text().splitlines()
    (tmp_path / 'list.txt').write_text('\n'.join(reversed(lines)))
    (tmp_path / 'elsewhere').symlink_to(video_cfg['data_prefix']['video'])
    cfg = {
        **video_cfg,
        'ann_file': str(tmp_path / 'list.txt'),
        'data_prefix': dict(video=str(tmp_path / 'elsewhere')),
    }
    assert {name.rsplit('/', 1)[1] for name in part(cfg, 'held_out').file_ids()} == {*held}


@pytest.mark.parametrize('seed', range(19))
def test_names_that_classes_share_starve_none(seed):
    """53 clips of one class and 3 of another, numbered anew, so that both have 000, 001 and 002. Rejects a split of the
    larger class that leaves the smaller one without a clip held out, or with all of them, and one that takes what has
    one name apart: it may be a video that shows both classes."""
    names = [f'{number:03d}' for number in (*range(53), *range(3))]
    labels = [7] * 53 + ['other'] * 3
    train, held = ({*HeldOut(0.2, name, seed, 'video').indices(names, labels)} for name in ('train', 'held_out'))
    assert train | held == {*range(56)} and not {names[row] for row in train} & {names[row] for row in held}
    assert len([row for row in held if row < 53]) in (11, 12)  # round(0.2 · 53), and what the other class holds out
    assert 1 <= len([row for row in held if row >= 53]) <= 2


def fails(cfg: dict, *words: str, **options) -> None:
    with pytest.raises(ConfigError) as info:
        SeededDataset(cfg, **options)
    assert all(word in str(info.value) for word in words), str(info.value)


def test_each_class_is_split_by_itself():
    """Rejects a split that moves when another class gets more clips, and a class of two of which none is held out."""
    names = [f'{label}/{number}' for label, count in (('a', 7), ('b', 23), ('c', 2)) for number in range(count)]
    labels, split = [name[0] for name in names], HeldOut(0.2, 'held_out')
    found = [names[row] for row in split.indices(names, labels)]
    assert [sum(name[0] == label for name in found) for label in 'abc'] == [1, 5, 1]
    for label in 'abc':
        own = [name for name in names if name[0] == label]
        assert [own[row] for row in split.indices(own, [label] * len(own))] == [n for n in found if n[0] == label]


def test_missing_data_is_one_error(tmp_path, video_cfg):
    """Rejects an error that comes from a worker, or that names neither the key nor the path."""
    key = 'val_dataloader.dataset'
    none = str(tmp_path / 'none')
    fails({**video_cfg, 'ann_file': none}, key, 'ann_file', none, 'prepare', config_key=key)
    fails(
        {**video_cfg, 'data_prefix': dict(video=none)},
        key,
        'data_prefix.video',
        none,
        'prepare',
        config_key=key,
    )
    prefix = dict(video=str(tmp_path))
    fails({**video_cfg, 'data_prefix': prefix}, key, 'none of the 28 listed', '.mp4', 'prepare', config_key=key)
    relative = {**video_cfg, 'ann_file': 'none.txt', 'data_root': str(tmp_path)}
    fails(relative, str(tmp_path / 'none.txt'))
    for cfg in ({'ann_file': 'none.txt'}, {'data_prefix': dict(video='none/')}):  # the wrong folder to run in
        fails({**video_cfg, 'data_root': '', **cfg}, "'none", f' in the folder {Path.cwd()}, expected')


def test_lists_that_cannot_be_read(tmp_path, video_cfg):
    """Rejects a bare ValueError from the host about a list that has no labels or no lines."""
    path = tmp_path / 'list.txt'
    for text, words in (('', 'no clip'), ('a.mp4 zero\n', 'path label'), ('a.mp4 b 3\n', 'path label')):
        path.write_text(text)
        fails({**video_cfg, 'ann_file': str(path)}, 'train_dataloader.dataset', words)


def test_bad_options(tmp_path, video_cfg):
    """Rejects options that are silently ignored, and a part without a clip."""
    fails(
        video_cfg,
        'held_out',
        "unknown key 'fration'",
        "'by'",
        "mean 'fraction'",
        held_out=dict(fration=0.1, part='train'),
    )
    fails(video_cfg, 'held_out', 'fraction', held_out=dict(part='train'))
    fails(video_cfg, 'held_out.part', "'val'", held_out=dict(fraction=0.1, part='val'))
    fails(video_cfg, 'held_out.fraction', '1.0', held_out=dict(fraction=1.0, part='train'))
    fails(video_cfg, 'dataset.held_out:', "'train'", held_out='train')
    fails(video_cfg, 'held_out.fraction', "'0.2'", held_out=dict(fraction='0.2', part='train'))
    fails(video_cfg, 'held_out.seed', 'None', held_out=dict(fraction=0.2, part='train', seed=None))
    first = Path(video_cfg['ann_file']).read_text().splitlines()[0]
    (tmp_path / 'one.txt').write_text(first)
    one = {**video_cfg, 'ann_file': str(tmp_path / 'one.txt')}
    fails(one, "part 'held_out' of 1 clips empty", held_out=dict(fraction=0.5, part='held_out'))
    repeated = dict(type='RepeatDataset', times=2, dataset=video_cfg)
    fails(repeated, 'RepeatDataset', 'joined in one ann_file')


@pytest.mark.parametrize('reader', ['Decord', 'PyAV'])
def test_key_frames_in_place_of_the_sampled_ones(video_cfg, reader):
    """Rejects readers' mode that is fast because it gives other frames."""
    steps = [dict(step, type=step['type'].replace('Decord', reader)) for step in video_cfg['pipeline']]
    steps[2]['mode'] = 'efficient'
    message = rf"^train_dataloader\.dataset\.dataset\.pipeline: found {reader}Decode\(mode='efficient'\)"
    with pytest.raises(ConfigError, match=message):
        SeededDataset(dict(video_cfg, pipeline=steps))


def test_no_sample_is_ever_replaced(tmp_path, video_cfg, monkeypatch):
    """Rejects MMEngine's own fetch: where the pipeline gives None it takes another sample, from the global
    generator."""
    monkeypatch.setattr(BaseDataset, '_rand_another', lambda self: pytest.fail('replaced a sample'))
    dataset = SeededDataset(video_cfg)
    dataset.dataset.pipeline.transforms.insert(1, lambda results: None)
    sample = dataset[0]
    assert sample.path.endswith('.mp4') and 'gave no sample' in sample.reason
