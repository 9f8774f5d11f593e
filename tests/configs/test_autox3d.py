"""configs/autox3d: the paper's numbers, X3D's costs, and what each search may see."""

import json
import re
from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmnas_video.cost import total_cost
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS, PARAM_SCHEDULERS

FOLDER = Path(__file__).parents[2] / 'configs' / 'autox3d'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
SEARCHES = [n for n in NAMES if '_k200.py' in n]
TRAININGS = [n for n in NAMES if n not in SEARCHES]
NEED_SEARCH = [n for n in TRAININGS if not n.startswith(('x3d', 'attention_manual'))]
X3D = FOLDER / 'archs' / 'x3d.json'
PAPERS = (FOLDER.parents[1] / 'docs' / 'papers.md').read_text(encoding='utf-8')


def learning_rates(cfg, epoch_length=2):
    """The learning rate at every iteration, as the Runner's schedulers set it."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    wrapper = OptimWrapper(optimizer)
    schedulers = []
    for scheduler in cfg.param_scheduler:
        scheduler = dict(scheduler)
        assert scheduler.pop('convert_to_iter_based')
        cls = PARAM_SCHEDULERS.get(scheduler.pop('type'))
        scheduler.setdefault('end', cfg.train_cfg.max_epochs)
        scheduler = cls.build_iter_from_epoch(optimizer=wrapper, epoch_length=epoch_length, **scheduler)
        schedulers.append(scheduler)
    rates = []
    for _ in range(cfg.train_cfg.max_epochs * epoch_length):
        rates.append(optimizer.param_groups[0]['lr'])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def cost_of(cfg, model, shape=None):
    """(params, MACs) of a pinned network."""
    searchable = find_searchable(model)[1]
    cost = total_cost(model, searchable, searchable.space.smallest, shape or cfg.cost_shape)
    return cost.params, cost.macs


# ---------------------------------------------------------------- the paper's numbers
@pytest.mark.parametrize('name', SEARCHES)
def test_search_settings_are_those_of_sec_5_1_2(name, load):
    """Rejects the retraining's schedule in a search, an α optimiser with decay, and K or T of another
    paper."""
    cfg = load(f'autox3d/{name}')
    sgd, (hook, report) = cfg.optim_wrapper.optimizer, cfg.custom_hooks
    assert cfg.train_cfg.max_epochs == 600
    assert (sgd.type, sgd.lr, sgd.momentum, sgd.weight_decay) == ('SGD', 0.6, 0.9, 5e-5)
    assert hook.type == 'PARSECSearchHook' and hook.num_archs == 13 and report.type == 'ReportHook'
    assert hook.arch_optimizer == dict(type='Adam', lr=0.02, weight_decay=0)
    assert hook.budget == dict(macs=2.44e9 if name.startswith('attention') else 2e9)
    assert cfg.cost_shape == (3, 13, 160, 160) and cfg.model.cls_head.num_classes == 200
    assert cfg.auto_scale_lr.base_batch_size == 512 == 64 * cfg.train_dataloader.batch_size
    rates = learning_rates(cfg)
    assert rates[0] == pytest.approx(0.6) and rates[600] == pytest.approx(0.3) and rates[-1] < 1e-4


@pytest.mark.parametrize('name', TRAININGS)
def test_training_settings_are_those_of_sec_5_1_2(name, load):
    """Rejects another dataset's head, a warm-up that the cosine overlaps (0.4 never reached), one of 34
    iterations, and a cosine over 300 epochs cut off at the end of 266 (the last rate is not 0)."""
    cfg = load(f'autox3d/{name}')
    sgd = cfg.optim_wrapper.optimizer
    assert cfg.train_cfg.max_epochs == 300 and cfg.model.cls_head.dropout_ratio == 0.5
    classes = {'kinetics400': 400, 'sthv2': 174, 'mini200': 200}
    data = cfg.train_dataloader.dataset.dataset.ann_file.split('_')[0]
    assert cfg.model.cls_head.num_classes == classes[data]
    assert (sgd.type, sgd.lr, sgd.momentum, sgd.weight_decay) == ('SGD', 0.4, 0.9, 5e-5)
    assert cfg.auto_scale_lr.base_batch_size == 512 == 64 * cfg.train_dataloader.batch_size
    rates = learning_rates(cfg, epoch_length=2)
    assert rates[0] == pytest.approx(0.01) and rates[34] == pytest.approx((0.01 + 0.4) / 2, rel=0.02)
    assert rates[2 * 34] == pytest.approx(0.4) == max(rates)
    assert rates[2 * 34 + 266] == pytest.approx(0.2)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize(
    ('size', 'frames', 'interval', 'jitter', 'crop', 'test'),
    [
        ('s', 13, 6, (182, 228), 160, 182),
        ('m', 16, 5, (256, 320), 224, 256),
        ('l', 16, 5, (356, 446), 312, 356),
    ],
)
def test_clips_crops_and_views(size, frames, interval, jitter, crop, test, load):
    """Rejects a test at the training crop, one view in the place of 30, and a cost_shape of another size."""
    for name in (f'{size}_k400.py', f'x3d_{size}.py'):
        cfg = load(f'autox3d/{name}')
        steps = {s['type']: s for s in cfg.train_dataloader.dataset.dataset.pipeline}
        sampled = steps['SampleFrames']
        assert (sampled['clip_len'], sampled['frame_interval']) == (frames, interval)
        assert steps['RandomRescale']['scale_range'] == jitter and steps['RandomCrop']['size'] == crop
        assert steps['Flip']['flip_ratio'] == 0.5 and steps['TorchVisionWrapper']['op'] == 'AutoAugment'
        assert cfg.cost_shape == (3, frames, crop, crop)
        steps = {s['type']: s for s in cfg.test_dataloader.dataset.dataset.pipeline}
        assert steps['SampleFrames']['num_clips'] == 10 and steps['SampleFrames']['clip_len'] == frames
        assert steps['Resize']['scale'] == (-1, test) and steps['ThreeCrop']['crop_size'] == test
    steps = load(f'autox3d/{size}_k400_10center.py').test_dataloader.dataset.dataset.pipeline
    assert steps[1] == cfg.test_dataloader.dataset.dataset.pipeline[1]
    assert steps[4] == dict(type='CenterCrop', crop_size=crop)


def test_ten_centre_crops_by_options(load):
    """Rejects a README whose --cfg-options do not give what s_k400_10center.py is."""
    cfg = load('autox3d/s_k400.py')
    step = 'test_dataloader.dataset.dataset.pipeline.4'
    cfg.merge_from_dict({f'{step}.type': 'CenterCrop', f'{step}.crop_size': 160})
    assert cfg.test_dataloader == load('autox3d/s_k400_10center.py').test_dataloader


# ---------------------------------------------------------------- the networks
@pytest.mark.parametrize(
    ('name', 'params', 'macs', 'test', 'test_macs'),
    [
        ('x3d_s.py', 3_794_322, 1_962_892_112, (3, 13, 182, 182), 2_721_933_356),
        ('x3d_m.py', 3_794_322, 4_732_468_736, (3, 16, 256, 256), 6_180_613_376),
        ('x3d_l.py', 6_153_432, 18_367_710_176, (3, 16, 356, 356), 24_764_017_280),
    ],
)
def test_x3d_costs_what_the_host_s_x3d_does(name, params, macs, test, test_macs, load, build):
    """Rejects a stem without its temporal part, SE counted through the group, X3D-L by doubling
    (6/10/22/14)."""
    cfg = load(f'autox3d/{name}')
    model = build(cfg)
    assert cost_of(cfg, model) == (params, macs)
    assert cost_of(cfg, model, test) == (params, test_macs)


def test_l_has_twice_the_blocks_of_the_same_architecture(load, build):
    """Rejects a depth that is scaled once for the network, and one that changes the space (the arch of S
    would then be refused)."""
    cfg = load('autox3d/l_k400.py')
    cfg.model.backbone.arch = str(X3D)
    stages = {}
    for group in find_searchable(build(cfg))[1].groups:
        stages[group.spec.stage] = stages.get(group.spec.stage, 0) + len(group.blocks)
    assert list(stages.values()) == [6, 10, 22, 14]


def test_twice_the_blocks_of_3_5_m_are_fewer_than_tab_5_prints(load, build):
    """Rejects another bound than the page's 5.7 M over the networks of 3.5 M. For every factor f, L <= max (L - f S) +
    f S; here each group has the maximum by itself, and f = 2.2 is where that is lowest."""
    row = next(row for row in PAPERS.split('\n') if 'AutoX3D-L is AutoX3D-M' in row)
    printed = float(re.search(r'none has more than (\d\.\d) M', row)[1])
    cfg, factor = load('autox3d/s_k400.py'), 2.2
    cfg.model.backbone.arch = None
    small = build(cfg)
    cfg.model.backbone.depth_scale = 2
    groups = list(zip(small.backbone.groups, build(cfg).backbone.groups, strict=True))

    def params(group, *values):  # without GloRe, which is in both alike
        return group.cost(group.windows(*values, 'none'), (1, 1, 1)).params

    def values(group):  # the kernels in between are of no account: parameters are linear in the taps
        spec = group.spec
        return product(group.inputs, (spec.kernels[0], spec.kernels[-1]), spec.expansions, spec.channels)

    searchable = find_searchable(small)[1]
    rest = total_cost(small, searchable, searchable.space.smallest, cfg.cost_shape).params
    rest -= sum(params(one, *next(values(one))) for one, _ in groups)
    bound = sum(max(params(two, *v) - factor * params(one, *v) for v in values(one)) for one, two in groups)
    bound += (1 - factor) * rest + factor * 3.55e6
    assert printed - 0.1 < bound / 1e6 <= printed < 6.15


def test_with_the_depths_of_x3d_l_there_are_the_figures_of_tab_5(load, build):
    """Rejects the page's word for it: 6.8 G and 3.5 M at M's depths, 27.8 G and 6.2 M at X3D-L's, of one arch."""
    indices = '12102030 44114110 1640 0100 4070 1310 4320 0070 1000'
    cfg = load('autox3d/m_k400.py')
    cfg.model.backbone.arch = None
    space = find_searchable(build(cfg))[1].space
    cfg.model.backbone.arch = dict(space.decode([int(i) for i in indices.replace(' ', '')]))
    params, macs = cost_of(cfg, build(cfg), (3, 16, 256, 256))
    assert (round(params / 1e6, 1), round(macs / 1e9, 1)) == (3.5, 6.8)
    cfg.model.backbone.stages = load('autox3d/x3d_l.py').model.backbone.stages
    params, macs = cost_of(cfg, build(cfg), (3, 16, 356, 356))
    assert (round(params / 1e6, 1), round(macs / 1e9, 1)) == (6.2, 27.8)


@pytest.mark.parametrize(
    ('name', 'placed', 'params', 'macs'),
    [
        ('s1', {1: [1, 3]}, 3_814_410, 2_325_450_160),
        ('s2', {2: [2, 5]}, 3_926_388, 2_564_470_796),
        ('s3', {3: [5, 11]}, 4_141_458, 2_394_090_320),
        ('s3s4', {3: [5, 11], 4: [2, 4, 7]}, 5_402_253, 2_924_398_142),
    ],
)
def test_attention_by_hand(name, placed, params, macs, load, build):
    """Rejects blocks left open or put elsewhere, and nodes whose cost is not Tab. 3's (2.33, 2.56, 2.39, 2.92
    G)."""
    cfg = load(f'autox3d/attention_manual_{name}_k400.py')
    model = build(cfg)
    space = find_searchable(model)[1].space
    assert not space.open
    sites = {f's{stage}.g{block}.attention' for stage, blocks in placed.items() for block in blocks}
    assert {n for n, value in space.smallest.items() if value == 'glore'} == sites
    assert cost_of(cfg, model) == (params, macs)
    paper = {'s1': 2.33, 's2': 2.56, 's3': 2.39, 's3s4': 2.92}[name]
    assert round(macs / 1e9, 2) == pytest.approx(paper, abs=0.0051)


def test_attention_search_is_x3d_s_with_26_open_sites(load, build):
    """Rejects groups of several blocks (fewer sites), and a backbone that is not X3D-S where nothing is
    inserted."""
    cfg = load('autox3d/attention_search_k200.py')
    space = find_searchable(build(cfg))[1].space
    assert space.size == 2**26 and space.name == 'x3d-s-attention'
    cfg.model.cls_head.num_classes = 400
    cfg.model.backbone.arch = dict(space.smallest)
    assert cost_of(cfg, build(cfg)) == (3_794_322, 1_962_892_112)
    trained = load('autox3d/attention_searched_k400.py')
    trained.model.backbone.arch = None
    assert find_searchable(build(trained))[1].space.hash == space.hash


@pytest.mark.parametrize('kind', ['fair', 'naive'])
def test_tab_4_opens_widths_and_expansions_only(kind, load, build):
    """Rejects an ablation in which kernels are searched too, or both halves of which have the same windows;
    its archs must be trainable by s_k400.py."""
    cfg = load(f'autox3d/ablation_{kind}_k200.py')
    space = find_searchable(build(cfg))[1].space
    assert {choice.name.rsplit('.', 1)[1] for choice in space.open} == {'channels', 'expansion'}
    assert len(space.open) == 22 and cfg.model.backbone.sharing == {'fair': 'fair', 'naive': 'prefix'}[kind]
    assert space['s3.g2.kernel'].values == ('t3_s3',) and space['s3.g2.attention'].values == ('none',)
    training = load('autox3d/s_k400.py')
    training.model.backbone.arch = {
        "format": "mmnas-video/arch@1", "space": space.identity, "arch": dict(space.largest)
    }  # fmt: skip
    assert not find_searchable(build(training))[1].space.open


@pytest.mark.parametrize('name', NEED_SEARCH)
def test_a_network_that_was_not_searched_yet_is_one_clear_error(name, load):
    """Rejects an invented default architecture, and training the supernet by mistake."""
    cfg = load(f'autox3d/{name}')
    arch = cfg.model.backbone.arch
    assert re.fullmatch(r'work_dirs/\w+_k200/search/arch.json', arch)
    assert (FOLDER / f'{arch.split("/")[1]}.py').is_file(), 'no such search'
    cfg.model.backbone.arch = f'no/{arch}'
    with pytest.raises(ConfigError, match=r'(?s)backbone\.arch.*arch\.json|arch\.json.*not found'):
        MODELS.build(cfg.model)


def test_several_clips_are_validated_at_once(load):
    """Rejects ``max_testing_views`` in the model's base: MMAction2 then refuses every batch but one of one
    video, and the first validation, after 10 epochs, would end the run."""
    cfg = load('autox3d/x3d_s.py')
    assert cfg.val_dataloader.batch_size > 1
    model = MODELS.build(cfg.model).eval()
    samples = [_sample() for _ in range(3)]
    with torch.no_grad():
        scored = model(torch.zeros(3, 1, 3, 2, 32, 32), samples, mode='predict')
    assert len(scored) == 3 and scored[0].pred_score.shape == (400,)


def _sample():
    from mmaction.structures import ActionDataSample

    return ActionDataSample().set_gt_label(0)


# ---------------------------------------------------------------- what a search sees
@pytest.mark.parametrize('name', SEARCHES)
def test_a_search_sees_the_training_list_alone(name, load):
    """Rejects a search that validates or tests on the official list, and α on the clips that train the
    weights."""
    cfg = load(f'autox3d/{name}')
    assert not any(cfg.get(key) for key in ('val_dataloader', 'test_dataloader', 'retrain'))
    assert cfg.train_dataloader.dataset.held_out == dict(fraction=0.2, part='train')
    lists = re.findall(r'\w+\.txt', json.dumps(cfg.to_dict(), default=str))
    assert lists == ['mini200_train.txt']
    assert 'AutoAugment' not in str(cfg.train_dataloader.dataset.dataset.pipeline)
