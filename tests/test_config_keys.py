"""Keys that nothing reads, types that nobody registered, options that do not fit: one error with its place."""

import glob
import inspect
import re

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video.building import building
from mmnas_video.config_keys import REGISTRIES, SECTIONS, check_keys, check_sections, components, options_of
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config, shortened, train
from mmnas_video.pipeline import dry_search, run_search
from mmnas_video.registry import DATASETS
from mmnas_video.search import is_search_hook
from mmnas_video.testing import toy

OURS = {
    kind.__name__: kind
    for one in REGISTRIES
    for kind in one.module_dict.values()
    if kind.__module__.startswith('mmnas_video.')
    and not kind.__module__.startswith(('mmnas_video.testing', 'mmnas_video.compat'))
}


def test_all_that_the_runner_reads_is_a_section():
    """Rejects ``--cfg-options`` with a key of MMEngine's called unknown: its Runner's source says which it reads."""
    read = set(re.findall(r"self\.cfg\.get\(\s*'(\w+)'", inspect.getsource(Runner)))
    assert len(read) > 4 and read <= SECTIONS


#: What hands its keys on to a file backend of MMEngine, as MMAction2's DecordInit does.
OPEN = ('TorchcodecInit',)


@pytest.mark.parametrize('name', sorted(OURS))
def test_every_component_of_ours_is_looked_at(name):
    """Each refuses a misspelt key at its place, with the nearest name. Rejects a component that takes any key and
    ignores it, and a new one that the check does not see."""
    known = options_of(OURS[name])
    if name in OPEN:
        return
    if known is None:  # it hands unknown keys on to MMEngine's, and so has to look at them itself
        with pytest.raises(ConfigError, match="unknown key 'no_such_key'"):
            OURS[name](no_such_key=1)
        return
    key = f'{max(known, key=len, default="option")}x'
    hint = f"Did you mean '{key[:-1]}'" if known else 'expected none'
    cfg = {'a': [{'b': {'type': name, key: 1}}]}
    with pytest.raises(ConfigError, match=rf"^a\[0\]\.b \({name}\): found the unknown key '{key}'.*{re.escape(hint)}"):
        check_keys(cfg)
    check_keys({'a': {'type': name, **dict.fromkeys(known)}})


def test_an_option_that_the_base_alone_takes_is_none():
    """Rejects a check that offers ``hessian``, which the hook then refuses."""
    with pytest.raises(ConfigError, match=r"unknown key 'hessian', expected one of \[(?!.*'(hessian|score)')"):
        check_keys({'custom_hooks': [{'type': 'EntanglementSearchHook', 'hessian': 'exact'}]})


def test_the_shipped_configs_pass():
    """Rejects a check that knows less than the components do."""
    files = [*sorted(glob.glob('configs/demo/*.py')), 'configs/autox3d/s_k200.py', 'configs/vimnas/tiny_joint.py']
    assert len(files) > 9
    for file in files:
        check_keys(Config.fromfile(file))


@pytest.mark.parametrize(
    'slip, meant', [('cost_shap', 'cost_shape'), ('custom_hook', 'custom_hooks'), ('retrian', 'retrain')]
)
def test_a_misspelt_section_is_refused(slip, meant):
    """Rejects a config whose hooks, price or retraining are silently those of nobody, and a check that takes a
    variable of the config's for a slip. Beside the section itself, which ``_base_`` has, it is one if it holds the same
    kind of value."""
    with pytest.raises(ConfigError, match=f"config: found '{slip}', which nothing reads, expected '{meant}'"):
        check_sections(Config({'model': {}, slip: {}}))
    for one, other in (({}, {}), ([], ())):
        with pytest.raises(ConfigError, match=f"found '{slip}', .* expected '{meant}', which it has beside it"):
            check_sections(Config({'model': {}, slip: one, meant: other}))
    check_sections(Config({'model': {}, slip: 2, meant: {}}))
    check_sections(Config(dict.fromkeys(('heads', 'data_root', 'epochs', 'train_pipeline', 'warm_up', 'num_classes'))))


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (dict(type='UniformSerchHook'), "found the type 'UniformSerchHook', .*Did you mean 'UniformSearchHook'"),
        (dict(type='no.such.Hook'), "found the type 'no.such.Hook', expected the name of a registered hook"),
        (dict(interval=3), r"found {'interval': 3}, expected dict\(type="),
    ],
)
def test_a_hook_that_is_none_is_refused(hook, message):
    """Rejects a dry run that ends in AttributeError or KeyError, and a plan of a search that is silently one of plain
    training."""
    init_default_scope('mmaction')
    cfg = toy.config({})
    cfg.custom_hooks = [hook]
    with pytest.raises(ConfigError, match=f'^custom_hooks: {message}'):
        shortened(cfg)
    with pytest.raises(ConfigError, match=message):
        is_search_hook(hook)


def test_an_option_for_a_section_that_is_not_there_is_refused():
    """Rejects ``--cfg-options optim_wraper.optimizer.lr=1``, which MMEngine merges beside what it was meant for."""
    demo = 'configs/demo/autox3d.py'
    with pytest.raises(ConfigError, match=r"--cfg-options: found the unknown key 'optim_wraper'.*mean 'optim_w"):
        load_config(demo, {'optim_wraper.optimizer.lr': 1.0})
    found = load_config(demo, {'sync_bn': 'torch', 'optim_wrapper.optimizer.lr': 7.0})
    assert (found.sync_bn, found.optim_wrapper.optimizer.lr) == ('torch', 7.0)


def test_components_are_found_wherever_they_stand():
    """In lists, in dicts of dicts, and at the top."""
    cfg = {'type': 'A', 'x': [{'type': 'B', 'y': {'type': 'C'}}], 'z': 3}
    assert [(path, part['type']) for path, part in components(cfg)] == [('config', 'A'), ('x[0]', 'B'), ('x[0].y', 'C')]


PARSEC = dict(type='PARSECSearchHook', num_archs=2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.backbone.nrm': True}, r"^model\.backbone \(ToyBackbone\).*unknown key 'nrm'.*Did you mean 'norm'"),
        ({'model.backbone.type': 'ToyBackbon'}, r"^model\.backbone \(ToyBackbon\)\.type: .*Did you mean 'ToyBackbone'"),
        ({'custom_hooks.0.num_arch': 2}, r"custom_hooks\[0\] \(PARSECSearchHook\).*'num_arch'.*'num_archs'"),
        (
            {'train_dataloader.sampler.shufle': 1},
            r"train_dataloader\.sampler \(SeededSampler\).*Did you mean 'shuffle'",
        ),
        ({'train_dataloader.dataset.sise': 7}, r"^train_dataloader\.dataset \(ToyDataset\).*'sise'.*'size'"),
        ({'default_hooks.checkpoint.interval': 'x'}, r"checkpoint\.interval: found 'x', expected a whole number"),
        (
            {'custom_hooks.0.arch_optimizer': dict(type='Adam', lrr=0.1), 'optim_wrapper.optimizer.type': 'Adam'},
            r"^custom_hooks\[0\]\.arch_optimizer \(Adam\): found the unknown key 'lrr'.*Did you mean 'lr'",
        ),
        ({'optim_wrapper.optimizer.lrr': 1}, r"^optim_wrapper\.optimizer \(SGD\): .*'lrr'.*Did you mean 'lr'"),
        ({'default_hooks.logger': dict(type='LoggerHook', intervall=3)}, r"logger \(LoggerHook\).*mean 'interval'"),
        (
            {'train_dataloader.collate_fn': dict(type='skip_bad_collate', colate='pseudo_collate')},
            r"^train_dataloader\.collate_fn \(skip_bad_collate\): .*'colate', expected one of \['collate'\]",
        ),
        (
            {'custom_hooks.0.arch_dataloader.collate_fn': dict(type='pseudo_collate', x=1)},
            r"^custom_hooks\[0\]\.arch_dataloader\.collate_fn \(pseudo_collate\): .*'x', expected none$",
        ),
        (
            {'train_dataloader.persistant_workers': True},
            r"^train_dataloader \(DataLoader\): .*Did you mean 'persistent_workers'",
        ),
        ({'optim_wrapper.optimizer.lr': 'fast'}, r'^optim_wrapper\.optimizer \(SGD\): found .*TypeError'),
        ({'train_cfg.max_epochs': 'many'}, r'ValueError.*many'),
        ({'train_cfg': None}, r'^config'),
        ({'model': 5}, r'^config'),
        ({'train_dataloader.batch_size': None}, r'found what cannot be built or run'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_what_cannot_be_built_is_one_error_with_its_place(changes, message, tmp_path):
    """Rejects tracebacks from MMEngine's registries, torch's optimisers and our own constructors. What it was stays the
    error's cause, for those who look for it."""
    cfg = toy.config(PARSEC, epochs=1, work_dir=str(tmp_path))
    cfg.merge_from_dict(changes)
    with pytest.raises(ConfigError, match=message) as error:
        train(cfg)
    assert len(str(error.value)) < 1500


def test_what_happens_after_the_first_step_is_no_config_error(tmp_path):
    """A fault of the program, or of the machine, keeps its own name. Rejects blaming the config for all."""
    cfg = toy.config(PARSEC, epochs=2, work_dir=str(tmp_path))
    seen = []

    class Broken(DATASETS.get('ToyDataset')):
        def __getitem__(self, item):
            seen.append(item)
            if len(seen) > 12:
                raise LookupError('a bug')
            return super().__getitem__(item)

    cfg.train_dataloader.dataset = dict(type=Broken)
    with pytest.raises(LookupError, match='a bug'):
        train(cfg)


def test_our_own_errors_pass_unchanged():
    """Rejects an error in an error."""
    with pytest.raises(ConfigError, match=r'^budget: found'), building({}):
        raise ConfigError('budget: found')


@pytest.mark.parametrize(
    ('retrain', 'message'),
    [
        (dict(config='configs/demo/autox3d_retrain.py', cfg_option={}), r"^retrain: .*'cfg_option'.*'cfg_options'\?$"),
        (dict(confg='configs/demo/autox3d_retrain.py'), r"^retrain: found the unknown key 'confg'.*mean 'config'"),
        (dict(cfg_options={'x': 1}), r'^retrain\.config: found None, expected the path of a config'),
        (dict(config='configs/nowhere.py'), r"^retrain\.config: found no file 'configs/nowhere.py'"),
        (dict(config='configs/demo/autox3d_retrain.py', cfg_options=[1]), r'^retrain\.cfg_options: found \[1\]'),
        ('configs/demo/autox3d_retrain.py', r"^retrain: found 'configs/demo/autox3d_retrain.py', expected dict"),
    ],
    ids=['an option', 'the config', 'no config', 'no file', 'a list', 'a path'],
)
@pytest.mark.parametrize('begin', [run_search, dry_search])
def test_a_retraining_that_is_misspelt_is_refused_before_the_search(begin, retrain, message, tmp_path):
    """Rejects a retraining without the options that were meant, and a KeyError when the search is done."""
    cfg = toy.config(PARSEC, epochs=1, work_dir=str(tmp_path))
    cfg.retrain = retrain
    with pytest.raises(ConfigError, match=message):
        begin(cfg)
    assert not list(tmp_path.iterdir())


def test_a_demo_config_with_a_typo_says_so_before_anything_is_built():
    """As tools/search.py reads it."""
    cfg = load_config('configs/demo/autox3d.py', {'model.backbone.se_ration': 0.1})
    init_default_scope('mmaction')
    with pytest.raises(ConfigError, match=r"model\.backbone \(SuperMBConv3D\).*Did you mean 'se_ratio'"):
        check_keys(cfg)
