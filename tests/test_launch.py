"""From a config to a run: what begins and what goes on, and the length of a dry run."""

import copy
import datetime
import os
import shutil
from typing import ClassVar
from unittest import mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope

from mmnas_video.console import training_lines
from mmnas_video.errors import ConfigError
from mmnas_video.launch import _StepTimer, build_runner, dry_run, join_ranks, load_config, shortened, train
from mmnas_video.pipeline import run_search
from mmnas_video.registry import HOOKS, MODELS, options_of
from mmnas_video.search import SearchHook
from mmnas_video.testing.toy import config, loader
from tests.conftest import forget_runs
from tests.test_command_line import merged

ARCH = {'scale': 1.0, 'width': 3}


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


@pytest.fixture
def file(tmp_path):
    """Weights of a network, none of which is as it is initialised."""
    model = MODELS.build(dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=ARCH)))
    torch.save({'state_dict': {k: v + 7 for k, v in model.state_dict().items()}}, tmp_path / 'extracted.pth')
    return str(tmp_path / 'extracted.pth')


def inheriting(file, work_dir, *words):
    """A search that starts from a network's weights and leaves them as they are."""
    forget_runs()
    changes = dict(load_from=file, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)))
    hook = dict(type='UniformSearchHook', candidates=1, score_batches=1)
    cfg = merged(config(hook, 1, str(work_dir), **changes), *words)
    cfg.custom_hooks.append(dict(type='InheritHook', arch=ARCH))
    return cfg


def test_resume_begins_with_the_weights_that_the_config_names(file, tmp_path):
    """Rejects a search that is begun with --resume from random weights, lines in its history of one that was killed
    before its first checkpoint, and a resume that reads the config's weights in the place of its checkpoint."""
    (tmp_path / 'w/search').mkdir(parents=True)
    (tmp_path / 'w/search/history.jsonl').write_text('{"kind": "step"}\n{"ki')
    runner = build_runner(inheriting(file, tmp_path / 'w', '--resume'))
    runner.train()
    assert torch.equal(runner.model.head.bias, torch.full((3,), 7.0, dtype=torch.float64))
    alone = build_runner(inheriting(file, tmp_path / 'alone'))
    alone.train()
    histories = [(tmp_path / name / 'search/history.jsonl').read_bytes() for name in ('w', 'alone')]
    assert histories[0] == histories[1] and not list((tmp_path / 'w').glob('search-*'))
    again = build_runner(inheriting('gone.pth', tmp_path / 'w', '--resume'))
    again.train()
    assert again.cfg.resume is True and again.cfg.load_from == str(tmp_path / 'w/selection.pth')
    assert again.iter == runner.iter


@pytest.mark.parametrize('left', ['nothing', 'another run'])
def test_a_work_dir_that_was_moved_or_copied_goes_on_from_its_own_checkpoint(left, file, tmp_path):
    """Rejects MMEngine's path of the time of writing: after a move there is no such file, and beside a copy it is the
    other run's, taken without a word; a start anew; and the best checkpoint of the other run removed."""

    def cfg(name, epochs, *words):
        made = inheriting(file, tmp_path / name, *words)
        made.train_cfg.max_epochs = epochs
        made.merge_from_dict(
            dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'), test_cfg=None)
        )
        made.default_hooks.checkpoint.update(save_best='top1', rule='less')
        return made

    build_runner(cfg('old', 1)).train()
    shutil.copytree(tmp_path / 'old', tmp_path / 'new')
    if left == 'nothing':
        shutil.rmtree(tmp_path / 'old')
    else:
        (tmp_path / 'old/selection.pth').write_text('of another network')
    data = torch.load(tmp_path / 'new/selection.pth', weights_only=False)
    data['message_hub']['runtime_info']['best_score'] = 2.0  # the next one is better
    torch.save(data, tmp_path / 'new/selection.pth')
    again = build_runner(cfg('new', 2, '--resume'))
    again.train()
    found = sorted(path.name for path in (tmp_path / 'new').glob('*.pth'))
    assert again.iter == 12 and found == ['best_top1_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth', 'selection.pth']
    assert (tmp_path / 'old/best_top1_epoch_1.pth').is_file() == (left == 'another run')
    (tmp_path / 'new/selection.pth').unlink()
    with pytest.raises(ConfigError, match=r'--resume: found no checkpoint in .*new.*last_checkpoint'):
        build_runner(cfg('new', 3, '--resume'))


def test_what_a_finished_search_left_is_not_cut(file, tmp_path):
    """Rejects a history that is gone because someone has removed the checkpoints."""
    build_runner(inheriting(file, tmp_path)).train()
    kept = (tmp_path / 'search/history.jsonl').read_bytes()
    (tmp_path / 'last_checkpoint').unlink()
    build_runner(inheriting(file, tmp_path, '--resume')).train()
    assert (tmp_path / 'search-1/history.jsonl').read_bytes() == kept


@HOOKS.register_module()
class Interrupt(Hook):
    """Ends a run as Ctrl-C does, before an iteration; notes the first one of each run."""

    begun, at = [], None

    def before_train(self, runner):
        self.begun.append(runner.iter)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            raise KeyboardInterrupt


@pytest.mark.usefixtures('no_pictures')
@pytest.mark.parametrize('program', [train, run_search])
def test_a_call_that_is_made_again_with_the_same_config_goes_on(program, tmp_path, monkeypatch):
    """Rejects a run whose resume='auto' is settled in the caller's config: after an interruption the same cell of a
    notebook begins at step 0."""
    monkeypatch.setattr(Interrupt, 'begun', [])
    cfg = config(dict(type='UniformSearchHook', candidates=1, score_batches=1), 3, str(tmp_path), resume='auto')
    cfg.custom_hooks.append(dict(type='Interrupt', priority='VERY_LOW'))
    before = copy.deepcopy(cfg.to_dict())
    monkeypatch.setattr(Interrupt, 'at', 8)
    with pytest.raises(KeyboardInterrupt):
        program(cfg)
    forget_runs()
    monkeypatch.setattr(Interrupt, 'at', None)
    program(cfg)
    forget_runs()
    init_default_scope('mmaction')
    dry_run(cfg)
    assert Interrupt.begun == [0, 6, 0] and cfg.to_dict() == before


def test_a_checkpoint_that_is_named_is_what_a_run_goes_on_from(file, tmp_path):
    """Rejects the config's weights, or a start, where --resume names a file."""
    cfg = merged(config({}, load_from='other.pth'), '--resume', file)
    assert cfg.resume is True and cfg.load_from == file


@pytest.mark.parametrize('words', [(), ('--resume',)])
def test_a_dry_run_of_a_run_that_counts_iterations(words, file, tmp_path, monkeypatch):
    """Rejects an AttributeError, all iterations run for two, the hours of an epoch for those of the run, the first step
    (in which memory is allocated and kernels are chosen) for the time of one, and a dry run with --resume that has not
    the weights to begin with."""
    seconds = iter([7.0, 3.0])
    monkeypatch.setattr(_StepTimer, 'after_train_iter', lambda self, *_, **__: self.seconds.append(next(seconds)))
    loops = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))
    cfg = config({}, work_dir=str(tmp_path), load_from=file, **loops)
    cfg.model.backbone.arch = ARCH
    cfg.custom_hooks = [dict(type='FineTuneHook')]
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1009, val_interval=503)
    steps = []
    plan = dry_run(merged(cfg, *words), lambda runner, short: steps.append(runner.iter))
    assert (plan['steps_per_epoch'], plan['epochs'], steps) == (1009, 1, [2])
    assert plan['seconds_per_step'] == 3 and plan['hours'] == pytest.approx(1009 * 3 / 3600)


class Elsewhere(Hook):
    """Of another package, and no search hook."""

    dry_options: ClassVar = {'rounds': 3}
    dry_if_given: ClassVar = {'polish': 2}

    def __init__(self, rounds=11, polish=0, candidates=13):
        pass


@pytest.mark.parametrize(
    ('hook', 'given', 'short'),
    [
        (Elsewhere, {}, dict(rounds=3)),
        (Elsewhere, dict(rounds=None, polish=None), dict(rounds=3, polish=None)),
        (Elsewhere, dict(rounds=2, polish=7, candidates=5), dict(rounds=2, polish=2, candidates=5)),
        ('UniformSearchHook', {}, dict(candidates=2, score_batches=1, calibration_clips=2)),
        ('DARTSSearchHook', {}, dict(score_batches=1, warmup_epochs=0, perturbed_choices=2, calibration_clips=2)),
        ('PARSECSearchHook', dict(warmup_epochs=7), dict(warmup_epochs=0, calibration_clips=2)),
        (
            'EntanglementSearchHook',
            dict(tune_iters=5, calibration_clips=0),
            dict(
                eval_batches=1,
                score_batches=1,
                warmup_epochs=0,
                calibration_clips=0,
                tune_iters=1,
                perturbed_choices=2,
            ),
        ),
        ('EvolutionSearchHook', dict(eval_batches=7), dict(eval_batches=7)),
    ],
)
def test_a_hook_says_itself_what_a_dry_run_makes_short(hook, given, short, tmp_path):
    """Rejects options that are known by their names, a phase begun that the full run has not, one made longer, and a
    comparison with None, which stands for a default."""
    cfg = config({}, work_dir=str(tmp_path))
    cfg.custom_hooks = [dict(type=hook, **given)]
    assert shortened(cfg).custom_hooks == [dict(type=hook, **short)]


@pytest.mark.parametrize(
    ('loop', 'short'), [(dict(max_epochs=7), dict(max_epochs=1)), (dict(max_iters=1009), dict(max_iters=4))]
)
@pytest.mark.parametrize(('ranks', 'batches'), [(1, (4, 2)), (2, (3, 1)), (3, (2, None))])
def test_a_dry_run_is_as_long_as_its_data_and_validates(ranks, batches, loop, short, tmp_path, monkeypatch):
    """6 batches to train on and 2 to validate on. Rejects steps that a list does not have, which MMEngine takes at
    their word, on several ranks too, and a validation that the full run comes to and the short one does not."""
    monkeypatch.setattr('mmnas_video.launch.get_world_size', lambda: ranks)
    val = dict(loader(2), dataset=dict(type='ToyDataset', size=11, seed=2))
    cfg = config({}, work_dir=str(tmp_path), val_dataloader=val, train_cfg=dict(val_interval=5, **loop))
    cfg.custom_hooks = []
    made = shortened(cfg, 4)
    assert made.train_cfg == dict(short, val_interval=next(iter(short.values())))
    assert (made.train_dataloader.num_batch_per_epoch, made.val_dataloader.get('num_batch_per_epoch')) == batches


def test_what_a_dry_run_makes_short_are_options_of_the_hook():
    """Rejects a misspelt one, with which every dry run of this method would end in an error."""
    hooks = [hook for hook in HOOKS.module_dict.values() if issubclass(hook, SearchHook)]
    for hook in hooks:
        assert {*hook.dry_options, *hook.dry_if_given} <= options_of(hook), hook
    assert any(hook.dry_if_given for hook in hooks)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('a.py', 'a = [1'),
        ('a.py', "_base_ = 'gone.py'"),
        ('a.py', 'a = 1 / 0'),
        ('a.py', 'from mmnas_video.none import Net\nmodel = dict(type=Net)'),
        ('a.txt', 'a = 1'),
    ],
)
def test_a_file_that_is_no_config_is_one_error(tmp_path, name, text):
    """Rejects MMEngine's own errors, of which most do not name the file; of a config that imports its classes it comes
    when these are looked at."""
    (tmp_path / name).write_text(text)
    with pytest.raises(
        ConfigError, match=rf'config: found in .*{name}.* what cannot be read \(\w+: .+expected a config'
    ):
        load_config(str(tmp_path / name))


@pytest.mark.parametrize(('key', 'value'), [('custom_hooks.9.budget', 3), ('model.type.foo', 5)])
def test_an_option_without_a_place_is_one_error(tmp_path, key, value):
    """Rejects a KeyError or TypeError from the merge, and an error that does not name the option among several."""
    (tmp_path / 'a.py').write_text("model = dict(type='T')\ncustom_hooks = [dict(type='H')]\n")
    path = str(tmp_path / 'a.py')
    assert load_config(path, {'custom_hooks.0.budget.macs': 7}).custom_hooks[0].budget.macs == 7
    with pytest.raises(ConfigError, match=f'--cfg-options: found {key}={value}, which has no place'):
        load_config(path, {'model.depth': 2, key: value})


@pytest.mark.parametrize(
    'changes', [{'train_dataloader.batch_size': 0}, {'test_evaluator': dict(type='ToyMetric', foo=1)}]
)
def test_a_dry_run_of_what_cannot_be_built(tmp_path, changes):
    """Rejects a traceback for a mistake in the loader, which comes first, or in the test, which comes last."""
    test = dict(test_dataloader=loader(2), test_cfg={}, test_evaluator=dict(type='ToyMetric'))
    cfg = config({}, work_dir=str(tmp_path), **test)
    cfg.model.backbone.arch, cfg.custom_hooks = ARCH, []
    cfg.merge_from_dict(changes)
    with pytest.raises(ConfigError, match=r'batch_size|foo'):
        dry_run(cfg)


def test_the_opening_of_a_run_that_counts_iterations(tmp_path):
    """Rejects one epoch, of which MMEngine's loop speaks."""
    cfg = config({}, work_dir=str(tmp_path))
    cfg.model.backbone.arch, cfg.custom_hooks = ARCH, []
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1009, val_interval=503)
    runner = build_runner(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    assert dict(training_lines(runner))['steps'].startswith('1,009 steps, 1,009 to go')
    assert runner.cfg.find_unused_parameters is True  # of ranks: a step may leave some out
    assert 'then' not in dict(training_lines(runner))


class MyMethod(SearchHook):
    """A method whose name says nothing."""


def test_the_opening_of_a_search_by_another_name(tmp_path):
    """Rejects a search that is known by its class's name: of one's own method nothing was said of what it leaves."""
    runner = build_runner(config(dict(type=MyMethod), work_dir=str(tmp_path)))
    assert dict(training_lines(runner))['then'] == 'search/ gets arch, weights and report'


def joined(gpus, launcher, **group):
    """What torch is asked for by a process that joins the others on a machine with so many GPUs that it sees: the GPU
    that it takes, and the group."""
    cfg = config({}, 1, env_cfg=dict(dist_cfg=dict(backend='nccl', **group)))
    cfg.launcher = launcher
    with (
        mock.patch('torch.cuda.is_available', lambda: gpus > 0),
        mock.patch('torch.cuda.device_count', lambda: gpus),
        mock.patch('torch.cuda.set_device') as taken,
        mock.patch('torch.distributed.init_process_group') as made,
    ):
        join_ranks(cfg)
    return taken.call_args and taken.call_args.args[0], made.call_args.kwargs


@pytest.mark.parametrize(('gpus', 'backend'), [(0, 'gloo'), (8, 'nccl')])
def test_how_long_ranks_wait_for_each_other(gpus, backend, monkeypatch):
    """In seconds. Rejects a limit that holds on one kind of machine alone."""
    for key in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(key, '5')
    limit = datetime.timedelta(seconds=4321)
    assert joined(gpus, 'pytorch', timeout=4321)[1] == {'backend': backend, 'timeout': limit}
    assert joined(gpus, 'pytorch')[1].get('timeout') is None
    with pytest.raises(ConfigError, match='TypeError'):
        joined(gpus, 'pytorch', timeout='1 h')


@pytest.mark.parametrize('launcher', ['slurm', 'mpi'])
def test_without_a_gpu_the_launcher_is_torchrun(launcher):
    """Rejects a complaint about the config and a driver."""
    with pytest.raises(ConfigError, match=f"--launcher: found '{launcher}' without a GPU, expected 'pytorch'"):
        joined(0, launcher)


@pytest.mark.parametrize(('launcher', 'rank'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID')])
def test_a_launcher_that_has_started_nothing(launcher, rank, monkeypatch):
    """Rejects a bare KeyError."""
    monkeypatch.delenv(rank, raising=False)
    with pytest.raises(ConfigError, match=f"--launcher: found '{launcher}' in a process without {rank}, expected"):
        joined(8, launcher)


@pytest.mark.parametrize(('gpus', 'own'), [(1, 0), (8, 5)])
def test_one_gpu_a_task_of_slurm(gpus, own, monkeypatch):
    """Of eight tasks the sixth, which sees all GPUs or, with --gpus-per-task=1, its own. Rejects the sixth of one:
    "invalid device ordinal"."""
    names = dict(PROCID=13, NTASKS=16, NODELIST='a[1-2]', LOCALID=5)
    for key, value in names.items():
        monkeypatch.setenv(f'SLURM_{key}', str(value))
    with mock.patch.dict(os.environ, MASTER_ADDR='a1'):  # what MMEngine sets goes again
        assert joined(gpus, 'slurm')[0] == own
        assert (os.environ['LOCAL_RANK'], os.environ['RANK']) == (str(own), '13')
