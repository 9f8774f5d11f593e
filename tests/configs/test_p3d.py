"""configs/p3d: the paper's numbers, what the search may see, and the networks' sizes."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mmnas_video.cost import total_cost
from mmnas_video.entangle import find_searchable
from mmnas_video.registry import DATASETS
from mmnas_video.space import read_cell
from tests.configs.test_autox3d import learning_rates

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'p3d'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
SEARCHES = [name for name in NAMES if name.startswith('search')]
TRAININGS = [name for name in NAMES if name not in SEARCHES]
README = (FOLDER / 'README.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', SEARCHES)
def test_search_settings_are_those_of_sec_3(name, load):
    """Rejects a search on the test list, a learning rate that falls by epoch, an α that is trained on the weights'
    clips, and a network of other depth or width."""
    cfg = load(f'p3d/{name}')
    hook, report = cfg.custom_hooks
    assert cfg.train_cfg.max_epochs == 50 and 'val_dataloader' not in cfg and 'test_dataloader' not in cfg
    assert hook.type == 'DARTSSearchHook' and hook.order == (1 if 'order1' in name else 2)
    assert hook.derive == 'best' and hook.watch == ('skip',) and report.type == 'ReportHook'
    data = cfg.train_dataloader.dataset
    assert data.held_out == dict(
        fraction=0.5, part='train', pipeline=load('p3d/train_ucf101.py').val_dataloader.dataset.dataset.pipeline
    )
    assert data.dataset.ann_file == 'ucf101_train_split_1_videos.txt'
    rates = learning_rates(cfg, epoch_length=3)
    assert rates[0] == pytest.approx(0.1) and rates[-1] == pytest.approx(0.001, abs=1e-3)
    assert all(a > b for a, b in pairwise(rates)), 'decreased at every iteration'
    assert cfg.model.backbone.norm_affine is False and cfg.model.backbone.pool_norm is True


@pytest.mark.parametrize('name', TRAININGS)
def test_training_settings_are_those_of_sec_3(name, load):
    """Rejects another schedule, several clips at a test, and lists of two splits in one config."""
    cfg = load(f'p3d/{name}')
    sgd = cfg.optim_wrapper.optimizer
    assert cfg.train_cfg.max_epochs == 600
    assert (sgd.type, sgd.lr, sgd.momentum, sgd.weight_decay) == ('SGD', 0.025, 0.9, 3e-4)
    assert cfg.train_dataloader.batch_size == 72 == cfg.auto_scale_lr.base_batch_size
    rates = learning_rates(cfg)
    assert rates[0] == pytest.approx(0.025) and rates[600] == pytest.approx(0.0125) and rates[-1] < 1e-6
    split = int((re.search(r'split(\d)', name) or [0, 1])[1])
    lists = [cfg[f'{key}_dataloader'].dataset.dataset.ann_file for key in ('train', 'val', 'test')]
    assert lists == [f'ucf101_{part}_split_{split}_videos.txt' for part in ('train', 'val', 'val')]
    assert cfg.model.cls_head.num_classes == 101 and cfg.model.cls_head.in_channels == 256
    assert (cfg.model.backbone.cells, cfg.model.backbone.channels) == (6, 8)


@pytest.mark.parametrize('name', NAMES)
def test_clips_are_4_times_2_frames_of_112(name, load):
    """Rejects one dense clip, a test on random frames, a crop other than cost_shape's, and a flip at a test."""
    cfg = load(f'p3d/{name}')
    for key in ('train', 'val', 'test'):
        if f'{key}_dataloader' not in cfg:
            continue
        steps = {s['type']: s for s in cfg[f'{key}_dataloader'].dataset.dataset.pipeline}
        sampled = steps['SegmentSampleFrames']
        assert (sampled['num_segments'], sampled['frames_per_segment']) == (4, 2)
        assert sampled.get('test_mode', False) == (key != 'train')
        if key == 'train':
            assert steps['RandomCrop']['size'] == 112 and steps['Flip']['flip_ratio'] == 0.5
        else:
            assert steps['CenterCrop']['crop_size'] == 112 and 'Flip' not in steps
    assert cfg.cost_shape == (3, 8, 112, 112)


@pytest.mark.parametrize(
    ('name', 'low', 'high'),
    [
        ('search_ucf101.py', (74_263_712, 4_385), (883_502_240, 28_577)),
        ('train_ucf101.py', (476_095_744, 56_765), (6_950_003_968, 1_190_429)),
    ],
)
def test_costs_in_headers_and_readme(name, low, high, load, build):
    """Rejects figures of another reading in the texts: search network and trained network, with their heads."""
    cfg = load(f'p3d/{name}')
    cfg.model.backbone.arch = None
    model = build(cfg)
    searchable = find_searchable(model)[1]
    assert searchable.space.size == 8**14 and searchable.space.name == 'p3d'
    for arch, expected in ((searchable.space.smallest, low), (searchable.space.largest, high)):
        assert tuple(total_cost(model, searchable, arch, cfg.cost_shape)) == expected
    header = (FOLDER / name).read_text(encoding='utf-8')
    shown = f'{low[0]:,}' if name.startswith('search') else f'{low[1]:,}'
    assert shown in header and f'{low[0] / 1e9:.3f}' in README


def test_the_trained_network_takes_the_arch_of_the_search(load, build):
    """Rejects an arch.json that the training refuses: another order of operators, or another name of the space."""
    search = find_searchable(build(load('p3d/search_ucf101.py')))[1]
    trained = load('p3d/train_ucf101.py')
    trained.model.backbone.arch = search.derive({c.name: [1 / 8] * 8 for c in search.space})
    model = build(trained)
    assert len(find_searchable(model)[1].cells) == 6 and find_searchable(model)[1].out_channels == 256
    demo = load('demo/p3d_darts.py')
    assert find_searchable(build(demo))[1].space.hash == search.space.hash


def test_the_example_says_what_it_is(load, build):
    """Rejects an example that could be taken for the paper's cell, and figures of another cell beside it."""
    about = json.loads((FOLDER / 'archs' / 'demo_motion.json').read_text())['about']
    assert 'not the cell of the paper' in about and 'not searched on UCF101' in about
    cfg = load('p3d/train_ucf101_example.py')
    model = build(cfg)
    searchable = find_searchable(model)[1]
    assert [len(pairs) for pairs in read_cell(searchable.arch).nodes] == [2] * 4
    macs, params = total_cost(model, searchable, searchable.arch, cfg.cost_shape)
    header = (FOLDER / 'train_ucf101_example.py').read_text(encoding='utf-8')
    for text in (header, README):
        assert f'{params:,}' in text and f'{macs / 1e9:.3f}' in text


def test_a_pipeline_gives_a_clip_of_a_short_video(load, tmp_path):
    """Rejects a crash on a video shorter than the clip, and a training sample that differs when it is drawn again."""
    cv2, np = pytest.importorskip('cv2'), pytest.importorskip('numpy')
    for frames in (5, 23):
        writer = cv2.VideoWriter(str(tmp_path / f'{frames}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (160, 120))
        for t in range(frames):
            writer.write(np.full((120, 160, 3), 9 * t, np.uint8))
        writer.release()
    (tmp_path / 'list.txt').write_text('5.avi 0\n23.avi 1\n')
    for key in ('train', 'test'):
        cfg = load('p3d/train_ucf101.py')[f'{key}_dataloader'].dataset
        cfg.dataset.update(data_root=str(tmp_path), ann_file='list.txt', data_prefix=dict(video=''))
        dataset = DATASETS.build(cfg)
        for index, frames in enumerate((5, 23)):
            sample = dataset[index]
            assert isinstance(sample, dict), sample
            clip = sample['inputs']
            assert clip.shape == (1, 3, 8, 112, 112) and clip.dtype == torch.uint8
            grey = clip.float().mean((0, 1, 3, 4)) / 9
            assert (grey.diff() > -0.5).all() and grey[-1] > 0.75 * frames - 2, 'in order, up to the last part'
            assert torch.equal(clip, dataset[index]['inputs'])


# ---------------------------------------------------------------------------- the page
@pytest.mark.parametrize('name', NAMES)
def test_readme_names_every_config(name):
    """Rejects a config that nobody can find."""
    assert f'({name})' in README


def test_readme_links_and_commands_exist():
    """Rejects a link to a config that was renamed, and a command whose file is not there."""
    for link in re.findall(r'\]\(([^)#]+)', README):
        assert (FOLDER / link).exists(), link
    for file in re.findall(r'(?:tools|configs)/[\w/]+\.py', README):
        assert (ROOT / file).is_file(), file
