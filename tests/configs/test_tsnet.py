"""configs/tsnet: the manual networks' figures, clips and views, and which network a config is."""

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from mmnas_video.cost import total_cost
from mmnas_video.entangle import find_searchable
from mmnas_video.registry import PARAM_SCHEDULERS, TRANSFORMS
from tests.helpers import MANUAL_FUSION_SITES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'tsnet'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
TRAININGS = [n for n in NAMES if n.endswith(('k400.py', 'ssv2.py')) or n.startswith('manual')]
SEARCHES = [n for n in NAMES if n.startswith('ablation') and n.endswith('k100.py')]
README = (FOLDER / 'README.md').read_text(encoding='utf-8')
PAPERS = (ROOT / 'docs' / 'papers.md').read_text(encoding='utf-8')
MANUAL_70 = str(FOLDER / 'archs' / 'manual_70.json')


def parts_of(cfg, model):
    """(params, MACs, share of the MACs in the sparse stream with what joins it) of a pinned network."""
    backbone = find_searchable(model)[1]
    cost = total_cost(model, backbone, backbone.arch, cfg.cost_shape)
    sparse = backbone.cost(backbone.arch, cfg.cost_shape).macs
    if 'dense' in backbone.streams:  # which nothing joins
        sparse -= backbone.dense.closed_form(cfg.cost_shape, 'dense.')(backbone.arch).macs
    return cost.params, cost.macs, sparse / cost.macs


# ---------------------------------------------------------------- the manual networks (Tab. 4, 7, 8)
@pytest.mark.parametrize(
    ('name', 'params', 'macs', 'share'),
    [
        ('manual_85', 8_904_129, 2_003_888_004, 0.85),
        ('manual_70', 7_680_406, 1_998_354_632, 0.70),
        ('manual_55', 6_605_623, 1_998_344_392, 0.55),
    ],
)
def test_manual_tsnets(name, params, macs, share, load, build):
    """Rejects streams without SE, a fusion that is missing, joins at another place or is not counted, a head over one
    stream, and widths whose sparse share is not P.
    """
    cfg = load(f'tsnet/{name}.py')
    model = build(cfg)
    found = parts_of(cfg, model)
    assert found[:2] == (params, macs) == (sum(p.numel() for p in model.parameters()), macs)
    assert found[2] == pytest.approx(share, abs=0.002) and found[1] == pytest.approx(2.0e9, rel=0.01)
    arch = model.backbone.arch
    fused = {n.removeprefix('fusion.') for n, v in arch.items() if v == 'time_strided_conv'}
    assert fused == set(MANUAL_FUSION_SITES) and cfg.cost_shape == (3, 32, 160, 160)
    assert {v for n, v in arch.items() if n.endswith('expansion')} == {2.25}


@pytest.mark.parametrize(('name', 'place'), [('manual_70', 0), ('manual_85', 1), ('manual_55', 2)])
def test_the_printed_factors_and_shares_are_those_of_the_networks(name, place, load, build):
    """Rejects a factor that gives other widths (0.177 times 48 is 8, where the network has 9), in the page or in the
    config's head, and a share of the sparse stream that is not the network's (85.0 %, where it is 84.8).
    """
    cfg = load(f'tsnet/{name}.py')
    model = build(cfg)
    scaled, shared = (next(row for row in PAPERS.split('\n') if text in row) for text in ('scaling down', 'takes P %'))
    printed = re.findall(r'[01]\.\d+', scaled.split('|')[3])[2 * place : 2 * place + 2]
    if name != 'manual_70':
        assert f'widths x {printed[0]} and x {printed[1]}.' in (FOLDER / f'{name}.py').read_text(encoding='utf-8')
    for stream, factor in zip(('sparse', 'dense'), printed, strict=True):
        exact = [float(factor) * width for width in (24, 48, 96, 192)]
        widths = [int(x + 4) // 8 * 8 for x in exact] if name == 'manual_70' else [round(x) for x in exact]
        assert [model.backbone.arch[f'{stream}.s{s}.g1.channels'] for s in (1, 2, 3, 4)] == widths
    shares = dict(zip(('manual_85', 'manual_70', 'manual_55'), re.findall(r'\d\d\.\d', shared), strict=False))
    assert f'{100 * parts_of(cfg, model)[2]:.1f}' == shares[name]


def test_manual_tsnet_70_is_the_papers_by_its_figures():
    """Rejects a macro architecture of other size: Tab. 8 prints 7.71 M and 2.03 G, and 3 % is what the open readings
    (widths of the stems and of conv5, rounding) amount to. Through the command that users run.
    """
    command = [sys.executable, 'tools/cost.py', 'configs/tsnet/manual_70.py', '--json']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['params'] == pytest.approx(7.71e6, rel=0.03) and found['macs'] == pytest.approx(2.03e9, rel=0.03)


@pytest.mark.parametrize(
    ('name', 'params', 'macs'),
    [
        ('manual_70_fusion0', 7_329_478, 1_894_530_632),
        ('manual_70_fusion10', 8_026_502, 2_112_213_832),
        ('manual_70_glore_s2', 7_834_888, 2_225_850_116),
        ('manual_70_glore_s2s3', 8_251_336, 2_410_981_124),
        ('manual_70_glore_s2s3s4', 9_309_642, 2_617_341_872),
        ('manual_70_sparse', 6_861_396, 1_296_345_032),
    ],
)
def test_variants_of_manual_tsnet_70(name, params, macs, load, build):
    """Rejects variants of another network than Manual-TSNet-70 %: apart from what its name says it has its values."""
    cfg = load(f'tsnet/{name}.py')
    model = build(cfg)
    assert parts_of(cfg, model)[:2] == (params, macs) and not model.backbone.space.open
    base = json.loads(Path(MANUAL_70).read_text())['arch']
    changed = {n: v for n, v in model.backbone.arch.items() if base[n] != v}
    kind = 'fusion' if 'fusion' in name else 'attention'
    assert all(n.startswith('fusion') if kind == 'fusion' else n.endswith('attention') for n in changed)
    wanted = {'fusion0': 5, 'fusion10': 5, 's2': 2, 's2s3': 4, 's2s3s4': 6, 'sparse': 0}[name.split('_')[-1]]
    assert len(changed) == wanted and not any(n.startswith('dense') for n in changed)


def test_the_nodes_that_auto_tsnets_own_figures_ask_for():
    """Rejects another number on the page: with two blocks in stage 3 Tab. 5 goes from 2.05 to 2.46 G (160²) and Tab. 3
    from 2.8 to 3.4 G (182²), 5.2 to 6.1 G (256²), 18.1 to 19.9 G (356²) and 7.7 to 8.6 M, all of them rounded.
    """
    row = next(row for row in PAPERS.split('\n') if 'GloRe without its sizes' in row and '25, 26, 34' in row)
    nodes, channels = (int(number) for number in re.search(r'are (\d+) nodes on (\d+) channels', row).groups())
    lengths, least, most = (400, 576, 1024, 2116), (0.40, 0.5, 0.8, 1.7, 0.8), (0.42, 0.7, 1.0, 1.9, 1.0)
    fitting = []
    for *widths, m in product((128, 144, 160, 176), (128, 144, 160, 176), range(100, 300)):
        found = [sum(length * (5 * c * m + 4 * m**2) + 6 * m**3 for c in widths) / 1e9 for length in lengths]
        found.append(sum(5 * c * m + 5 * m**2 + 4 * m + 2 * c for c in widths) / 1e6)
        if all(low <= value <= high for low, value, high in zip(least, found, most, strict=True)):
            fitting.append((*widths, m))
    assert fitting == [(channels, channels, nodes)]


# ---------------------------------------------------------------- Auto-TSNet-S, M, L
@pytest.mark.parametrize('size', ['s', 'm', 'l'])
def test_the_three_sizes_and_the_dagger_are_one_arch_file(size, load, build):
    """Rejects an L with another arch, and a dagger that is searched, or trained, as another network: it is the same
    file with the attention left out.
    """
    for name, attention in ((f'{size}_k400', 'glore'), (f'{size}_noattn_k400', 'none')):
        cfg = load(f'tsnet/{name}.py')
        assert cfg.model.backbone.arch == 'work_dirs/progressive_k100/search/arch.json'
        arch = dict(json.loads(Path(MANUAL_70).read_text())['arch'], **{'sparse.s3.g2.attention': 'glore'})
        cfg.model.backbone.arch = arch
        backbone = build(cfg).backbone
        assert backbone.arch == {**arch, 'sparse.s3.g2.attention': attention}
        depth = sum(len(group.blocks) for group in backbone.dense.groups)
        assert depth == (52 if size == 'l' else 26)


@pytest.mark.parametrize(
    ('size', 'jitter', 'crop', 'test'),
    [('s', (182, 228), 160, 182), ('m', (256, 320), 224, 256), ('l', (356, 446), 312, 356)],
)
def test_clips_crops_and_views(size, jitter, crop, test, load):
    """Rejects a clip of 4 frames (the dense stream needs 32), one view in the place of 30 or 10, and a test at the
    crop of the training.
    """
    cfg = load(f'tsnet/{size}_k400.py')
    steps = {s['type']: s for s in cfg.train_dataloader.dataset.dataset.pipeline}
    assert (steps['SampleFrames']['clip_len'], steps['SampleFrames']['frame_interval']) == (32, 2)
    assert steps['RandomRescale']['scale_range'] == jitter and steps['RandomCrop']['size'] == crop
    assert cfg.cost_shape == (3, 32, crop, crop)
    steps = {s['type']: s for s in cfg.test_dataloader.dataset.dataset.pipeline}
    assert steps['SampleFrames']['num_clips'] == 10 and steps['SampleFrames']['clip_len'] == 32
    assert steps['Resize']['scale'] == (-1, test) and steps['ThreeCrop']['crop_size'] == test
    assert load(f'tsnet/{size}_noattn_k400.py').test_dataloader == cfg.test_dataloader
    centre = load(f'tsnet/{size}_k400_10center.py').test_dataloader.dataset.dataset.pipeline
    assert centre[:4] == cfg.test_dataloader.dataset.dataset.pipeline[:4]
    assert centre[4] == dict(type='CenterCrop', crop_size=crop)


@pytest.mark.parametrize('name', [n for n in TRAININGS if n.startswith(('manual', 'ablation'))])
def test_what_states_no_views_is_tested_on_ten_centre_crops(name, load):
    """Rejects the 30 views of Tab. 3 in the networks of Tab. 4 and 6 to 8 (Sec. 5.2: 10-Center by default)."""
    test = load(f'tsnet/{name}').test_dataloader
    assert test == load('tsnet/s_k400_10center.py').test_dataloader
    assert '10 clips x 1 centre' in (FOLDER / name).read_text(encoding='utf-8')


@pytest.mark.parametrize(('size', 'crop'), [('s', 160), ('m', 224)])
def test_something_something_samples_the_whole_video(size, crop, load):
    """Rejects a window of 64 frames, Kinetics' head, and views of which 23.7 and 46.5 G in all cannot be the cost."""
    import numpy as np

    cfg = load(f'tsnet/{size}_ssv2.py')
    assert cfg.model.cls_head.num_classes == 174 and cfg.cost_shape == (3, 32, crop, crop)
    drawn = TRANSFORMS.build(cfg.train_dataloader.dataset.dataset.pipeline[1])(dict(total_frames=71, start_index=0))
    assert len(drawn['frame_inds']) == 32 and np.ptp(drawn['frame_inds']) > 60
    test = cfg.test_dataloader.dataset.dataset.pipeline
    assert test[1]['num_clips'] == 10 and test[4] == dict(type='CenterCrop', crop_size=crop)


@pytest.mark.parametrize('name', TRAININGS)
def test_training_settings_are_those_of_sec_5_2(name, load):
    """Rejects the search's schedule in a training, another set's head, and results that overwrite those of another
    family's config of the same name.
    """
    cfg = load(f'tsnet/{name}')
    sgd = cfg.optim_wrapper.optimizer
    assert cfg.train_cfg.max_epochs == 300 and (sgd.type, sgd.lr) == ('SGD', 0.4)
    assert cfg.param_scheduler[-1].type == 'CosineAnnealingLR'
    others = {p.stem for p in (ROOT / 'configs').glob('*/*.py') if p.parent != FOLDER}
    folder = cfg.get('work_dir') or f'work_dirs/{name[:-3]}'
    assert Path(folder).name not in others
    checkpoints = re.findall(r'(work_dirs/\w+)/epoch_300\.pth', (FOLDER / name).read_text())
    assert set(checkpoints) <= {folder} or '10center' in name


# ---------------------------------------------------------------- ablation searches
@pytest.mark.parametrize(
    ('name', 'size', 'epochs', 'target', 'opened'),
    [
        ('backbone', 3_305_633_223_677_039_345_664_000, 800, 1.4e9, r'sparse\..*\.(kernel|expansion|channels)'),
        ('fusion', 1024, 200, 2.03e9, r'fusion\..*'),
        ('attention', 4096, 200, 2.4e9, r'.*\.attention'),
    ],
)
def test_each_ablation_opens_one_part(name, size, epochs, target, opened, load, build):
    """Rejects an ablation that opens more or less than its part, on another network than Manual-TSNet-70 %, with a
    target that the space does not reach, a rate that is not cosine to 0, or the validation list in a search.
    """
    cfg = load(f'tsnet/ablation_{name}_k100.py')
    model = build(cfg)
    space = model.backbone.space
    assert space.size == size and all(re.fullmatch(opened, choice.name) for choice in space.open)
    if name != 'backbone':
        base = json.loads(Path(MANUAL_70).read_text())['arch']
        assert all(choice.values == (base[choice.name],) for choice in space if choice.single)
        assert model.backbone.arch.keys() == base.keys()
    low, high = (model.backbone.cost_range(cfg.cost_shape)['macs'][i][0] for i in (0, 1))
    hook, optimizer = cfg.custom_hooks[0], cfg.optim_wrapper.optimizer
    assert low < target < high and hook.budget == dict(macs=target)
    assert hook.arch_optimizer == dict(type='Adam', lr=0.025, weight_decay=0) and optimizer.lr == 0.4
    assert hook.indicator.type == 'VideoAccuracy' and cfg.train_cfg.max_epochs == epochs
    assert not any(cfg.get(key) for key in ('val_dataloader', 'test_dataloader', 'stages'))
    cosine = dict(cfg.param_scheduler[0])
    assert cosine.pop('convert_to_iter_based') and PARAM_SCHEDULERS.get(cosine['type']) and cosine['eta_min'] == 0
    trained = load(f'tsnet/ablation_{name}_k400.py').model.backbone
    assert trained.arch == f'work_dirs/ablation_{name}_k100/search/arch.json'


@pytest.mark.parametrize('name', SEARCHES)
def test_what_an_ablation_finds_can_be_trained(name, load, build):
    """Rejects a training that refuses the arch file of its search: another space, or another head."""
    search = load(f'tsnet/{name}')
    space = build(search).backbone.space
    training = load(f'tsnet/{name.replace("k100", "k400")}')
    data = {'format': 'mmnas-video/arch@1', 'space': space.identity, 'arch': dict(space.largest)}
    training.model.backbone.arch = data
    model = build(training).eval()
    assert model.backbone.arch == space.largest
    with torch.device('meta'):
        clip = torch.zeros(1, 1, *training.cost_shape)
        assert model(clip[..., :64, :64], stage='head', mode='tensor').shape == (1, 400)


# ---------------------------------------------------------------- the family's page
@pytest.mark.parametrize('name', NAMES)
def test_readme_names_every_config(name):
    """Rejects a config that nobody can find."""
    assert f'({name})' in README


def test_readme_links_and_commands_exist():
    """Rejects a link to a config that was renamed, and a command whose file is not there."""
    for link in re.findall(r'\]\(([^)#]+)', README):
        assert (FOLDER / link).exists(), link
    for file in re.findall(r'(?:tools|configs)/[\w/]+\.(?:py|json)', README):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize('page', [README, PAPERS], ids=['README', 'papers.md'])
@pytest.mark.parametrize('name', [n for n in NAMES if n.startswith('manual')])
def test_pages_print_the_figures_of_the_configs(name, page):
    """Rejects figures that were left behind when a network changed."""
    params, macs = re.search(r'Cost \(computed\): ([\d,]+) params; ([\d,]+)', (FOLDER / name).read_text()).groups()
    assert params in page and macs in page
