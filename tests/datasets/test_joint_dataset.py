"""Named datasets as one: each with its pipeline, its seed, its held-out part, and no video of validation's."""

import copy
import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from mmnas_video.datasets import JointDataset, SeededDataset, check_disjoint
from mmnas_video.errors import ConfigError
from mmnas_video.search import TaskStreams
from mmnas_video.search.held_out import held_out_config

from .joint import image_part, parts, video_part

HELD = dict(fraction=0.3, seed=5)


@pytest.fixture
def joint(demo_root):
    """The three sets, joined."""
    return JointDataset(parts(demo_root), seed=11)


def test_images_and_videos_have_one_shape(joint):
    """Rejects images without the view or the time axis, and samples that do not say their dataset."""
    shapes = {task: tuple(joint[task, 0, 1]['inputs'].shape) for task in joint.tasks}
    assert shapes == {'image': (1, 3, 1, 23, 29), 'scene': (1, 3, 5, 23, 29), 'motion': (1, 3, 5, 23, 29)}
    assert [joint[task, 0, 1]['data_samples'].task for task in joint.tasks] == ['image', 'scene', 'motion']
    assert {task: len(part) for task, part in joint.parts.items()} == {'image': 9, 'scene': 15, 'motion': 28}
    assert len(joint) == 9 + 15 + 28


def test_a_sample_is_that_of_its_dataset_alone(demo_root, joint):
    """Rejects an index into another dataset, a shifted index, and an epoch that gets lost."""
    alone = SeededDataset(video_part(demo_root, 'motion', 'train'), seed=joint.parts['motion'].seed)
    for epoch, index in ((0, 3), (2, 3), (2, 27)):
        one, other = joint['motion', epoch, index], alone[epoch, index]
        assert torch.equal(one['inputs'], other['inputs'])
        assert one['data_samples'].gt_label == other['data_samples'].gt_label
    assert not torch.equal(joint['motion', 0, 3]['inputs'], joint['motion', 2, 3]['inputs'])


def test_datasets_have_seeds_of_their_own(demo_root, joint):
    """Rejects one seed for all (their crops would go together), a run's seed that is not handed on, and one that takes
    the place of a dataset's own."""
    assert len({part.seed for part in joint.parts.values()}) == 3
    draws = {joint[task, 1, 2]['data_samples'].draw for task in joint.tasks}
    assert len(draws) == 3
    other = JointDataset(parts(demo_root))
    other.seed = 11
    assert torch.equal(other['scene', 1, 2]['inputs'], joint['scene', 1, 2]['inputs'])
    other.seed = 12
    assert not torch.equal(other['scene', 1, 2]['inputs'], joint['scene', 1, 2]['inputs'])
    own = dict(type='SeededDataset', dataset=video_part(demo_root, 'scene', 'train'), seed=5)
    fixed = JointDataset(dict(scene=own, motion=video_part(demo_root, 'motion', 'train')), seed=11)
    assert fixed.parts['scene'].seed == 5 and fixed.parts['motion'].seed == joint.parts['motion'].seed


@pytest.mark.parametrize('place', ['of all', 'its own'])
def test_a_held_out_that_is_no_dict_is_refused(demo_root, place):
    """Rejects a TypeError of the merging of two."""
    cfg, common = parts(demo_root), 'train'
    if place == 'its own':
        cfg['motion']['held_out'], common = 'train', None
    with pytest.raises(ConfigError, match=r"datasets\.\w+\.held_out: found 'train', expected dict\(fraction=..."):
        JointDataset(cfg, held_out=common)


def test_held_out_parts_of_every_dataset(demo_root):
    """Rejects a held_out that reaches one dataset only, or mmpretrain's labels not at all (a class could then be
    missing in a part), and a dataset's own share that is ignored."""
    cfg = parts(demo_root)
    cfg['motion']['held_out'] = dict(fraction=0.6)
    split = {part: JointDataset(copy.deepcopy(cfg), held_out=dict(part=part, **HELD)) for part in ('train', 'held_out')}
    check_disjoint({part: dataset.file_ids() for part, dataset in split.items()})
    assert not np.isin(split['train'].ids(), split['held_out'].ids()).any()
    sizes = {part: {t: len(p) for t, p in dataset.parts.items()} for part, dataset in split.items()}
    assert sizes['held_out'] == {'image': 3, 'scene': 6, 'motion': 16}  # of 3 x 3, 3 x 5 and 4 x 7
    whole = JointDataset(copy.deepcopy(cfg))  # an own share says nothing where nothing is split
    assert {t: len(p) for t, p in whole.parts.items()} == {'image': 9, 'scene': 15, 'motion': 28}
    assert sizes['train'] == {'image': 6, 'scene': 9, 'motion': 12}
    for dataset in split.values():
        labels = [dataset.parts['image'].get_data_info(i)['gt_label'] for i in range(len(dataset.parts['image']))]
        assert set(labels) == {0, 1, 2}


@pytest.fixture
def kinetics(tmp_path, demo_root):
    """Two training lists and one validation list of Kinetics' kind, which share videos under other paths and ends; the
    files are links to the demo's.

    ``old``: videos 0 to 19. ``new``: videos 8 to 27, in other folders, ends moved by a second. ``val``: 18 to 21.
    Third comes ``twin``, the videos of ``old`` under other paths.
    """
    source = sorted((demo_root / 'motion/videos').glob('*.mp4'))[0]
    names = [f'{n:011d}'.replace('0', 'x') for n in range(28)]

    def make(name, numbers, end):
        files = [(n, f'{name}{n % 2}/{names[n]}_{n:06d}_{n + end:06d}.mp4') for n in numbers]
        for _, file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).symlink_to(source)
        (tmp_path / f'{name}.txt').write_text(''.join(f'{file} {n % 2}\n' for n, file in files))
        pipeline = video_part(demo_root, 'motion', 'train')['pipeline']
        return dict(
            type='VideoDataset',
            ann_file=str(tmp_path / f'{name}.txt'),
            data_prefix=dict(video=str(tmp_path / name)),
            pipeline=pipeline,
        )

    make('val', range(18, 22), 11)
    return (
        dict(old=make('old', range(20), 10), new=make('new', range(8, 28), 11)),
        str(tmp_path / 'val.txt'),
        make('twin', range(20), 12),
    )


def numbers(dataset, task):
    part = dataset.parts[task]
    return sorted(int(part.file_of(i).rsplit('_', 2)[1]) for i in range(len(part)))


def test_validation_videos_are_refused_or_dropped(kinetics, caplog):
    """Rejects comparison by path (nothing would be found), by whole file name (the ends differ), a look at the first
    dataset only, and dropping without a word."""
    cfg, val, _ = kinetics
    with pytest.raises(ConfigError) as info:
        JointDataset(copy.deepcopy(cfg), validation=dict(k400=val), config_key='train_dataloader.dataset')
    text = str(info.value)
    assert text.startswith('train_dataloader.dataset.datasets.old: found 2 of 20 clips whose video is also in the val')
    assert "overlap='drop'" in text and 'check_overlap.py' in text and '_000018_' in text
    logger = MMLogger.get_instance('overlap')
    with caplog.at_level(logging.WARNING):
        logger.addHandler(caplog.handler)
        dataset = JointDataset(copy.deepcopy(cfg), validation=dict(k400=val), overlap='drop')
    assert numbers(dataset, 'old') == [*range(18)]
    assert numbers(dataset, 'new') == [*range(8, 18), *range(22, 28)]
    assert 'new: dropped 4 of 20 clips whose video is also in the validation list k400' in caplog.text
    assert sorted(sample for sample in numbers(dataset, 'new')) == numbers(dataset, 'new')
    dataset['new', 0, len(dataset.parts['new']) - 1]
    with pytest.raises(IndexError):
        dataset['new', 0, len(dataset.parts['new'])]


def test_validation_images_are_refused_or_dropped(demo_root, tmp_path):
    """Rejects comparison of the path in the list with that below data_prefix, which finds nothing ever, and of the
    names without their folders."""
    part = parts(demo_root)['image']
    rows = (demo_root / 'image/meta/train.txt').read_text().splitlines()
    (tmp_path / 'val.txt').write_text('\n'.join([rows[0], rows[-1], 'elsewhere/' + rows[1].rpartition('/')[2], '']))
    given = dict(validation=dict(image=str(tmp_path / 'val.txt')))
    with pytest.raises(ConfigError, match=r'datasets\.image: found 2 of 9 clips whose video is also in the validation'):
        JointDataset(dict(image=copy.deepcopy(part)), **given)
    dataset = JointDataset(dict(image=part), overlap='drop', **given).parts['image']
    left = {dataset.file_of(index).split('/train/')[1] for index in range(len(dataset))}
    assert left == {row.rpartition(' ')[0] for row in rows[1:-1]}


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_a_video_held_out_in_one_dataset_is_trained_on_in_none(kinetics, seed):
    """Rejects parts that are disjoint within each dataset only: α would be trained on the weights' videos."""
    cfg, val, _ = kinetics
    held = dict(fraction=0.4, seed=seed)
    split = {
        part: JointDataset(
            copy.deepcopy(cfg), held_out=dict(part=part, **held), validation=dict(k400=val), overlap='drop'
        )
        for part in ('train', 'held_out')
    }
    train, out = ({n for task in ('old', 'new') for n in numbers(split[part], task)} for part in split)
    assert not train & out and not (train | out) & {18, 19, 20, 21}
    assert len(train | out) == 24


def test_streams_of_a_search_train_on_nothing_that_is_held_out(kinetics):
    """Rejects a stream that knows its own dataset only: tuning would train on what selection scores with, where two
    sets share videos (as Kinetics-400 and -600 do)."""
    cfg, val, _ = kinetics
    found = {}
    for part in ('train', 'held_out'):
        held = dict(part=part, fraction=0.4, by='path')
        dataset = dict(type='JointDataset', datasets=cfg, held_out=held, validation=dict(k400=val), overlap='drop')
        streams = TaskStreams(dict(dataset=dataset, batch_size=2, num_workers=0), 7, 'tuning', 'train_dataloader')
        whole = JointDataset(**{key: value for key, value in copy.deepcopy(dataset).items() if key != 'type'})
        assert {task: len(stream.dataset) for task, stream in streams.streams.items()} == {
            task: len(part) for task, part in whole.parts.items()
        }
        assert streams.next('new')['data_samples'][0].task == 'new'
        found[part] = set(streams.ids().tolist())
    assert not found['train'] & found['held_out'] and len(found['train']) > 5


def test_overlap_of_what_a_search_holds_out_names_the_key_that_changes_it(kinetics):
    """Rejects advice to set an option of the hook's arch_dataloader.dataset, which the config has not: with that alone
    in it there would be no data."""
    cfg, val, _ = kinetics
    held = dict(part='train', fraction=0.4)
    dataset = dict(type='JointDataset', datasets=cfg, held_out=held, validation=dict(k400=val))
    made = held_out_config(dict(dataset=dataset, batch_size=2, num_workers=0), {}, None, 'Hook.arch_dataloader')
    key = r'train_dataloader\.dataset'
    with pytest.raises(ConfigError, match=rf"^{key}\.datasets\.old, held-out part: found .* Set {key}\.overlap='drop'"):
        TaskStreams(made, 7, 'held-out', 'Hook.arch_dataloader')
    own = {**made, 'dataset': {key: value for key, value in made['dataset'].items() if key != 'config_key'}}
    with pytest.raises(ConfigError, match=r"Set Hook\.arch_dataloader\.dataset\.overlap='drop'"):
        TaskStreams(own, 7, 'held-out', 'Hook.arch_dataloader')


def test_datasets_of_the_same_videos_hold_out_the_same(kinetics):
    """Rejects a split by path: half of what one dataset holds out would then be lost to the other's training."""
    cfg, _, twin = kinetics
    dataset = JointDataset(dict(old=cfg['old'], twin=twin), held_out=dict(part='train', fraction=0.4))
    assert numbers(dataset, 'old') == numbers(dataset, 'twin') and len(numbers(dataset, 'old')) == 12


def test_overlapping_held_out_parts_are_refused_by_default(kinetics):
    """Rejects dropping without being asked to."""
    cfg, *_ = kinetics
    held = dict(part='train', fraction=0.4, by='path')
    with pytest.raises(ConfigError, match=r'datasets\.old: found .* also in the held-out part of new'):
        JointDataset(cfg, held_out=held)


def test_what_is_wrong_is_named(demo_root, tmp_path):
    """Rejects a second dataset that takes the place of the first, empty lists, missing files and misfit pipelines, each
    without its config key."""
    cfg = parts(demo_root)
    listed = [dict(name='image', **cfg['image']), dict(name='scene', **cfg['scene'])]
    assert JointDataset(listed).tasks == ('image', 'scene')
    cases = [
        (dict(datasets=[*listed, listed[0]]), 'key.datasets: found two datasets of the name image'),
        (dict(datasets={}), 'key.datasets: found no dataset'),
        (dict(datasets={'a.b': cfg['image']}), "key.datasets: found the name 'a.b'"),
        (dict(datasets={'gloss': cfg['image']}), "key.datasets: found the name 'gloss', expected one without 'loss'"),
        (dict(datasets=cfg, overlap='keep'), "key.overlap: found 'keep', expected one of error, drop"),
        (dict(datasets=cfg, validation=dict(k=str(tmp_path / 'no.txt'))), 'key.validation.k: found no file'),
        (dict(datasets=cfg, held_out=dict(part='train')), r'key.datasets.image.held_out: found no \['),
        (dict(datasets=cfg, held_out=dict(part='train', fraction=0.5, by='size')), "held_out.by: found 'size'"),
    ]
    (tmp_path / 'empty.txt').write_text('\n')
    empty = {**cfg['scene'], 'ann_file': str(tmp_path / 'empty.txt')}
    cases.append((dict(datasets=dict(scene=empty)), 'key.datasets.scene.ann_file: found no clip in'))
    missing = {**cfg['image'], 'ann_file': 'none.txt'}
    cases.append((dict(datasets=dict(image=missing)), "key.datasets.image.ann_file: found no file 'none.txt'"))
    folder = {**cfg['image'], 'data_prefix': str(tmp_path / 'gone')}
    cases.append((dict(datasets=dict(image=folder)), r'key.datasets.image.data_prefix.img_path: found no folder'))
    for options, words in cases:
        with pytest.raises(ConfigError, match=words):
            JointDataset(**copy.deepcopy(options), config_key='key')


def test_all_clips_dropped_is_an_error(kinetics):
    """Rejects a dataset that is empty after its overlap is gone."""
    cfg, *_ = kinetics
    with pytest.raises(ConfigError, match=r'datasets\.new: found no clip'):
        JointDataset(dict(new=cfg['new']), validation=dict(all=cfg['new']['ann_file']), overlap='drop')


def test_a_pipeline_of_another_shape_is_named(demo_root):
    """Rejects a batch of images that fails in the network, in words about a convolution."""
    cfg = image_part(demo_root, 'train')
    cfg['pipeline'][-3:] = [dict(type='PackInputs')]
    dataset = JointDataset(dict(image=cfg))
    with pytest.raises(ConfigError, match=r'datasets\.image\.pipeline: found a sample whose inputs are \(3, 23, 29\)'):
        dataset['image', 0, 0]


def test_a_joint_dataset_needs_its_batch_sampler(joint, demo_root):
    """Rejects batches of several datasets, drawn by a stock sampler; a single dataset may be drawn from by any."""
    with pytest.raises(ConfigError, match=r'train_dataloader\.batch_sampler: found none'):
        joint[0, 3]
    with pytest.raises(ConfigError, match='batch_sampler'):
        joint[3]
    single = JointDataset(dict(scene=video_part(demo_root, 'scene', 'train')))
    assert torch.equal(single[1, 3]['inputs'], single['scene', 1, 3]['inputs'])


def test_an_imagenet_folder(demo_root):
    """Rejects mmpretrain's own layouts: a split's folder without a list, and its list under meta."""
    pipeline = image_part(demo_root, 'val')['pipeline']
    common = dict(_scope_='mmpretrain', pipeline=pipeline, metainfo=dict(classes=('a', 'b', 'c')))
    folder = dict(type='CustomDataset', data_root=f'{demo_root}/image', data_prefix='val', **common)
    split = dict(type='ImageNet', data_root=f'{demo_root}/image', split='val', **common)
    assert [len(JointDataset(dict(image=cfg))) for cfg in (folder, split)] == [3, 3]
    split['split'] = 'test2'
    with pytest.raises(ConfigError, match=r'image\.data_prefix\.img_path: found no folder'):
        JointDataset(dict(image=split))
