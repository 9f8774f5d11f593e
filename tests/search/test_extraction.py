"""The configs of an extracted network: what it is trained on, and whose pipeline stock inference has."""

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS
from mmnas_video.search.extraction import (
    extract_model,
    inference_config,
    load_supernet,
    pinned_config,
    save_extracted,
)
from mmnas_video.testing import toy


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


@pytest.fixture
def joint():
    """Images, scenes and motions, in this order."""
    return load_config('configs/demo/vimnas_joint.py')


def as_list(dataset):
    """The other way to write a JointDataset's ``datasets``."""
    dataset.datasets = [dict(name=name, **cfg) for name, cfg in dataset.datasets.items()]


@pytest.mark.parametrize(('default', 'chosen'), [('image', 'scene'), (None, 'scene'), ('motion', 'motion')])
@pytest.mark.parametrize('listed', [False, True])
def test_inference_takes_a_video(joint, default, chosen, listed):
    """Rejects the pipeline of images (which MMAction2's scope does not even know), a head that a sample without a name
    does not reach, one whose pipeline is another's, and a list of datasets that ends in a traceback."""
    joint.model.cls_head.default = default
    if listed:
        as_list(joint.test_dataloader.dataset)
    made = inference_config(joint)
    steps = [type(step).__name__ for step in Compose(made.test_pipeline).transforms]
    assert 'DecordInit' in steps and made.test_dataloader.dataset.data_root == f'data/demo/{chosen}/'
    assert made.test_dataloader.dataset.pipeline == made.test_pipeline and 'name' not in made.test_dataloader.dataset
    head = MODELS.build(made.model.cls_head)
    assert head.task_of([ActionDataSample()]) == made.model.cls_head.default == chosen
    assert joint.model.cls_head.default == default


def test_inference_of_images_alone_is_not_written(joint):
    """Rejects a config that cannot run, written beside those that can."""
    for name in ('scene', 'motion'):
        del joint.test_dataloader.dataset.datasets[name]
    assert inference_config(joint) is None
    joint.test_dataloader = None
    assert inference_config(joint) is None


def test_inference_of_joined_lists_takes_the_first():
    """Rejects a stock ConcatDataset, whose list has no names, ending a search with a traceback."""
    cfg = load_config('configs/demo/autox3d.py')
    one = cfg.test_dataloader.dataset
    plain = inference_config(cfg)
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, dict(one, data_root='other/')])
    assert inference_config(cfg).test_dataloader == plain.test_dataloader


@pytest.mark.parametrize('training', [True, False])
def test_the_extracted_network_is_in_the_mode_of_the_supernet(training):
    """Rejects a network that draws dropout masks where the supernet does not, and what is of the search alone in its
    config."""
    cfg = toy.config(dict(type='UniformSearchHook'))
    cfg.model.dropout = 0.5
    own = dict(stages=[dict(name='a')], retrain=dict(config='a.py'), resume=True, load_from='a.pth', console='errors')
    cfg.update(own)
    model = MODELS.build(cfg.model).train(training)
    network, pinned = extract_model(cfg, model, toy.SPACE.smallest)
    assert {module.training for module in network.modules()} == {training}
    assert not {*own} & {*pinned} and not pinned.custom_hooks and {*own} < {*cfg}


@pytest.mark.parametrize(
    ('given', 'imports'),
    [
        (None, ['mmnas_video']),
        (dict(imports='mine', allow_failed_imports=False), ['mmnas_video', 'mine']),
        (dict(imports=['mine']), ['mmnas_video', 'mine']),
        (dict(imports=['mine', 'mmnas_video.testing.toy']), ['mine', 'mmnas_video.testing.toy']),
    ],
)
def test_stock_tools_find_our_parts(given, imports):
    """Rejects a config that only our tools can run: they import the library themselves, so that a search goes without
    ``custom_imports``."""
    cfg = toy.config(dict(type='UniformSearchHook'), custom_imports=given)
    _, pinned = extract_model(cfg, MODELS.build(cfg.model), toy.SPACE.smallest)
    assert dict(pinned.custom_imports) == {**(given or {}), 'imports': imports}
    assert cfg.custom_imports == given


@pytest.fixture
def trained_on():
    """Every ``held_out`` of the training and validation data of an extracted network's config."""

    def read(cfg):
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        pinned = pinned_config(cfg, model, find_searchable(model)[1].space.smallest)
        found = []
        for loader in (pinned.train_dataloader, pinned.val_dataloader):
            parts = [loader.dataset, *loader.dataset.get('datasets', {}).values()]
            found.append([part.held_out.part for part in parts if 'part' in (part.get('held_out') or {})])
        return found

    return read


def test_the_whole_list_is_trained_on(joint, trained_on):
    """Rejects a part of JointDataset.datasets that stays held out of its own."""
    joint.train_dataloader.dataset.datasets.motion.held_out = dict(fraction=0.5, part='train')
    assert trained_on(joint) == [[], []]


def test_what_validation_is_made_on_stays_held_out(joint, trained_on):
    """Rejects validation on what is trained on: the held-out part that a validation is made on, given to the training
    or (by itself) turned into the whole list."""
    joint.val_dataloader.dataset.datasets.motion.held_out = dict(fraction=0.25, part='held_out')
    assert trained_on(joint) == [['train'], ['held_out']]


def test_a_moved_network_starts_from_its_own_weights(tmp_path):
    """Also from a folder with quotes in its name. Rejects a path of the search's machine in the config: a moved network
    would not be found, and a copy would start from whatever stands at the old place by then."""
    net = MODELS.build(dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=dict(scale=2.0, width=3))))
    model = dict(type='ToyRecognizer', cls_head=None)
    save_extracted(tmp_path / 'search', net, Config(dict(model=model, load_from='supernet.pth', work_dir='old')), {})
    moved = (tmp_path / 'search').rename(tmp_path / 'the "new" \'one\'')
    cfg = load_config(str(moved / 'extracted.py'))
    assert cfg.load_from == str(moved / 'extracted.pth') and 'work_dir' not in cfg
    assert str(tmp_path) not in (moved / 'extracted.py').read_text()


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda state: state.pop('head.bias'), r'1 parameters or buffers differ, such as head\.bias .*found none'),
        (lambda state: state.update({'head.bias': torch.zeros(2)}), r'head\.bias \(found \(2,\), expected \(3,\)\)'),
        (lambda state: state.update(epoch=3), r"such as epoch \(found <class 'int'>, expected none\)"),
    ],
)
def test_a_supernet_is_not_loaded_from_the_weights_of_another(change, words, tmp_path):
    """Rejects weights that are taken in part, torch's own words for it, and a traceback over what is no tensor."""
    cfg, file = toy.config({}), tmp_path / 'supernet.pth'
    state = torch.load(toy.checkpoint(), weights_only=True)['state_dict']
    torch.save(state, file)
    assert torch.equal(load_supernet(cfg, file).state_dict()['head.bias'], state['head.bias'])
    change(state)
    torch.save(state, file)
    with pytest.raises(ConfigError, match=rf'supernet\.pth.*weights of another network: .*{words}'):
        load_supernet(cfg, file)
