"""FineTuneHook: a training that starts from all of a file's weights, or says why not before its first step."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.search import InheritHook
from mmnas_video.search.extraction import pinned_config

from .toy import config, loader, runner

ARCH = {'scale': 2.0, 'width': 3}


def made(load_from, epochs=1, rate=0.0, work_dir=None, resume=False, **options):
    """A run whose weights move by ``rate``; with 0 it ends with those that it started from."""
    return runner(
        {},
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=ARCH)),
        epochs=epochs,
        work_dir=work_dir,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=rate)),
        custom_hooks=[dict(type='FineTuneHook', **options)],
        load_from=load_from,
        resume=resume,
    )


@pytest.fixture
def state():
    """Weights of the network, none of which is as it is initialised."""
    return {name: value + 1 for name, value in made(None).model.state_dict().items()}


@pytest.fixture
def file(state, tmp_path):
    torch.save({'state_dict': state, 'meta': {'arch': ARCH}}, tmp_path / 'extracted.pth')
    return str(tmp_path / 'extracted.pth')


def ended(run):
    run.train()
    return {name: value for name, value in run.model.state_dict().items() if 'norm.' not in name}


def test_it_starts_from_the_file(file, state):
    """Rejects a hook that only looks."""
    found = ended(made(file))
    assert all(torch.equal(value, state[name]) for name, value in found.items()) and len(found) == 3


def test_what_is_new_keeps_its_initialisation(file, state):
    """Rejects 'new' weights that are loaded because the file happens to have them, and a pattern that takes more."""
    initial = made(None).model.state_dict()
    found = ended(made(file, new=['head.*']))
    assert all(torch.equal(found[name], initial[name]) for name in ('head.weight', 'head.bias'))
    assert torch.equal(found['backbone.weight'], state['backbone.weight'])


@pytest.mark.parametrize(
    ('change', 'options', 'words'),
    [
        (lambda s: s.pop('head.bias'), {}, r'1 parameters or buffers differ, such as head.bias \(found none'),
        (lambda s: s.update(extra=torch.zeros(2)), {}, r'such as extra \(found \(2,\), expected none\)'),
        (lambda s: s.update(extra=torch.zeros(2)), dict(unused=['other.*']), 'such as extra'),
        (lambda s: s.update({'backbone.weight': torch.zeros(5, 7)}), {}, r'found \(5, 7\), expected \(3, 7\)'),
        (lambda s: s.update({'backbone.weight': torch.zeros(5, 7)}), dict(unused=['*']), r'found \(5, 7\), expected'),
        (lambda s: None, dict(new=['neck.*']), r"FineTuneHook.new: found the pattern 'neck.\*', which fits no"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_training(change, options, words, state, tmp_path):
    """Rejects MMEngine's way: what fits is loaded, the rest trained from scratch with a warning; and an ``unused`` that
    excuses weights which have a place."""
    change(state)
    torch.save(state, tmp_path / 'bare.pth')  # without meta, as some write it
    run = made(str(tmp_path / 'bare.pth'), **options)
    with pytest.raises(ConfigError, match=words):
        run.train()
    assert run.iter == 0


def test_unused_weights_may_be_named(state, tmp_path):
    """Rejects a network of several heads that cannot be tuned for one of them."""
    torch.save({'state_dict': {**state, 'heads.k600.weight': torch.zeros(3)}}, tmp_path / 'joint.pth')
    assert torch.equal(ended(made(str(tmp_path / 'joint.pth'), unused=['heads.*']))['head.bias'], state['head.bias'])


def test_no_weights_are_an_error():
    """Rejects a fine-tuning from nothing, which is a training from scratch with a small rate."""
    with pytest.raises(ConfigError, match=r'load_from: found none, expected .* WORK_DIR/search/extracted\.pth'):
        made(None).train()
    with pytest.raises(ConfigError, match=r"load_from: found no file 'gone\.pth'"):
        made('gone.pth').train()


def test_a_resumed_one_goes_on_from_its_own_weights(file, state, tmp_path):
    """Rejects a resume that starts again from the file, asks for one that is gone, or makes what was new new again;
    and one that finds no checkpoint and would begin from random weights."""
    with pytest.raises(ConfigError, match=r'resume: found no checkpoint in .*start it without resume=True'):
        made(None, work_dir=str(tmp_path / 'run'), resume=True).train()
    options = dict(rate=0.1, work_dir=str(tmp_path / 'run'), new=['head.*'])
    first = ended(made(file, **options))
    assert not torch.equal(first['backbone.weight'], state['backbone.weight'])
    again = ended(made(None, **options, resume=True))
    assert all(torch.equal(again[name], value) for name, value in first.items())


@pytest.mark.parametrize(
    ('arch', 'hook'),
    [
        (ARCH, dict(type='FineTuneHook', new=['head.*'], keys='mmpretrain.VisionTransformer')),
        (None, dict(type='InheritHook', arch=ARCH, new=['head.*'])),
        (None, dict(type='mmaction.InheritHook', arch=ARCH)),
    ],
)
def test_a_test_has_the_weights_of_its_checkpoint(arch, hook, tmp_path):
    """Rejects a test of random heads, and one that takes the checkpoint for the file that the training began with: its
    names are translated again, or a supernet's weights are put where those of a small network belong."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=arch))
    loops = dict(test_dataloader=loader(2), test_cfg={}, test_evaluator=dict(type='ToyMetric'))
    trained = runner({}, model=model, custom_hooks=[], **loops)
    state = {name: value + 1 for name, value in trained.model.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'epoch_1.pth')
    tested = runner({}, model=model, custom_hooks=[hook], load_from=str(tmp_path / 'epoch_1.pth'), **loops)
    tested.test()
    assert all(torch.equal(value, state[name]) for name, value in tested.model.state_dict().items())


def test_a_found_network_starts_from_its_own_weights():
    """Rejects an extracted config whose training makes new what its weights have."""
    init_default_scope('mmaction')
    kinds = (InheritHook, 'mmaction.FineTuneHook', 'ReportHook', 'SyncBuffersHook')
    cfg = config({}, custom_hooks=[dict(type=kind) for kind in kinds])
    kept = pinned_config(cfg, MODELS.build(cfg.model), ARCH).custom_hooks
    assert [hook['type'] for hook in kept] == ['SyncBuffersHook']
