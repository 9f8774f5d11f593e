"""configs/vimnas and configs/demo: the joint searches and evolutions have the paper's numbers, and fit together."""

import random
from pathlib import Path

import pytest
import torch

from mmnas_video.cost import RestCost, output_readers
from mmnas_video.registry import HOOKS
from mmnas_video.search import EntanglementSearchHook, EvolutionSearchHook, search_hook_index
from mmnas_video.search.drawn import DrawnValues
from mmnas_video.search.held_out import held_out_config
from tests.configs.test_autox3d import learning_rates

CONFIGS = Path(__file__).parents[2] / 'configs'
SIZES = ('tiny', 'small', 'base', 'large')


def hook_of(cfg):
    return cfg.custom_hooks[search_hook_index(cfg)]


@pytest.mark.parametrize('size', SIZES)
def test_joint_settings_are_those_of_supplement_a(size, load, build):
    """Rejects the rate or the decay of another size, a warm-up or cosine of other length, a head that does not read the
    widest embedding (its columns would not be cut or frozen), and a data set without a head."""
    cfg = load(f'vimnas/{size}_joint.py')
    optimizer, slow = cfg.optim_wrapper.optimizer, size in ('base', 'large')
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', *((1e-5,) * 2 if slow else (1e-3, 5e-2)))
    rates = learning_rates(cfg)
    per_epoch = len(rates) // cfg.train_cfg.max_epochs
    assert cfg.train_cfg.max_epochs == 500 and rates.index(max(rates)) + 1 == 20 * per_epoch
    assert max(rates) == pytest.approx(optimizer.lr) and rates[-1] < 0.02 * max(rates)
    assert 8 * cfg.train_dataloader.batch_size == 256 and cfg.train_dataloader.batch_sampler.first.dataset == 'in1k'
    assert cfg.train_dataloader.dataset.held_out.part == 'train' and cfg.model.backbone.drop_path == 0.1
    model = build(cfg)
    assert list(output_readers(model, model.backbone)) == [f'cls_head.heads.{task}.fc_cls' for task in cfg.heads]
    hook = HOOKS.build(hook_of(cfg))
    assert isinstance(hook, EntanglementSearchHook) and hook.freeze_unsampled
    assert (hook.weight_mode, hook.arch_mode, hook.sampling, hook.selection) == (
        'sampled', 'mixed', 'uniform', 'perturbation',
    )  # fmt: skip
    table = DrawnValues(model.backbone.space, hook.drawn, 'drawn').draw(random.Random(0))
    counts = dict(zip(model.backbone.space.names, table.sum(1).tolist(), strict=True))
    for tube in range(1, 5):
        parts = [counts[f'tube{tube}.{part}'] for part in ('kernel', 'stride', 'offset')]
        assert parts[0] * parts[1] * parts[2] == 4


@pytest.mark.parametrize(
    'name',
    [*(f'vimnas/{size}_{kind}' for size in SIZES for kind in ('joint', 'evolution')), 'vimnas/tiny_in1k',
     'vimnas/tiny_ssv2', 'vimnas/small_k400_in1k', 'vimnas/base_k600', 'vimnas/ablation_gravite', 'demo/vimnas_joint',
     'demo/vimnas_evolution'],
)  # fmt: skip
def test_candidates_are_scored_through_the_pipeline_of_validation(name, load):
    """Rejects scores that are measured through RandAugment and erasing, and α's batches without them."""
    cfg = load(f'{name}.py')
    configs = (held_out_config(cfg.train_dataloader, {}, None, 'x', scored) for scored in (False, True))
    learned, scored = ({task: part.pipeline for task, part in c['dataset']['datasets'].items()} for c in configs)
    trained = cfg.train_dataloader.dataset.datasets
    assert learned == {task: trained[task].pipeline for task in trained}
    assert scored == {task: part.pipeline for task, part in cfg.val_dataloader.dataset.datasets.items()}
    assert all(steps != learned[task] for task, steps in scored.items())


@pytest.mark.parametrize('name', [*(f'vimnas/{size}' for size in SIZES), 'demo/vimnas'])
def test_evolution_has_the_supernet_and_a_budget_that_is_met(name, load, build):
    """Rejects another network than the one that the joint search trains, and a budget that so few random networks meet
    that a population cannot be drawn."""
    cfg, joint = load(f'{name}_evolution.py'), load(f'{name}_joint.py')
    joint.model.backbone.pop('with_cp', None)  # saves memory in a backward pass, and an evolution has none
    assert cfg.model == joint.model and cfg.train_dataloader.dataset == joint.train_dataloader.dataset
    hook = HOOKS.build({**hook_of(cfg), 'checkpoint': 'supernet.pth'})
    assert isinstance(hook, EvolutionSearchHook)
    if name.startswith('vimnas'):
        assert (hook.options.population, hook.options.top_k, cfg.train_cfg.max_epochs) == (50, 10, 20)
        assert hook.options.mutation == {'depth': 0.4, 'embed_dim': 0.4, '*': 0.2}
    model = build(cfg)
    rest, rng, shape = RestCost(model, model.backbone, tuple(cfg.cost_shape)), random.Random(0), tuple(cfg.cost_shape)
    archs = [model.backbone.space.sample(rng) for _ in range(300)]
    costs = [model.backbone.cost(arch, shape) + rest(arch) for arch in archs]
    met = sum(hook.budget.admits(**cost._asdict()) for cost in costs) / len(costs)
    assert 0.02 < met < 0.9, met


@pytest.mark.parametrize('size', SIZES)
def test_the_header_of_an_evolution_says_what_is_scored_on(size, load):
    """Rejects a header of batches that the config does not have: its clips are those of one loader, not of eight."""
    cfg = load(f'vimnas/{size}_evolution.py')
    made = held_out_config(cfg.train_dataloader, {}, None, 'x', scored=True)
    hook, sets = hook_of(cfg), len(made['dataset']['datasets'])
    clips = hook.eval_batches * made['batch_size']
    passes = cfg.train_cfg.max_epochs * hook.population * clips * sets
    text = ' '.join(line.strip('# ') for line in (CONFIGS / f'vimnas/{size}_evolution.py').read_text().splitlines())
    assert (
        f'{hook.eval_batches} held-out batches of {made["batch_size"]} clips of each of the four sets ({clips:,};'
        in text
    )
    assert f'{passes / 1e6:.1f} M forward passes' in text and (clips, sets) == (1024, 4)


def test_the_demo_is_small(load, build):
    """Rejects a demo whose images come first for all of the run, and one that needs more than a laptop."""
    cfg = load('demo/vimnas_joint.py')
    first = cfg.train_dataloader.batch_sampler.first
    assert first.dataset == 'image' and first.share < 1 / 2
    assert HOOKS.build(hook_of(cfg)).warmup_epochs < cfg.train_cfg.max_epochs
    model = build(cfg)
    with torch.device('meta'):
        assert sum(p.numel() for p in model.parameters()) < 1e6
    assert list(model.cls_head.heads) == list(cfg.train_dataloader.dataset.datasets)
