"""configs/vimnas: single-dataset searches, what comes after a search, and the ablations, against Tab. 7 to 10."""

import random
import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from mmnas_video.cost import total_cost
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.launch import build_runner, load_config
from mmnas_video.registry import HOOKS, MODELS
from mmnas_video.search import EntanglementSearchHook, FineTuneHook, extract_model, fit_readers, search_hook_index
from mmnas_video.space import TUBES
from tests.configs.test_autox3d import learning_rates
from tests.configs.test_configs import LOADERS, parts

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'vimnas'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
#: Tab. 10, single-dataset runs: base learning rate and weight decay. "(L)" are ViT-B and ViT-L (its caption), where a
#: cell does not tell them apart.
TAB_10 = {
    'tiny_in1k': (1e-3, 5e-2),
    'small_in1k': (1e-3, 5e-2),
    'base_in1k': (1e-5, 5e-2),
    'small_k400': (1e-4, 1e-3),
    'base_k400': (5e-5, 1e-5),
    'large_k400': (2e-5, 1e-5),
    'base_k600': (5e-5, 1e-5),
    'tiny_ssv2': (2e-5, 1e-5),
}
BATCH = {'in1k': 1024, 'k400': 256, 'k600': 256, 'ssv2': 256}
#: The networks that Tab. 7 fine-tunes and retrains.
TAB_7 = ['tiny_in1k', 'small_in1k', 'base_in1k', 'small_k400', 'base_k400', 'large_k400']
#: What column 2 of Tab. 8b fine-tunes after a search on images.
TAB_8B = ['base_k400', 'base_k600', 'tiny_ssv2']
WIDTH = {'tiny': 240, 'small': 444, 'base': 624, 'large': 948}


def vimnas(load, name):
    return load(f'vimnas/{name}.py')


def optimiser(cfg):
    return cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay


def warm_up(cfg):
    """Epochs until the rate is highest, and the last rate's share of it."""
    rates = learning_rates(cfg)
    return rates.index(max(rates)) + 1, rates[-1] / max(rates), max(rates)


@pytest.mark.parametrize('name', TAB_10)
def test_a_single_dataset_search_has_the_values_of_tab_10(name, load):
    """Rejects another size's or dataset's rate or decay, ImageNet's epochs in the place of 500, ImageNet first where
    there is none, a batch of 256 images, and a search that gets the whole training list."""
    cfg, (size, task) = vimnas(load, name), name.split('_')
    assert optimiser(cfg) == TAB_10[name]
    assert cfg.train_cfg.max_epochs == 500 and cfg.model.backbone.drop_path == 0.1
    per_epoch = len(learning_rates(cfg)) // 500
    peak, last, highest = warm_up(cfg)
    assert peak == 20 * per_epoch and last < 0.02 and highest == pytest.approx(TAB_10[name][0])
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == BATCH[task]
    assert 'first' not in cfg.train_dataloader.batch_sampler
    assert all(list(cfg[key].dataset.datasets) == [task] for key in LOADERS)
    assert list(cfg.model.cls_head.heads) == [task] and cfg.model.cls_head.default == task
    assert cfg.train_dataloader.dataset.held_out == dict(fraction=0.1, part='train')
    assert not any(cfg[key].dataset.get('held_out') for key in LOADERS[1:])
    assert cfg.model.backbone.table == f'vimnas-{size}' and cfg.model.cls_head.common.in_channels == WIDTH[size]
    hook = HOOKS.build(cfg.custom_hooks[search_hook_index(cfg)])
    assert isinstance(hook, EntanglementSearchHook) and hook.tune_lr is None  # tuned at the rate that is left


@pytest.mark.parametrize('size', ['small', 'base', 'large'])
def test_the_searches_of_tab_8a_are_joint_ones(size, load):
    """Rejects Kinetics' rate or batch in a joint search (Supp. A: ImageNet's rate, the video sets' batch)."""
    cfg, joint = vimnas(load, f'{size}_k400_in1k'), vimnas(load, f'{size}_joint')
    assert list(cfg.train_dataloader.dataset.datasets) == list(cfg.model.cls_head.heads) == ['in1k', 'k400']
    assert cfg.optim_wrapper == joint.optim_wrapper and cfg.custom_hooks == joint.custom_hooks
    assert cfg.model.backbone == joint.model.backbone
    assert cfg.train_dataloader.batch_sampler == joint.train_dataloader.batch_sampler


def test_an_image_search_offers_what_an_image_shows(load, build):
    """Rejects 3-D tubes that no batch ever opens, and strides or offsets that are one and the same to an image."""
    space = find_searchable(build(vimnas(load, 'tiny_in1k')))[1].space
    tubes = [choice for choice in space if choice.name.startswith('tube')]
    assert [choice.name for choice in tubes] == ['tube1.kernel', 'tube1.stride', 'tube1.offset']
    assert [len({value.partition('x')[2] for value in c.values}) for c in tubes] == [len(c) for c in tubes]
    of_videos = find_searchable(build(vimnas(load, 'tiny_joint')))[1].space
    assert all(set(choice.values) <= set(of_videos[choice.name].values) for choice in space)


# ---------------------------------------------------------------- after a search
@pytest.mark.parametrize('name', TAB_7)
def test_retraining_and_fine_tuning_are_of_the_network_that_was_found(name, load):
    """Rejects the arch or the weights of another search, another space than the search's (its arch would not fit),
    other data, part of the training list, and another dataset's rate."""
    search, task = vimnas(load, name), name.split('_')[1]
    for kind, epochs, peak, share in (('finetune', 40, 2, 0.1), ('retrain', 300, 20, 1)):
        cfg = vimnas(load, f'{name}_{kind}')
        assert cfg.model.backbone.pop('arch') == f'work_dirs/{name}/search/arch.json'
        search.model.backbone.pop('local_weights')  # a pinned network has merged them
        search.model.backbone.pop('with_cp', None)  # and is small enough to keep what its layers give
        assert cfg.model == search.model and cfg.cost_shape == search.cost_shape
        assert 'held_out' not in cfg.train_dataloader.dataset
        del search.train_dataloader.dataset['held_out']
        assert all(cfg[key] == search[key] for key in LOADERS)
        search = vimnas(load, name)
        rate, decay = optimiser(cfg)
        assert (rate, decay) == (pytest.approx(share * TAB_10[name][0]), TAB_10[name][1])
        assert cfg.train_cfg.max_epochs == epochs
        found, last, _ = warm_up(cfg)
        assert found == peak * len(learning_rates(cfg)) // epochs and last < 0.02
        assert BATCH[task] == 8 * cfg.train_dataloader.batch_size
        hooks = [HOOKS.build(hook) for hook in cfg.get('custom_hooks') or []]
        if kind == 'retrain':
            assert cfg.load_from is None and not hooks
        else:
            assert cfg.load_from == f'work_dirs/{name}/search/extracted.pth'
            assert [type(hook) for hook in hooks] == [FineTuneHook] and not hooks[0].new


@pytest.mark.parametrize('name', TAB_8B)
def test_an_image_network_goes_on_to_videos(name, load):
    """Rejects 3-D tubes that are not TubeViT's, an arch or weights of another search, and joint training's rate."""
    size = name.split('_')[0]
    cfg, search, single = (vimnas(load, n) for n in (f'{name}_from_in1k', f'{size}_in1k', name))
    assert cfg.load_from == f'work_dirs/{size}_in1k/search/extracted.pth'
    assert cfg.model.backbone.pop('arch') == f'work_dirs/{size}_in1k/search/arch.json'
    tubes = cfg.model.backbone.pop('tubes'), search.model.backbone.pop('tubes')
    assert TUBES[tubes[0]] == (*TUBES[tubes[1]], *TUBES['tubevit'][1:])
    search.model.backbone.pop('local_weights')
    assert cfg.model.backbone == search.model.backbone and cfg.model.cls_head == single.model.cls_head
    assert optimiser(cfg) == TAB_10[name] and cfg.train_cfg.max_epochs == 40
    del single.train_dataloader.dataset['held_out']
    assert all(cfg[key] == single[key] for key in LOADERS)


@pytest.fixture(scope='module')
def found():
    """(arch, network) as ``tools/search.py`` leaves them for Tiny's image search, from weights that nobody trained."""
    cfg = load_config(str(FOLDER / 'tiny_in1k.py'))
    torch.manual_seed(3)
    supernet = MODELS.build(cfg.model)
    arch = supernet.backbone.space.sample(random.Random(5))
    return arch, extract_model(cfg, supernet, arch)[0].eval()


def started(cfg, arch, state):
    """The network of a config with ``arch``, before and after its hook has put the weights in."""
    cfg.model.backbone.arch = dict(arch)
    fit_readers(cfg)
    model = MODELS.build(cfg.model).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (hook,) = [HOOKS.build(hook) for hook in cfg.custom_hooks]
    model.load_state_dict(hook._fitted(model, {'state_dict': state}, 'extracted.pth'), strict=True)
    return model, before


def test_fine_tuning_starts_from_what_was_extracted(found, load):
    """Rejects weights that are left out or land elsewhere: the network of the config gives the same scores."""
    arch, net = found
    model, _ = started(vimnas(load, 'tiny_in1k_finetune'), arch, net.state_dict())
    image = torch.randn(2, 1, 3, 1, 61, 67)
    with torch.no_grad():
        scores = [m(image, stage='head', mode='tensor') for m in (model, net)]
    assert torch.equal(*scores) and scores[0].std() > 0
    assert model.cls_head.heads.in1k.fc_cls.in_features == arch['embed_dim']


def test_a_config_that_names_an_arch_gets_its_width(found, load, tmp_path):
    """Rejects a head as wide as the space behind a narrower network (it fails in the first step), a head of another
    width that is changed too, and a config that the Runner does not leave as it was run (for stock tools)."""
    arch, _ = found
    cfg = vimnas(load, 'tiny_in1k_retrain')
    cfg.model.backbone.arch, cfg.work_dir = dict(arch), str(tmp_path)
    cfg.model.cls_head.heads['odd'] = dict(num_classes=3, in_channels=239)
    fit_readers(cfg)
    assert cfg.model.cls_head.heads.odd.in_channels == 239
    del cfg.model.cls_head.heads['odd']
    cfg.model.cls_head.common.in_channels = 240
    runner = build_runner(cfg)
    assert runner.model.cls_head.heads.in1k.fc_cls.in_features == arch['embed_dim'] < 240
    assert runner.cfg.model.cls_head.common.in_channels == arch['embed_dim']
    supernet = MODELS.build(vimnas(load, 'tiny_in1k').model)
    searchable = find_searchable(runner.model)[1]
    assert total_cost(runner.model, searchable, searchable.space.smallest, cfg.cost_shape) == total_cost(
        supernet, supernet.backbone, arch, cfg.cost_shape
    )


def test_a_video_network_starts_from_an_image_network(found, load):
    """Rejects a head or a 3-D tube that is not new, a 2-D tube or layer that is: on images the features are those of
    the image network, bit for bit, and on clips all four tubes are there."""
    arch, net = found
    model, before = started(vimnas(load, 'tiny_ssv2_from_in1k'), arch, net.state_dict())
    after, state = model.state_dict(), net.state_dict()
    new = [name for name in after if name not in state]
    assert {re.sub(r'\.\w+$', '', name) for name in new} == {
        *(f'backbone.tokenizer.tubes.{i}' for i in (1, 2, 3)),
        'cls_head.heads.ssv2.fc_cls',
    }
    assert all(torch.equal(after[name], (before if name in new else state)[name]) for name in after)
    with torch.no_grad():
        image = torch.randn(2, 3, 1, 61, 67)
        assert torch.equal(model.backbone(image), net.backbone(image))
        assert model.backbone.tokenizer.tubes[3].weight.shape[:2] == (arch['embed_dim'], 3)
        assert model(torch.randn(1, 1, 3, 17, 61, 67), stage='head', mode='tensor').shape == (1, 174)


def test_weights_of_another_network_stop_the_fine_tuning(found, load):
    """Rejects a training that silently starts from scratch where depth, width or dataset are not those of the file."""
    arch, net = found
    state = net.state_dict()
    other = {192: 216, 216: 240, 240: 192}[arch['embed_dim']]
    for cfg, values in (
        (vimnas(load, 'tiny_in1k_finetune'), {**arch, 'embed_dim': other}),
        (vimnas(load, 'tiny_in1k_finetune'), {**arch, 'depth': {12: 13, 13: 14, 14: 12}[arch['depth']]}),
        (vimnas(load, 'tiny_ssv2_from_in1k'), {**arch, 'embed_dim': other}),
    ):
        with pytest.raises(ConfigError, match=r"'extracted.pth': found weights of another network: \d+ parameters"):
            started(cfg, values, state)
    renamed = {name.replace('.in1k.', '.k600.'): value for name, value in state.items()}
    with pytest.raises(ConfigError, match=r'such as cls_head.heads.in1k.fc_cls.weight \(found none'):
        started(vimnas(load, 'tiny_in1k_finetune'), arch, renamed)
    joint = {**state, 'cls_head.heads.k600.fc_cls.weight': torch.zeros(600, arch['embed_dim'])}
    started(vimnas(load, 'tiny_in1k_finetune'), arch, joint)  # a head of another dataset may be left out


@pytest.mark.parametrize('name', ['tiny_joint.py', 'tiny_in1k_retrain.py', 'base_k400_finetune.py'])
def test_what_has_no_decay(name, load, build):
    """Rejects decay on the class token or on learned positions, which are no vectors, and none on weights."""
    cfg = load(f'vimnas/{name}')
    cfg.model.backbone.patch_grid = (14, 14)
    model = build(cfg)
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='DefaultOptimWrapperConstructor',
            optim_wrapper_cfg={k: v for k, v in cfg.optim_wrapper.items() if k != 'paramwise_cfg'},
            paramwise_cfg=cfg.optim_wrapper.paramwise_cfg,
        )
    )(model)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            key = names[id(parameter)]
            free = (
                key.endswith(('bias', 'cls_token', 'patch_position')) or parameter.ndim == 1 or 'local_weights' in key
            )
            assert (group['weight_decay'] == 0) == free, key


# ---------------------------------------------------------------- ablations
def changes(one, other, path=''):
    """Paths at which two configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {p for key in {*one, *other} for p in changes(one.get(key), other.get(key), f'{path}.{key}')}
    return set() if one == other else {path[1:]}


@pytest.mark.parametrize(
    ('name', 'base', 'expected'),
    [
        ('ablation_vit_only', 'ablation_no_dg', {'model.backbone.tubes'}),
        ('ablation_no_dg', 'base_joint', {'model.backbone.local_weights', 'custom_hooks'}),
        (
            'ablation_no_nas',
            'base_joint',
            {
                'model.backbone.table',
                'model.backbone.local_weights',
                'model.cls_head.common.in_channels',
                'train_dataloader.dataset.held_out',
                'train_cfg.val_begin',  # a training is looked at on its way
                'custom_hooks',
            },
        ),
        ('ablation_gravite', 'small_joint', {'custom_hooks', 'model.backbone.local_weights'}),
        ('ablation_autoformer', 'small_joint', {'custom_hooks', 'model.backbone.local_weights'}),
        ('ablation_nasvit', 'small_joint', {'custom_hooks', 'model.backbone.local_weights'}),
        (
            'ablation_vitas',
            'small_joint',
            {'custom_hooks', 'model.backbone.local_weights', 'model.backbone.sharing'},
        ),
    ],
)
def test_an_ablation_differs_in_what_it_is_about_alone(name, base, expected, load):
    """Rejects a comparison of two things at once: of neighbouring columns of Tab. 9b, and of Tab. 9a's others with what
    its last column has (81.9 and 88.9: the joint search's of Tab. 3 and 4, not the 88.7 of Tab. 8a)."""
    assert changes(vimnas(load, name)._cfg_dict.to_dict(), vimnas(load, base)._cfg_dict.to_dict()) == expected


def test_ablations_lack_the_term_of_eq_3(load):
    """Rejects a search with the distribution gap and no local weights (it would be refused), an ablation that keeps
    either, one without the term that differs in another option of the hook, and decay on the assignments."""
    for name in (n.removesuffix('.py') for n in NAMES):
        cfg = vimnas(load, name)
        terms = [hook.get('distribution_gap') for hook in cfg.get('custom_hooks') or []]
        searches = not re.search('_finetune|_retrain|_from_in1k|_evolution|ablation_', name)
        assert [t for t in terms if t] == [1.0] * searches, name
        local = cfg.model.backbone.get('local_weights')
        assert local == (dict(groups=2) if searches or '_evolution' in name else None), name
        if searches:
            assert cfg.optim_wrapper.paramwise_cfg.custom_keys.local_weights == dict(decay_mult=0.0)
    one, other = (dict(vimnas(load, name).custom_hooks[0]) for name in ('base_joint', 'ablation_no_dg'))
    assert one.pop('distribution_gap') and one == other


def test_baselines_leave_alone_what_was_not_sampled(load):
    """Rejects a baseline of Tab. 9a whose unsampled weights decay where VIM-NAS's stay (Algorithm 1, line 8): they are
    to differ in sharing, sampling and step. A mixture uses all weights."""
    for name in ('autoformer', 'vitas', 'nasvit', 'gravite'):
        cfg = vimnas(load, f'ablation_{name}')
        hook = HOOKS.build(cfg.custom_hooks[search_hook_index(cfg)])
        assert hook.freeze_unsampled == (name != 'gravite'), name


def test_nothing_is_searched_without_nas(load, build):
    """Rejects a "No NAS" that still has choices, and an ablation of the transformer that still has tubes to choose."""
    assert not find_searchable(build(vimnas(load, 'ablation_no_nas')))[1].space.open
    space = find_searchable(build(vimnas(load, 'ablation_vit_only')))[1].space
    assert space.open and not [c.name for c in space.open if c.name.startswith('tube')]


@pytest.mark.parametrize('name', NAMES)
def test_labels_that_name_a_direction_are_not_flipped(name, load):
    """Rejects Kinetics' flip on Something-Something-V2 in a config that is named after something else."""
    cfg = load(f'vimnas/{name}')
    for key in LOADERS:
        steps = parts(cfg[key]).get('ssv2', {}).get('pipeline', [])
        assert not [step for step in steps if 'Flip' in step['type']]


def test_work_dirs_are_of_one_config_each():
    """Rejects a name that another family has too: both would write to the same folder."""
    others = {p.stem for p in (ROOT / 'configs').glob('*/*.py') if p.parent != FOLDER}
    assert not {name.removesuffix('.py') for name in NAMES} & others
