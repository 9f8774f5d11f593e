"""configs/tsnet: the searches of Auto-TSNet, stage by stage, and the numbers of the paper in them."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mmnas_video.entangle import find_searchable
from mmnas_video.registry import MODELS, TASK_UTILS
from mmnas_video.search import Pins, opened, read_stages, search_hook_index, stage_config
from mmnas_video.search.held_out import held_out_part, with_clips
from tests.configs.test_autox3d import learning_rates

PAPERS = (Path(__file__).parents[2] / 'docs' / 'papers.md').read_text(encoding='utf-8')
STAGES = ('sparse', 'dense', 'attention')
SEARCHES = ('progressive_k100.py', 'onestep_k100.py', *(f'{name}_k100.py' for name in STAGES))


def spaces(cfg):
    """Per stage what it opens, its space with everything else pinned, and its own config."""
    pins, found = Pins(), []
    for i, stage in enumerate(read_stages(cfg)):
        made = stage_config(cfg, stage, f'stages[{i}]')
        with torch.device('meta'):
            searchable = find_searchable(MODELS.build(made.model))[1]
        names, waiting = opened(stage, f'stages[{i}]', searchable.space, pins)
        chosen = {name: searchable.space[name].values[0] for name in pins.chosen}
        found.append((names, searchable.space.fix({**chosen, **waiting}), made))
        pins = Pins({**pins.chosen, **dict.fromkeys(names)}, waiting)
    return found


def test_each_stage_searches_what_sec_4_2_says(load):
    """Rejects attention in the first two stages, a dense stream that the first one pays for, choices that are in no
    stage, and a space of another size (the paper: 8e24, 6e24, 4096; Table 1 enumerates to 3.3e24 and, with four
    fusions at ten sites, 1.4e29)."""
    (sparse, one, first), (dense, two, second), (attention, three, third) = spaces(load('tsnet/progressive_k100.py'))
    assert {name.rsplit('.', 1)[1] for name in sparse} == {'kernel', 'expansion', 'channels'} and len(sparse) == 33
    assert all(name.startswith('sparse.') for name in one.names)
    assert {name.split('.')[0] for name in dense} == {'dense', 'fusion'}
    assert [name.startswith('fusion.') for name in dense].count(True) == 10 and len(dense) == 33 + 10
    assert all(name.endswith('.attention') for name in attention) and len(attention) == 12
    assert f'{one.size:.3g}' == '3.31e+24' and f'{two.size:.3g}' == '1.4e+29' and three.size == 4096
    every = {choice.name for choice in find_searchable(MODELS.build(third.model))[1].space.open}
    assert {*sparse, *dense, *attention} == every
    assert first.model.cls_head.in_channels == 666 and second.model.cls_head.in_channels == 792


def test_the_settings_are_those_of_sec_5_2_and_5_5(load):
    """Rejects the rates and epochs of AutoX3D, targets of another stage, and a cosine that does not end with its
    stage."""
    cfg = load('tsnet/progressive_k100.py')
    epochs, targets = (800, 400, 200), (1.4e9, 2.0e9, 2.5e9)
    for (_, _, made), number, target in zip(spaces(cfg), epochs, targets, strict=True):
        hook = made.custom_hooks[search_hook_index(made)]
        assert made.train_cfg.max_epochs == number and hook.budget == dict(macs=target)
        assert hook.arch_optimizer == dict(type='Adam', lr=0.025, weight_decay=0)
        assert hook.indicator.type == 'VideoAccuracy' and TASK_UTILS.build(hook.indicator).num_clips > 1
        assert (made.optim_wrapper.optimizer.type, made.optim_wrapper.optimizer.lr) == ('SGD', 0.4)
        rates = learning_rates(made)
        assert rates[0] == pytest.approx(0.4) and rates[number] == pytest.approx(0.2) and rates[-1] < 1e-4
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.dataset.pipeline}
    assert steps['RandomRescale']['scale_range'] == (182, 228) and steps['RandomCrop']['size'] == 160
    assert steps['SampleFrames']['clip_len'] == 32 == cfg.model.backbone.dense_frames == cfg.cost_shape[1]
    assert cfg.model.backbone.sparse_frames == 4 and cfg.model.cls_head.num_classes == 100


def test_a_stage_alone_is_the_one_of_the_whole_search(load):
    """Rejects a stage config that has drifted from the progressive one, or goes on from another's folder."""
    whole = load('tsnet/progressive_k100.py')
    for i, name in enumerate(STAGES):
        alone = load(f'tsnet/{name}_k100.py')
        (stage,) = (dict(stage) for stage in alone.stages)
        previous = stage.pop('previous', None)
        assert previous == (f'work_dirs/{STAGES[i - 1]}_k100' if i else None)
        assert stage == dict(whole.stages[i])
        alone.pop('stages')
        rest = {key: value for key, value in whole.items() if key != 'stages'}
        assert alone.to_dict() == rest


def test_one_step_is_the_same_search_with_one_stage(load):
    """Rejects a comparison (Tab. 9) in which anything but the stages differs; the target is that of the last one."""
    whole, one = load('tsnet/progressive_k100.py'), load('tsnet/onestep_k100.py')
    ((names, space, made),) = spaces(one)
    assert len(names) == 33 + 43 + 12 and f'{space.size:.3g}' == '1.9e+57'
    assert made.custom_hooks[0].budget == dict(macs=2.5e9)
    assert made.train_cfg.max_epochs == sum(stage.epochs for stage in whole.stages)
    one.pop('stages')
    whole.pop('stages')
    assert one.to_dict() == whole.to_dict()


def test_the_keys_that_freeze_the_sparse_stream_leave_what_is_new_in_it(load, build):
    """Rejects the short key alone: what reads a fusion would keep its random start (81 parameters), and every fusion
    would do harm."""
    said = next(row for row in PAPERS.split('\n') if 'custom_keys' in row and 'backbone.sparse' in row)
    keys = {'backbone.sparse': dict(lr_mult=0), **{key: {} for key in re.findall(r"'([\w.]+)': \{\}", said)}}
    cfg = load('tsnet/progressive_k100.py')
    cfg.stages[1].cfg_options = {'optim_wrapper.paramwise_cfg.custom_keys': keys}
    _, (_, space, made), _ = spaces(cfg)
    made.model.backbone.fixed = {choice.name: choice.values[0] for choice in space if choice.single}
    model = build(made)
    sparse = model.backbone.sparse
    inherited = {f'backbone.sparse.{part.name}' for part in sparse.slices(sparse.space.smallest)}
    optimizer = build_optim_wrapper(model, made.optim_wrapper).optimizer
    rate_of = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    rates = {name: rate_of[id(p)] for name, p in model.named_parameters()}
    frozen = {name for name, rate in rates.items() if rate == 0}
    assert frozen == {name for name in inherited & set(rates) if '.shortcut' not in name}
    assert len(frozen) > 250 and set(rates.values()) == {0, 0.4}


@pytest.mark.parametrize('name', SEARCHES)
def test_a_search_sees_the_training_list_alone(name, load):
    """Rejects a search that validates on the official list, and α on the clips that train the weights; the held-out
    videos have as many clips as the indicator says."""
    cfg = load(f'tsnet/{name}')
    assert not any(cfg.get(key) for key in ('val_dataloader', 'test_dataloader', 'retrain'))
    assert cfg.train_dataloader.dataset.held_out == dict(fraction=0.2, part='train')
    assert set(re.findall(r'\w+\.txt', cfg.pretty_text)) == {'mini100_train.txt'}
    held = with_clips(held_out_part(cfg.train_dataloader, 'x'), cfg.custom_hooks[0].indicator.num_clips, 'x')
    assert held['dataset']['held_out']['part'] == 'held_out'
    assert held['dataset']['dataset']['pipeline'][1]['num_clips'] == 4
    assert cfg.train_dataloader.dataset.dataset.pipeline[1]['num_clips'] == 1


def test_the_demo_has_the_same_stages(load):
    """Rejects a demo that shows another method than the configs of the paper."""
    demo, whole = load('demo/tsnet_progressive.py'), load('tsnet/progressive_k100.py')
    init_default_scope('mmaction')
    for key in ('name', 'opens', 'note'):
        assert [stage[key] for stage in demo.stages] == [stage[key] for stage in whole.stages]
    (sparse, _, _), (dense, _, _), (attention, three, made) = spaces(demo)
    assert (len(sparse), len(dense), len(attention), three.size) == (15, 19, 4, 16)
    assert made.model.cls_head.num_classes == 16
    retrain = load('demo/tsnet_retrain.py')
    assert retrain.model == demo.model and retrain.test_dataloader == demo.test_dataloader
