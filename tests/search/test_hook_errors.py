"""Bad input to a search: one clear error each, before any step is run."""

import inspect
import re
from itertools import product

import pytest
import torch
from mmengine.runner import FlexibleRunner, Runner

from mmnas_video.errors import ConfigError
from mmnas_video.search import (
    DARTSSearchHook,
    EntanglementSearchHook,
    EvolutionSearchHook,
    PARSECSearchHook,
    UniformSearchHook,
)

from .toy import SPACE, config, loader, prepared, runner

PARSEC = dict(type='PARSECSearchHook', num_archs=2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(compile=True), 'compile: found True, expected False in a search'),
        (dict(compile={}), 'compile: found {}, expected False in a search'),
        (dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', max_keep_ckpts=1))), 'max_keep_ckpts: found 1'),
        (
            dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_optimizer=False))),
            'default_hooks.checkpoint.save_optimizer: found False, expected True in a search',
        ),
        (
            dict(default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook', save_param_scheduler=False))),
            'default_hooks.checkpoint.save_param_scheduler: found False, expected True in a search',
        ),
        (
            dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
            'model_wrapper_cfg: found MMFullyShardedDataParallel, expected none, or MMDistributedDataParallel',
        ),
        (dict(randomness=dict(seed=None)), 'randomness: found no seed'),
        (dict(randomness=dict(seed=3, diff_rank_seed=True)), 'randomness.diff_rank_seed: found True'),
        (
            dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, fused=True))),
            'optim_wrapper.optimizer.fused: found True with SGD',
        ),
        (
            dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='torch.optim.SGD', lr=0.1, fused=True))),
            'optim_wrapper.optimizer.fused: found True with SGD',
        ),
        (
            dict(model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=SPACE.smallest))),
            'nothing to choose',
        ),
    ],
)
def test_config_that_a_search_cannot_run_with(changes, message):
    """Rejects a search that starts and fails, or silently does something else, hours later."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepared(PARSEC, **changes)


def test_a_cost_before_a_run():
    """Rejects "has no attribute 'shape'"."""
    with pytest.raises(ConfigError, match=r'UniformSearchHook\.cost: found a hook that is in no run yet.*total_cost'):
        UniformSearchHook().cost(SPACE.smallest)


def test_a_runner_that_loads_before_a_search_is_set_up():
    """Rejects a search under MMEngine's FlexibleRunner whose resume silently loses α and the history."""
    with pytest.raises(ConfigError, match=r'^runner_type: found FlexibleRunner, expected none'):
        FlexibleRunner.from_cfg(config(PARSEC, env_cfg={})).train()


def test_a_runner_that_was_built_without_its_config():
    """Rejects an error that says there is no seed, to somebody who has given one."""
    cfg = config(PARSEC)
    taken = {key: value for key, value in cfg.items() if key in inspect.signature(Runner.__init__).parameters}
    with pytest.raises(ConfigError, match=r'^Runner: found one .*without its config .*expected Runner\.from_cfg'):
        Runner(**taken).train()


@pytest.mark.parametrize('method', ['PARSECSearchHook', 'DARTSSearchHook', 'EntanglementSearchHook'])
def test_a_warm_up_where_no_epoch_is_counted(method):
    """Rejects a search by iterations in which α silently never moves; one without a warm-up is none."""
    by_iterations = dict(type='IterBasedTrainLoop', max_iters=5, val_interval=5)
    with pytest.raises(ConfigError, match=rf'{method}\.warmup_epochs: found 2 with a train_cfg that counts iterations'):
        prepared(dict(type=method, warmup_epochs=2), train_cfg=by_iterations)
    made, search = prepared(dict(type=method, warmup_epochs=0), train_cfg=by_iterations)
    start = search.distribution.alpha.detach().clone()
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert not start.equal(search.distribution.alpha.detach())


@pytest.mark.parametrize('method', ['PARSECSearchHook', 'DARTSSearchHook', 'EntanglementSearchHook'])
def test_a_warm_up_as_long_as_the_training(method):
    """Rejects a search that was made shorter than its warm-up, in which α silently never moves."""
    for warmup in (3, 5):
        message = rf'{method}\.warmup_epochs: found {warmup} with train_cfg\.max_epochs=3, expected fewer'
        with pytest.raises(ConfigError, match=message):
            prepared(dict(type=method, warmup_epochs=warmup), train_cfg=dict(by_epoch=True, max_epochs=3))
    prepared(dict(type=method, warmup_epochs=2), train_cfg=dict(by_epoch=True, max_epochs=3))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_arch=4), "unknown key 'num_arch'.*Did you mean 'num_archs'"),
        (dict(mode='both'), "mode: found 'both'"),
        (dict(cost_term='loss'), "cost_term: found 'loss'"),
        (dict(num_archs=1), 'num_archs: found 1'),
        (dict(num_archs=True), 'num_archs: found True'),
        (dict(indicator=dict(type='Likelihood', reduction='max')), "reduction: found 'max'"),
        (dict(budget=dict(mac=1)), "budget: found the unknown key 'mac'.*Did you mean 'macs'"),
        (dict(collapse_guard=dict(entropi=1)), "collapse_guard: .* unknown key 'entropi'.*mean 'entropy'"),
        (dict(collapse_guard=dict(macs='0.8')), "collapse_guard.macs: found '0.8', expected a number"),
        (dict(collapse_guard=dict(entropy=float('nan'))), 'collapse_guard.entropy: found nan, expected a number'),
    ],
)
def test_unknown_options_and_values(options, message):
    """Rejects options that are accepted and ignored."""
    with pytest.raises(ConfigError, match=message):
        PARSECSearchHook(**options)


ALL = ('calibration_clips', 'max_lost_updates')
ALPHA = (*ALL, 'cost_weight', 'warmup_epochs')


@pytest.mark.parametrize(
    ('method', 'keys'),
    [
        (UniformSearchHook, ALL),
        (EvolutionSearchHook, ALL),
        (PARSECSearchHook, ALPHA),
        (DARTSSearchHook, ALPHA),
        (EntanglementSearchHook, ALPHA),
    ],
)
def test_numbers_of_every_search_are_checked_when_it_is_built(method, keys):
    """Rejects a text that fails after the whole training, a weight below 0 that is paid for costing more, and a number
    that is none; one that is larger than the least is taken."""
    for key, found in product(keys, (-1, 'a', True, None, float('nan'), float('inf'))):
        expected = rf'^{method.__name__}\.{key}: found .*, expected a (whole )?number from [01]$'
        with pytest.raises(ConfigError, match=expected):
            method(**{key: found})
    for key in keys:
        assert getattr(method(**{key: 2}), key, 2) == 2


def test_uniform_counts_must_be_positive():
    """Rejects an empty random search, which would fail only after the training."""
    with pytest.raises(ConfigError, match='candidates: found 0'):
        UniformSearchHook(candidates=0)


def test_budget_that_no_architecture_meets_names_the_range():
    """Rejects a search that can only end outside its budget."""
    with pytest.raises(ConfigError, match=r'budget.macs: found at most 20.*reachable range 29 to 50 MACs'):
        prepared({**PARSEC, 'budget': dict(macs=20)})


def test_budget_without_a_clip_shape():
    """Rejects a budget that bounds nothing because no shape says what a clip is."""
    with pytest.raises(ConfigError, match='cost_shape: found none'):
        prepared({**PARSEC, 'budget': dict(macs=60)}, cost_shape=None)


def test_no_held_out_data():
    """Rejects α learned on the training batches themselves."""
    with pytest.raises(ConfigError, match='arch_dataloader: found none, expected held-out data'):
        prepared({**PARSEC, 'arch_dataloader': None})


def test_part_of_a_loader_is_merged_into_the_held_out_one():
    """``arch_dataloader=dict(batch_size=...)`` changes the batch of the held-out part. Rejects it being taken for
    data."""
    from mmnas_video.search.held_out import held_out_part

    train = dict(
        batch_size=5,
        num_workers=2,
        sampler=dict(type='X'),
        drop_last=True,
        dataset=dict(type='SeededDataset', held_out=dict(part='train', fraction=0.3)),
    )
    assert held_out_part(train, 'x') == dict(
        batch_size=5,
        num_workers=2,
        drop_last=True,
        dataset=dict(type='SeededDataset', held_out=dict(part='held_out', fraction=0.3)),
    )
    with pytest.raises(ConfigError, match='arch_dataloader: found none'):
        prepared({**PARSEC, 'arch_dataloader': dict(batch_size=3)})


def test_held_out_data_without_workers_beside_training_that_keeps_its_own():
    """Rejects the training's ``persistent_workers`` for data that is loaded without workers: torch refuses them."""
    from mmnas_video.search.held_out import held_out_config

    held = dict(part='train', fraction=0.3)
    train = dict(num_workers=1, persistent_workers=True, dataset=dict(type='SeededDataset', held_out=held))
    kept = [held_out_config(train, dict(num_workers=n), None, 'x').get('persistent_workers') for n in (0, 2)]
    assert kept == [None, True]


@pytest.mark.parametrize(
    ('own', 'scored', 'expected'),
    [({}, False, 3), ({}, True, 8), (dict(num_workers=5), False, 5), (dict(num_workers=5), True, 5)],
)
def test_data_sets_beside_one_another_share_the_workers_of_the_training(own, scored, expected):
    """Rejects 8 workers, and their batches, for each of three data sets on every rank; and fewer where they are read
    one after another, or where a number is named."""
    from mmnas_video.search.held_out import held_out_config

    dataset = dict(type='JointDataset', datasets=dict(a={}, b={}, c={}), held_out=dict(part='train', fraction=0.3))
    made = held_out_config(dict(num_workers=8, dataset=dataset), own, None, 'x', scored=scored)
    assert made['num_workers'] == expected


def test_held_out_data_with_a_sampler():
    """Rejects a sampler that would be replaced silently."""
    with pytest.raises(ConfigError, match=r'arch_dataloader.sampler: found a sampler'):
        prepared({**PARSEC, 'arch_dataloader': loader(1)})


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    """Rejects a search from random weights where ``load_from`` is another library's file, as MMEngine starts one with a
    warning; a file that fits in part (another head) starts it."""
    made = runner(PARSEC, load_from=str(tmp_path / 'x3d.pth'))
    state = made.model.state_dict()
    torch.save({'state_dict': {f'net.{name}': value for name, value in state.items()}}, tmp_path / 'x3d.pth')
    with pytest.raises(ConfigError, match=r"load_from: found '.*x3d\.pth' with .*InheritHook"):
        made.train()
    state['head.weight'] = state['head.weight'][:2]
    torch.save({'state_dict': {f'module.{name}': value for name, value in state.items()}}, tmp_path / 'x3d.pth')
    runner(PARSEC, load_from=str(tmp_path / 'x3d.pth'), train_cfg=dict(by_epoch=True, max_epochs=1)).train()


def test_checkpoint_of_another_method_or_space_is_not_resumed(tmp_path):
    """Rejects a resume that would silently restart α."""
    runner(dict(type='UniformSearchHook', candidates=1, score_batches=1), work_dir=str(tmp_path), epochs=1).train()
    cfg = config(PARSEC, work_dir=str(tmp_path), epochs=2)
    cfg.resume = True
    with pytest.raises(ConfigError, match='resume: found a checkpoint of'):
        type(runner(PARSEC)).from_cfg(cfg).train()


def test_two_searchable_modules_are_refused():
    """Rejects a search that silently ignores one of them."""
    from torch import nn

    from mmnas_video.entangle import find_searchable

    from .toy import ToyBackbone

    with pytest.raises(ConfigError, match='found 2 searchable modules'):
        find_searchable(nn.ModuleList([ToyBackbone(), ToyBackbone()]))
