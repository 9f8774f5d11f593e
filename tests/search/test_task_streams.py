"""Held-out batches of the dataset that is asked for; resumable at any batch of each."""

import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video.datasets import (
    DemoOptions,
    JointDataset,
    SeededDataset,
    check_disjoint,
    close_runner_workers,
    make_demo,
)
from mmnas_video.errors import ConfigError
from mmnas_video.search import TaskStreams, is_joint
from mmnas_video.search.calibration import Calibration
from mmnas_video.search.tuning import Tuning

from ..datasets.joint import model, parts, run, run_config
from .test_entangled import BACKBONES, joint_config

OPTIONS = DemoOptions(
    seed=3, height=34, width=46, min_frames=11, max_frames=17, motion_classes=4, scene_classes=3,
    motion_clips=(7, 2, 3), scene_clips=(5, 1, 2), image_clips=(5, 1, 2),
)  # fmt: skip

METHODS = ('Uniform', 'ConflictAware', 'DARTS', 'Entanglement', 'Evolution')


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo')
    make_demo(folder, OPTIONS, report=lambda line: None)
    return folder


def loader(root, workers=0, **changes):
    held_out = dict(part='held_out', fraction=0.4)
    dataset = dict(type='JointDataset', datasets=parts(root), held_out=held_out)
    return dict(dataset=dataset, batch_size=3, batch_sizes=dict(image=2), num_workers=workers, **changes)


def streams(root, workers=0, **changes):
    return TaskStreams(loader(root, workers, **changes), 7, 'held-out', 'Hook.arch_dataloader')


def drawn(stream, tasks):
    batches = [stream.next(task) for task in tasks]
    for task, batch in zip(tasks, batches, strict=True):
        assert {sample.task for sample in batch['data_samples']} == {task}
    return [batch['inputs'] for batch in batches]


def equal(one, other):
    return len(one) == len(other) and all(
        len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(one, other, strict=True)
    )


ORDER = ['motion', 'image', 'motion', 'scene', 'image', 'image', 'motion', 'image']


@pytest.mark.parametrize('workers', [0, 1])
def test_resumed_in_the_middle(root, workers):
    """Rejects one count for all datasets, a stream that begins anew, and one that depends on when the others were
    asked; sizes of batches are each dataset's own."""
    whole = drawn(streams(root), ORDER)
    assert [len(batch) for batch in whole] == [3, 2, 3, 3, 2, 2, 3, 2]
    first = streams(root, workers)
    assert equal(drawn(first, ORDER[:3]), whole[:3])
    state = first.state_dict()
    first.close()
    assert state == {'image': {'consumed': 1}, 'scene': {'consumed': 0}, 'motion': {'consumed': 2}}
    second = streams(root, workers)
    second.load_state_dict(state)
    assert equal(drawn(second, ORDER[3:]), whole[3:])
    second.close()
    images = [batch for task, batch in zip(ORDER, whole, strict=True) if task == 'image']
    assert equal(drawn(streams(root), ['image']), images[:1])


def test_datasets_of_a_size_have_orders_of_their_own(root):
    """Rejects one order for all: image and scene have 15 clips each."""
    cfg = dict(dataset=dict(type='JointDataset', datasets=parts(root)), batch_size=3, num_workers=0)
    made = TaskStreams(cfg, 7, 'held-out', 'Hook.arch_dataloader').streams
    orders = [list(itertools.islice(iter(made[task].loader.sampler), 15)) for task in ('image', 'scene')]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]


def test_calibration_has_clips_of_every_dataset(root):
    """Rejects statistics of the first dataset alone."""
    batches = Calibration(None, dict(train_dataloader=loader(root)), 11, 7, None).batches()
    tasks = [{sample.task for sample in batch['data_samples']} for batch in batches]
    assert tasks == [{'image'}, {'scene'}, {'motion'}, {'image'}]


@pytest.mark.parametrize(('workers', 'each'), [(0, 0), (4, 2)])
def test_tuning_shares_the_workers_of_the_training(workers, each, root):
    """Rejects as many for each of the three datasets as the training has for all: with VIM-NAS's four 32 on every rank,
    beside those of the training and of α's batches."""
    cfg = {key: value for key, value in loader(root, workers).items() if key != 'batch_sizes'}
    cfg['batch_sampler'] = dict(type='JointBatchSampler', batch_sizes=dict(image=2))
    sampler = SimpleNamespace(weights=dict(image=0.2, scene=0.3, motion=0.5))
    runner = SimpleNamespace(
        cfg=SimpleNamespace(train_dataloader=cfg),
        train_dataloader=SimpleNamespace(batch_sampler=sampler),
        optim_wrapper=SimpleNamespace(optimizer=None),
    )
    tuning = Tuning(SimpleNamespace(seed=7, max_bad_share=0.0), runner, 1)
    loaders = [stream.loader for stream in tuning.stream.streams.values()]
    assert [(one.num_workers, one.batch_size) for one in loaders] == [(each, 2), (each, 3), (each, 3)]


def test_parts_are_those_of_training(root):
    """Rejects streams over the whole list, or over another split than the training loader's."""
    cfg = loader(root)['dataset']
    train = JointDataset(copy.deepcopy(parts(root)), held_out={**cfg['held_out'], 'part': 'train'})
    held = streams(root)
    check_disjoint({'train': train.file_ids(), 'held_out': held.dataset.file_ids()})
    assert len(train) + len(held) == len(JointDataset(parts(root)))
    assert len(held.ids()) == len(held)
    assert is_joint(loader(root)) and not is_joint(dict(dataset=dict(type='SeededDataset')))


@pytest.mark.parametrize('joint', ['mmaction.JointDataset', JointDataset])
@pytest.mark.parametrize('inner', ['mmaction.SeededDataset', SeededDataset])
def test_datasets_are_known_by_every_name_of_theirs(joint, inner, root):
    """Rejects joint data that is taken for a single dataset, and a ``SeededDataset`` that gets another one around it,
    where MMAction2's scope or the class itself stands in the config."""
    cfg = loader(root)
    cfg['dataset'].update(type=joint, datasets={n: dict(type=inner, dataset=d) for n, d in parts(root).items()})
    assert is_joint(cfg)
    made = TaskStreams(cfg, 7, 'held-out', 'Hook.arch_dataloader')
    assert len(made) == len(streams(root)) and equal(drawn(made, ['scene']), drawn(streams(root), ['scene']))


def test_what_is_wrong_is_named(root):
    """Rejects a misspelt name that is ignored, and a KeyError for a dataset that is trained but not held out."""
    with pytest.raises(ConfigError, match=r"arch_dataloader\.batch_sizes: found the name 'images'"):
        TaskStreams({**loader(root), 'batch_sizes': dict(images=2)}, 7, 'held-out', 'Hook.arch_dataloader')
    with pytest.raises(ConfigError, match=r'Hook\.arch_dataloader\.batch_sampler: found one'):
        streams(root, batch_sampler=dict(type='JointBatchSampler'))
    with pytest.raises(ConfigError, match='expected a JointDataset'):
        TaskStreams(dict(dataset=dict(type='SeededDataset')), 7, 'held-out', 'Hook.arch_dataloader')
    stream = streams(root)
    with pytest.raises(ConfigError, match="found none of the name 'k400', expected one of image, scene, motion"):
        stream.next('k400')
    with pytest.raises(ConfigError, match='resume: found held-out streams of motion'):
        stream.load_state_dict({'motion': {'consumed': 3}})


def searching(work_dir, root, **hook):
    """A joint search that ends in its first step."""
    cfg = run_config(work_dir, root, kill_at=0)
    table = dict(embed_dims=(7,), depths=(1, 2), heads=(1,), qkv_dims=(6,), mlp_ratios=(1.0,))
    tubes = [dict(kernels=['1x5x7'], strides=['2x7x11'])]
    cfg.model = {**model(), 'backbone': dict(type='SuperViT', table=table, tubes=tubes)}
    cfg.custom_hooks.insert(2, dict(type='UniformSearchHook', **hook))
    return cfg


def test_held_out_videos_are_in_no_other_part_under_any_path(root, tmp_path):
    """Rejects a look at paths alone: the held-out list of one dataset names videos that another one trains on (as
    Kinetics-600 and -400 do), in a folder of its own."""
    (tmp_path / 'videos').symlink_to(root / 'scene/videos')
    held_out = parts(root, 'val')
    held_out['scene'] = {**parts(root)['scene'], 'data_prefix': dict(video=str(tmp_path / 'videos'))}
    arch_loader = dict(dataset=dict(type='JointDataset', datasets=held_out), batch_size=2, num_workers=0)
    with pytest.raises(ConfigError) as info:
        run(searching(tmp_path / 'run', root, arch_dataloader=arch_loader))
    assert str(info.value).startswith(
        'UniformSearchHook.arch_dataloader.dataset and train_dataloader: found 15 of 26 clips of the first whose video'
    )


def test_parsec_refuses_joint_data_and_names_who_takes_it(root, tmp_path):
    """Rejects α scored on whatever data set comes, and advice that leaves most of the methods out."""
    cfg = searching(tmp_path, root)
    cfg.custom_hooks[2] = dict(type='PARSECSearchHook', num_archs=2)
    cfg.train_dataloader.dataset.held_out = dict(part='train', fraction=0.4)
    with pytest.raises(ConfigError, match=r'^PARSECSearchHook\.arch_dataloader: found a JointDataset') as info:
        run(cfg)
    assert all(f'{name}SearchHook' in str(info.value) for name in METHODS) and str(info.value).count('PARSEC') == 1


def test_darts_takes_joint_data(root, tmp_path):
    """Rejects a hook that the refusal above names and that cannot: a whole search."""
    cfg = joint_config(root, tmp_path, {}, *BACKBONES['SuperMBConv3D'])
    cfg.custom_hooks[-1] = dict(type='DARTSSearchHook', calibration_clips=0)
    runner = Runner.from_cfg(cfg)
    runner.train()
    close_runner_workers(runner)
    assert runner.iter == len(runner.train_dataloader) > 2 and (tmp_path / 'search/arch.json').is_file()


def test_validation_and_test_may_be_one_list(root, tmp_path, monkeypatch):
    """Rejects a search that refuses its own configs, which validate on one view and test on many of the same list; one
    that then lets training clips into the test; and one that puts all paths together where no file is in two lists: two
    million of them, at every start."""
    named, stock = [], SeededDataset.file_ids
    monkeypatch.setattr(SeededDataset, 'file_ids', lambda self: named.append(self.key) or stock(self))

    def loader_of(key, split, frames):
        datasets = parts(root, split)
        datasets['scene']['pipeline'][1]['clip_len'] = frames
        return dict(
            dataset=dict(type='JointDataset', datasets=datasets, config_key=f'{key}.dataset'),
            sampler=dict(type='SeededSampler', shuffle=False),
            batch_sampler=dict(type='TaskByTaskBatchSampler'),
            collate_fn=dict(type='skip_bad_collate'),
            batch_size=2,
        )

    for split in ('val', 'train'):
        cfg = searching(tmp_path / split, root)
        cfg.train_dataloader.dataset.held_out = dict(part='train', fraction=0.4)
        cfg.train_dataloader.batch_sampler.pop('batch_sizes')
        cfg.train_dataloader.batch_size = 3
        for key, listed, frames in (('val', 'val', 5), ('test', split, 7)):
            cfg[f'{key}_dataloader'] = loader_of(f'{key}_dataloader', listed, frames)
            cfg[f'{key}_cfg'], cfg[f'{key}_evaluator'] = {}, dict(type='JointAccMetric')
        if split == 'val':
            assert len(run(cfg)[0]) == 1 and not named
            continue
        with pytest.raises(ConfigError, match=r'^train_dataloader and test_dataloader: found .* files in both'):
            run(cfg)
        assert named
