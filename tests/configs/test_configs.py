"""Every config: it loads, its parts build, its head fits its network, and it opens with how to run it."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.registry import FUNCTIONS, OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope

from mmnas_video.launch import load_config
from mmnas_video.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)

CONFIGS = Path(__file__).parents[2] / 'configs'
NAMES = sorted(str(p.relative_to(CONFIGS)) for p in CONFIGS.glob('*/*.py') if p.parent.name != '_base_')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
COMMAND = re.compile(r'^#\s+python (tools/\w+\.py) (configs/\S+\.py)', re.MULTILINE)
CHECKPOINT = re.compile(r'work_dirs/([a-z]\w*)/epoch_(\d+)\.pth')
PAGES = sorted([CONFIGS.parent / 'README.md', *CONFIGS.glob('*/README.md'), *(CONFIGS.parent / 'docs').glob('*.md')])


def header(name):
    """The comment block that a config opens with."""
    lines = (CONFIGS / name).read_text(encoding='utf-8').split('\n')
    return '\n'.join(lines[: next(i for i, line in enumerate(lines) if not line.startswith('#'))])


def parts(loader):
    """Name to config of the datasets that a loader joins; the name is empty where there is only one."""
    return loader.dataset.datasets if loader.dataset.type == 'JointDataset' else {'': loader.dataset.dataset}


def test_a_folder_whose_name_has_an_apostrophe(tmp_path):
    """Rejects a quote in which MMEngine writes a config's folder, and which the folder's own name closes."""
    place = tmp_path / "it's"
    shutil.copytree(CONFIGS, place)
    named = [name for name in NAMES if '{{ fileDirname }}' in (CONFIGS / name).read_text(encoding='utf-8')]
    for name in named:
        cfg = load_config(str(place / name))
        beside = Path(cfg.retrain.config if 'retrain' in cfg else cfg.model.backbone.arch)
        assert beside.is_relative_to(place) and beside.is_file(), name
    assert len(named) > 15


@pytest.mark.parametrize('name', NAMES)
def test_a_config_builds(name, load, build):
    """Rejects a key that no class takes, a stage table that does not fit, a head of other width than the
    network (forward on the meta device), an evaluator or scheduler that is misspelt."""
    cfg = load(name)
    model = build(cfg).eval()
    frames = cfg.get('cost_shape', (3, 4))[1]  # a network of two streams takes no other number
    with torch.device('meta'):
        scores = model(torch.zeros(2, 1, 3, frames, 64, 64), stage='head', mode='tensor')
    head = cfg.model.cls_head
    classes = head.heads[head.default].num_classes if 'heads' in head else head.num_classes
    assert scores.shape == (2, classes)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='DefaultOptimWrapperConstructor',
            optim_wrapper_cfg={k: v for k, v in cfg.optim_wrapper.items() if k != 'paramwise_cfg'},
            paramwise_cfg=cfg.optim_wrapper.get('paramwise_cfg'),
        )
    )
    wrapper = constructor(model)
    for scheduler in cfg.param_scheduler:
        scheduler = {k: v for k, v in scheduler.items() if k != 'convert_to_iter_based'}
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=wrapper))
    assert LOOPS.get(cfg.train_cfg.type)
    for split in ('val', 'test'):
        parts = [cfg.get(f'{split}_{part}') for part in ('cfg', 'dataloader', 'evaluator')]
        assert all(parts) or not any(parts), f'{split}: the Runner wants all three or none'
        if all(parts):
            METRICS.build(parts[2])


@pytest.mark.parametrize('name', NAMES)
def test_pipelines_and_hooks_build(name, load):
    """Rejects a transform or hook that is misspelt or given an option it does not know, here and not after
    the first epoch; and the sampler and dataset without which a resume is not bit for bit."""
    cfg = load(name)
    for hook in [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]:
        HOOKS.build(hook)
    for key in LOADERS:
        loader = cfg.get(key)
        if not loader:
            continue
        assert (
            loader.dataset.type in ('SeededDataset', 'JointDataset') and loader.dataset.config_key == f'{key}.dataset'
        )
        assert getattr(DATA_SAMPLERS.get(loader.sampler.type), 'reproducible', False)
        assert FUNCTIONS.get(loader.collate_fn.type)
        for dataset in parts(loader).values():
            with DefaultScope.overwrite_default_scope(dataset.get('_scope_')):
                assert DATASETS.get('.'.join(filter(None, (dataset.get('_scope_'), dataset.type))))
                for step in dataset.pipeline:
                    TRANSFORMS.build(step)


@pytest.mark.parametrize('name', NAMES)
def test_a_config_opens_with_command_cost_and_result(name):
    """Rejects a config that does not say how it is run, and a command copied from another config."""
    text = header(name)
    commands = COMMAND.findall(text)
    assert commands, f"{name}: no '#   python tools/... configs/...' in its first lines"
    assert commands[0][1] == f'configs/{name}'
    for tool, config in commands:
        assert (CONFIGS.parent / tool).is_file() and (CONFIGS.parent / config).is_file(), (tool, config)
    assert 'Cost' in text and 'What comes out' in text


@pytest.mark.parametrize('name', [n for n in NAMES if 'ssv2' in n or n.startswith('demo/') or '_joint' in n])
def test_no_flip_where_the_label_names_a_direction(name, load):
    """Rejects a pipeline copied from Kinetics: 'left to right', flipped, is another class."""
    cfg = load(name)
    datasets = [part for key in LOADERS if cfg.get(key) for part in parts(cfg[key]).items()]
    if name.startswith('demo/') and 'motion' not in str(datasets):
        pytest.skip('only the motion set has directions')
    pipelines = [part.pipeline for task, part in datasets if task in ('', 'motion', 'ssv2')]
    assert pipelines and not [step for pipeline in pipelines for step in pipeline if 'Flip' in step['type']]


@pytest.fixture(scope='module')
def epochs_of():
    """Name of a work dir to the epochs of the config whose run writes it."""
    configs = {name: load_config(str(CONFIGS / name)) for name in NAMES}
    folders = {name: Path(cfg.get('work_dir') or name).stem for name, cfg in configs.items()}
    return {folder: configs[name].train_cfg.get('max_epochs') for name, folder in folders.items()}


@pytest.mark.parametrize('path', [*PAGES, *(CONFIGS / name for name in NAMES)], ids=lambda path: path.name)
def test_a_checkpoint_that_a_text_names_is_one_that_its_run_writes(path, epochs_of):
    """Rejects the last epoch of a schedule that has since become longer."""
    text = path.read_text(encoding='utf-8')
    moved = {folder: config for config, folder in re.findall(r'(\w+)\.py --work-dir work_dirs/(\w+)', text)}
    for run, number in CHECKPOINT.findall(text):
        epochs = epochs_of.get(moved.get(run, run))
        assert epochs == int(number), f'work_dirs/{run}/epoch_{number}.pth: {epochs} epochs'
