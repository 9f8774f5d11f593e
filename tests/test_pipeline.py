"""A search and what follows it: a retraining belongs to its network and seed, and the results stand in one place."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.errors import ConfigError
from mmnas_video.pipeline import check_retrain, dry_search, retrain_arch, retrain_config, run_search
from mmnas_video.registry import DATASETS, MODELS
from mmnas_video.testing.toy import SPACE, ToyBackbone, ToyDataset, config, loader
from tests.conftest import forget_runs
from tools.seeds import finished, read_row

ONE, OTHER = {'scale': 1.0, 'width': 3}, {'scale': 2.0, 'width': 5}
LOOPS = dict(test_dataloader=loader(2), test_cfg={}, test_evaluator=dict(type='ToyMetric'))


pytestmark = pytest.mark.usefixtures('no_pictures')


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


@MODELS.register_module()
class Filed(ToyBackbone):
    """Takes an arch file too, as the networks of this library do."""

    def __init__(self, arch=None, **options):
        super().__init__(None if arch is None else SPACE.read(arch, 'arch'), **options)


@pytest.fixture
def retrain(tmp_path):
    """A retraining of one epoch, as a search's config names it."""
    cfg = config({}, 1, custom_hooks=[], **LOOPS)
    cfg.model.backbone.type = 'Filed'
    for key in ('work_dir', 'log_level', 'randomness'):
        cfg.pop(key)
    cfg.dump(tmp_path / 'retrain.py')
    return dict(config=str(tmp_path / 'retrain.py'))


def retrained(retrain, arch, folder, resume=False, seed=3, **options):
    """Train and test what a search has found; the search's config names no log level."""
    forget_runs()
    search = Config(dict(resume=resume, randomness=dict(seed=seed)))
    return retrain_arch({**retrain, 'cfg_options': options}, arch, folder, search)['metrics']


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def test_a_result_belongs_to_its_network_and_seed(retrain, tmp_path):
    """Rejects the result of an earlier search in this work dir told as this one's, its checkpoint gone on from, one
    that did not end written over, and a finished training that is run again; and paths of one kind only."""
    folder = tmp_path / 'w'
    first = retrained(retrain, ONE, str(folder))
    before = files(folder)
    (tmp_path / 'arch.json').write_text(
        json.dumps({'format': 'mmnas-video/arch@1', 'space': SPACE.identity, 'arch': ONE})
    )
    for arch in (str(tmp_path / 'arch.json'), tmp_path / 'arch.json'):
        assert retrained(retrain, arch, folder, resume=True) == first and files(folder) == before
    retrained(retrain, OTHER, folder, resume=True)
    weights = torch.load(folder / 'epoch_1.pth', weights_only=True)['state_dict']
    assert weights['backbone.weight'].shape == (5, 7)
    assert json.loads((tmp_path / 'w-1/tested.json').read_text()) == first
    retrained(retrain, OTHER, folder, resume=True, seed=5)
    retrained(retrain, OTHER, folder, seed=5)
    assert [(tmp_path / f'w-{i}/tested.json').is_file() for i in (2, 3)] == [True, True]
    (folder / 'tested.json').unlink()
    retrained(retrain, ONE, folder, resume=True)
    assert json.loads((tmp_path / 'w-4/trained.json').read_text())['network'] == OTHER


def test_a_retraining_says_as_much_as_its_search(retrain, tmp_path):
    """Rejects what the retraining's config, or MMEngine, would have written."""
    search = Config(dict(log_level='ERROR', console='errors', launcher='pytorch', randomness=dict(seed=7)))
    made = retrain_config(retrain, ONE, tmp_path, search)
    kept = {key: made[key] for key in ('log_level', 'console', 'launcher', 'randomness')}
    assert kept == search.to_dict() and made.resume is False


def test_a_seed_is_finished_when_its_network_is_trained(retrain, tmp_path):
    """Rejects a row of the table with the accuracy of what an earlier search found, a search taken for ended that goes
    on for more epochs beside what it had left, and the result of tools/test.py for the end of the training."""
    cfg = config(dict(type='UniformSearchHook', candidates=1, score_batches=1), 1, str(tmp_path / 'w'), retrain=retrain)
    found = run_search(cfg)
    folder, arch = tmp_path / 'w', json.loads(found['arch'].read_text())
    training = retrain_config(retrain, str(found['arch']), folder / 'retrain', cfg)
    assert finished(folder, training) and finished(folder, None)
    assert read_row(folder, 3, training)['test'] == found['metrics'] and read_row(folder, 3, None)['test'] == {}
    before = found['arch'].read_text()
    row, said = read_row(folder, 3, training), arch['search'] | arch['cost']
    assert (row['seed'], row['arch'], row['score'], row['macs']) == (3, arch['arch'], said['score'], said['macs'])
    found['arch'].write_text(json.dumps({**arch, 'search': {**arch['search'], 'final': False}}))
    assert not finished(folder, None)
    arch['arch'] = dict(OTHER if arch['arch'] == ONE else ONE)
    found['arch'].write_text(json.dumps(arch))
    assert finished(folder, None) and not finished(folder, training) and read_row(folder, 3, training)['test'] == {}
    found['arch'].write_text(before)
    (folder / 'retrain/tested.json').rename(folder / 'retrain/test.json')  # as tools/test.py leaves it
    assert not finished(folder, training)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'test_evaluator': dict(type='AccMetric', foo=1)}, r"test_evaluator.*unknown key 'foo'"),
        ({'test_evaluator': None}, 'test_evaluator: found none'),
        ({'test_dataloader.batch_size': 0}, 'batch_size'),
        ({'custom_hooks': [dict(type='ReportHook', foo=1)]}, r"custom_hooks.*'foo'"),
    ],
)
def test_a_retraining_that_cannot_end_is_refused_before_the_search(retrain, options, words):
    """Rejects a mistake in the test's part of the config that is said after the last epoch."""
    check_retrain(retrain)
    with pytest.raises(ConfigError, match=rf'retrain.config=.*{words}'):
        check_retrain({**retrain, 'cfg_options': options})


def test_a_retraining_with_weights_of_its_own_goes_on(retrain, tmp_path):
    """Rejects MMEngine's resume from the file of the weights, where the search was resumed; and a training that begins
    with them once more where it has a checkpoint."""
    model = MODELS.build(dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=ONE)))
    torch.save({'state_dict': {k: v + 7 for k, v in model.state_dict().items()}}, tmp_path / 'small.pth')
    options = {'load_from': str(tmp_path / 'small.pth'), 'optim_wrapper.optimizer.lr': 0.0}
    folder = tmp_path / 'w'
    retrained(retrain, ONE, folder, resume=True, **options)
    bias = torch.load(folder / 'epoch_1.pth', weights_only=True)['state_dict']['head.bias']
    assert torch.equal(bias, torch.full((3,), 7.0, dtype=torch.float64))
    (folder / 'tested.json').unlink()
    written = (folder / 'epoch_1.pth').stat().st_mtime_ns
    retrained(retrain, ONE, folder, resume=True, **{**options, 'load_from': 'gone.pth'})
    assert (folder / 'epoch_1.pth').stat().st_mtime_ns == written and (folder / 'tested.json').is_file()


def test_after_a_search_that_began_anew_the_retraining_does_too(retrain, tmp_path):
    """Rejects, with resume='auto', a training of another search that is taken for this one's."""
    hook = dict(type='UniformSearchHook', candidates=1, score_batches=1)
    cfg = config(hook, 1, str(tmp_path / 'w'), retrain=retrain, resume='auto')
    first = run_search(cfg)['retrained']
    for name in ('epoch_1.pth', 'last_checkpoint'):
        (tmp_path / 'w' / name).unlink()
    forget_runs()
    run_search(cfg)
    assert (first / 'tested.json').is_file() and (tmp_path / 'w/retrain-1/tested.json').is_file()
    forget_runs()
    before = files(first)
    run_search(cfg)
    assert files(first) == before and cfg.resume == 'auto'


@DATASETS.register_module()
class Piped(ToyDataset):
    """Toy data that has the pipeline of a video's."""

    def __init__(self, pipeline=(), **options):
        super().__init__(**options)


def test_a_dry_run_says_that_alpha_would_not_move(tmp_path):
    """Rejects a dry run, which has no warm-up, that passes where the run itself is refused."""
    hook = dict(type='PARSECSearchHook', num_archs=2, warmup_epochs=2)
    with pytest.raises(ConfigError, match=r'warmup_epochs: found 2 with train_cfg\.max_epochs=2'):
        dry_search(config(hook, work_dir=str(tmp_path)))


def test_a_search_in_stages_leaves_what_a_search_does(tmp_path):
    """Rejects results of the last stage that are missing from the search's folder."""
    hook = dict(type='UniformSearchHook', candidates=1, score_batches=1)
    data = dict(LOOPS['test_dataloader'], dataset=dict(type='Piped', pipeline=[dict(type='SampleFrames', clip_len=8)]))
    cfg = config(hook, 1, str(tmp_path / 'w'), **{**LOOPS, 'test_dataloader': data})
    cfg.stages, cfg.retrain = [dict(name='all', opens=['*'])], dict(config='r.py', cfg_options={'a': 3})
    run_search(cfg, retrain=False)
    names = [{path.name for path in (tmp_path / 'w' / name).iterdir()} for name in ('search', '1_all/search')]
    said = json.loads((tmp_path / 'w/search/stages.json').read_text())
    assert said['retrain'] == {'config': 'r.py', 'cfg_options': {'a': 3}}  # of which the report's commands are made
    assert names[0] == {*names[1], 'stages.json'} and 'inference.py' in names[0]
