"""configs/_base_/datasets/vimnas_*.py: Tab. 10, and real batches from generated data in the published layouts."""

import copy
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torchvision.transforms import RandAugment

from mmnas_video.datasets import DemoOptions, JointBatchSampler, JointDataset, make_demo
from mmnas_video.errors import ConfigError
from mmnas_video.registry import METRICS, MODELS, TRANSFORMS

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SINGLE = {'in1k': ['in1k'], 'k400': ['k400'], 'k600': ['k600'], 'ssv2': ['ssv2'], 'k400_in1k': ['in1k', 'k400']}
ALL = ['in1k', 'k400', 'k600', 'ssv2']


def read(load, name):
    return load(f'_base_/datasets/vimnas_{name}.py')


def sampling(cfg, task):
    steps = cfg.train_dataloader.dataset.datasets[task].pipeline
    return next((s for s in steps if s['type'] == 'SampleFrames'), {'clip_len': 1})


def test_tab_10(load):
    """Rejects values that are another dataset's: classes, smoothing, mixup, CutMix, frames, rate, batch, flips."""
    cfg = read(load, 'joint')
    table = {
        task: (
            head.num_classes, head.get('label_smooth_eps', 0), dict(cfg.blending.tasks.get(task, {})),
            sampling(cfg, task)['clip_len'], sampling(cfg, task).get('target_fps'),
        )
        for task, head in cfg.heads.items()
    }  # fmt: skip
    assert table == {
        'in1k': (1000, 0.1, dict(mixup=0.8, cutmix=1.0), 1, None),
        'k400': (400, 0, {}, 64, 15),
        'k600': (600, 0, {}, 64, 15),
        'ssv2': (174, 0.3, dict(mixup=0.3), 32, 24),
    }
    flips = {
        task: [s['type'] for s in part.pipeline if 'Flip' in s['type']]
        for task, part in cfg.train_dataloader.dataset.datasets.items()
    }
    assert flips == {'in1k': ['RandomFlip'], 'k400': ['Flip'], 'k600': ['Flip'], 'ssv2': []}
    for part in cfg.train_dataloader.dataset.datasets.values():
        names = [step.get('op', step['type']) for step in part.pipeline]
        assert 'RandAugment' in names and {'RandomErasing', 'ClipRandomErasing'} & set(names)
    assert cfg.train_dataloader.batch_sampler.first == dict(dataset='in1k', share=1 / 3)
    batches = {name: 8 * read(load, name).train_dataloader.batch_size for name in (*SINGLE, 'joint')}
    assert batches == {'in1k': 1024, 'k400': 256, 'k600': 256, 'ssv2': 256, 'k400_in1k': 256, 'joint': 256}


#: torchvision's operation → mmpretrain's, and its magnitude in the configs: degrees, slope, two factors.
SAME = {
    'Rotate': ('Rotate', 27),
    'ShearX': ('Shear', 0.27),
    'Color': ('ColorTransform', 0.81),
    'Contrast': ('Contrast', 0.81),
}


def test_videos_are_augmented_as_strongly_as_images(load):
    """Rejects a magnitude of 9 of torchvision's 30 (a turn by 9 degrees) beside 9 of mmpretrain's 10 (by 27)."""
    parts = read(load, 'joint').train_dataloader.dataset.datasets
    steps = {
        task: next(dict(step) for step in part.pipeline if 'RandAugment' in (step['type'], step.get('op')))
        for task, part in parts.items()
    }
    image = TRANSFORMS.build({**steps.pop('in1k'), '_scope_': 'mmpretrain'})
    ops = {type(op).__name__: op for op in image.transforms}
    expected = {name: magnitude for name, (_, magnitude) in SAME.items()}
    images = {
        name: ops[of].magnitude_range[1] * ops[of].magnitude_level / ops[of].total_level
        for name, (of, _) in SAME.items()
    }
    assert images == pytest.approx(expected) and image.num_policies == 2
    for step in steps.values():
        made = RandAugment(**{key: value for key, value in step.items() if key not in ('type', 'op')})
        space = made._augmentation_space(made.num_magnitude_bins, (224, 224))
        videos = {name: float(space[name][0][made.magnitude]) for name in SAME}
        assert videos == pytest.approx(expected) and made.num_ops == 2 and steps.keys() == {'k400', 'k600', 'ssv2'}


@pytest.mark.parametrize('name', [*SINGLE, 'joint', 'demo'])
def test_parts_belong_together(name, load):
    """Rejects a head, a blending or a validation list without its dataset, and loaders that name different ones."""
    cfg = read(load, name)
    tasks = {'joint': ALL, 'demo': ['image', 'scene', 'motion']}.get(name) or SINGLE[name]
    for key in LOADERS:
        assert list(cfg[key].dataset.datasets) == tasks and cfg[key].dataset.config_key == f'{key}.dataset'
    assert list(cfg.heads) == tasks and cfg.default_hooks.joint.type == 'JointHook' and cfg.find_unused_parameters
    assert set((cfg.blending or {}).get('tasks', {})) <= set(tasks)
    validation = cfg.train_dataloader.dataset.get('validation', {})
    assert set(validation) == {task for task in tasks if task in ('k400', 'k600', 'ssv2')}
    for task, file in validation.items():
        part = cfg.val_dataloader.dataset.datasets[task]
        assert file == part.data_root + part.ann_file
    first = cfg.train_dataloader.batch_sampler.get('first')
    assert (first is not None) == (name in ('joint', 'k400_in1k'))
    METRICS.build(cfg.val_evaluator)
    if cfg.blending:
        MODELS.build(cfg.blending)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """ImageNet's, Kinetics' and SSv2's layouts with four training and two validation files each; Kinetics-600 trains
    on a clip of Kinetics-400's validation list."""
    root = tmp_path_factory.mktemp('data')
    command = [sys.executable, 'tools/benchmarks/joint_run.py', '--data-only', '--clips', '4', '--root', str(root)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    return root


FOLDERS = {'in1k': 'imagenet', 'k400': 'kinetics400', 'k600': 'kinetics600', 'ssv2': 'sthv2'}


def point_at(cfg, root):
    """The config with its data under ``root``, two clips a batch, no workers."""
    for key in LOADERS:
        cfg[key].update(num_workers=0, persistent_workers=False, batch_size=2)
        cfg[key].batch_sampler.pop('batch_sizes', None)
        for task, part in cfg[key].dataset.datasets.items():
            part.data_root = f'{root}/{FOLDERS[task]}/'
        validation = cfg[key].dataset.get('validation')
        for task in validation or ():
            validation[task] = validation[task].replace('data/', f'{root}/', 1)
    return cfg


def test_batches_of_every_dataset(load, data):
    """Rejects pipelines that do not run, a clip length that is lost on the way, two views in training, one in test, and
    the validation clip of Kinetics-400 that Kinetics-600 trains on."""
    cfg = point_at(read(load, 'joint'), data)
    cfg.train_dataloader.batch_sampler.pop('first')
    shapes = {}
    for key in LOADERS:
        loader = Runner.build_dataloader(cfg[key], seed=3)
        dataset = loader.dataset
        shapes[key] = {task: tuple(dataset[task, 0, 0]['inputs'].shape) for task in dataset.tasks}
        if key == 'train_dataloader':
            assert {task: len(part) for task, part in dataset.parts.items()} == dict(in1k=4, k400=4, k600=3, ssv2=4)
            assert len(loader) == 7 and len(next(iter(loader))['inputs']) == 2
    size = (224, 224)
    assert shapes == {
        'train_dataloader': dict(
            in1k=(1, 3, 1, *size), k400=(1, 3, 64, *size), k600=(1, 3, 64, *size), ssv2=(1, 3, 32, *size)
        ),
        'val_dataloader': dict(
            in1k=(1, 3, 1, *size), k400=(1, 3, 64, *size), k600=(1, 3, 64, *size), ssv2=(1, 3, 32, *size)
        ),
        'test_dataloader': dict(
            in1k=(1, 3, 1, *size), k400=(12, 3, 64, *size), k600=(12, 3, 64, *size), ssv2=(12, 3, 32, *size)
        ),
    }


def test_an_epoch_of_an_evolution_is_a_generation(load, data):
    """Rejects num_batch_per_epoch=1, of which a joint loader makes a step, and so a generation, of each dataset."""
    cfg = point_at(load('vimnas/small_evolution.py'), data)
    assert len(Runner.build_dataloader(cfg.train_dataloader, seed=3)) == 1


def test_keys_in_the_table_of_readings_exist():
    """Rejects a row of docs/papers.md whose key was renamed."""
    text = (Path(__file__).parents[2] / 'docs/papers.md').read_text(encoding='utf-8')
    for name, kind in (('joint', JointBatchSampler), ('data', JointDataset)):
        keys = set(re.findall(rf'`{name}\.(\w+)`', text))
        assert len(keys) > 2 and keys <= set(inspect.signature(kind.__init__).parameters), keys


def test_missing_data_is_one_error(load, tmp_path):
    """Rejects an error without the path, the key or what to do."""
    init_default_scope('mmaction')
    for name, task in (('joint', 'in1k'), ('k600', 'k600')):
        cfg = point_at(read(load, name), tmp_path)
        with pytest.raises(ConfigError) as info:
            Runner.build_dataloader(copy.deepcopy(cfg.train_dataloader), seed=0)
        text = str(info.value)
        assert text.startswith(f"train_dataloader.dataset.datasets.{task}.ann_file: found no file '{tmp_path}/")
        assert 'docs/data.md' in text


def test_demo_batches(load, tmp_path):
    """Rejects demo data of another layout than make_demo's, and a flip on motion."""
    make_demo(
        tmp_path,
        DemoOptions(motion_clips=(1, 1, 1), scene_clips=(1, 1, 1), image_clips=(1, 1, 1)),
        report=lambda text: None,
    )
    cfg = read(load, 'demo')
    for key in LOADERS:
        for task, part in cfg[key].dataset.datasets.items():
            part.data_root = f'{tmp_path}/{task}/'
        dataset = JointDataset(**{k: v for k, v in cfg[key].dataset.items() if k != 'type'})
        assert len(dataset) == 3 * 8 and {len(part.labels) for part in dataset.parts.values()} == {8}
        shapes = [tuple(dataset[task, 0, 5]['inputs'].shape) for task in dataset.tasks]
        assert shapes == [(1, 3, 1, 32, 32), (1, 3, 8, 32, 32), (1, 3, 8, 32, 32)]
    motion = cfg.train_dataloader.dataset.datasets.motion.pipeline
    assert not [step for step in motion if 'Flip' in step['type']]
