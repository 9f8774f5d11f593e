"""A search in stages: each an ordinary one, on the weights and the choices of the one before."""

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import init_default_scope

from mmnas_video.entangle import extract_state
from mmnas_video.errors import ConfigError
from mmnas_video.pipeline import dry_search, run_search
from mmnas_video.registry import HOOKS, MODELS
from mmnas_video.search import SearchHook, stage_table
from mmnas_video.staged import plan_stages
from tests.conftest import forget_runs

from .toy import config

METHODS = {
    'parsec': dict(
        type='PARSECSearchHook',
        num_archs=3,
        budget=dict(macs=45),
        arch_optimizer=dict(type='Adam', lr=0.02, weight_decay=0),
    ),
    'uniform': dict(type='UniformSearchHook', candidates=5, score_batches=2, budget=dict(macs=45)),
}
TWO = [
    dict(name='scale', opens=['scale'], fixes={'width': 3}),
    dict(name='width', opens=['width'], epochs=3, budget=dict(macs=51), arch_lr=0.1),
]


pytestmark = pytest.mark.usefixtures('no_pictures')


@pytest.fixture(autouse=True)
def mmaction_scope():
    """Where the types of a config are looked up before a Runner has said so."""
    init_default_scope('mmaction')


@HOOKS.register_module()
class Spy(Hook):
    """Keeps the weights that each training begins with, and the parameters of α at its end; can be told to die."""

    begun: ClassVar[list] = []
    ended: ClassVar[list] = []
    die_at: ClassVar[tuple | None] = None

    def before_train(self, runner):
        folder = Path(runner.work_dir).name
        self.begun.append((folder, runner.iter, {k: v.clone() for k, v in runner.model.state_dict().items()}))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (Path(runner.work_dir).name, runner.iter) == self.die_at:
            type(self).die_at = None
            raise KeyboardInterrupt

    def after_train(self, runner):
        hook = next(hook for hook in runner.hooks if isinstance(hook, SearchHook))
        self.ended.append((Path(runner.work_dir).name, hook))


@pytest.fixture
def spy():
    Spy.begun, Spy.ended, Spy.die_at = [], [], None
    return Spy


def staged(work_dir, method='parsec', stages=TWO, **changes):
    forget_runs()
    init_default_scope('mmaction')
    if method != 'parsec':
        stages = [{key: value for key, value in stage.items() if key != 'arch_lr'} for stage in stages]
    cfg = config(METHODS[method], work_dir=str(work_dir), stages=[dict(stage) for stage in stages], **changes)
    cfg.custom_hooks.append(dict(type='Spy'))
    return cfg


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Work dir of an uninterrupted search, once for each method."""
    done = {}

    def run(method):
        if method not in done:
            init_default_scope('mmaction')
            done[method] = tmp_path_factory.mktemp('whole')
            run_search(staged(done[method], method))
        return done[method]

    return run


def search_files(folder: Path) -> dict:
    """What a search leaves, as bytes or tensors."""
    weights = torch.load(folder / 'search' / 'extracted.pth', weights_only=True)['state_dict']
    last = torch.load((folder / 'last_checkpoint').read_text(), weights_only=True)['state_dict']
    texts = {name: (folder / 'search' / name).read_text() for name in ('arch.json', 'history.jsonl', 'space.json')}
    return {**texts, **{f'w.{k}': v for k, v in weights.items()}, **{f'c.{k}': v for k, v in last.items()}}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


# ---------------------------------------------------------------- what goes from stage to stage
@pytest.mark.parametrize('method', METHODS)
def test_one_stage_is_the_plain_search(method, tmp_path, spy):
    """Rejects a staged search with a seed, a budget or a step of its own."""
    plain = staged(tmp_path / 'plain', method)
    plain.pop('stages')
    run_search(plain)
    found = run_search(staged(tmp_path / 'staged', method, [dict(name='all', opens=['*'])]))
    assert same(search_files(tmp_path / 'plain'), search_files(tmp_path / 'staged/1_all'))
    for name in ('arch.json', 'history.jsonl', 'space.json', 'extracted.pth'):
        assert (tmp_path / 'staged/search' / name).is_file(), name
    assert found['arch'].read_text() == (tmp_path / 'plain/search/arch.json').read_text()
    assert Config.fromfile(found['config']).load_from == str(found['weights'])


@pytest.mark.parametrize('method', METHODS)
def test_a_stage_starts_with_exactly_the_weights_of_the_one_before(method, tmp_path, spy):
    """Rejects a supernet that starts anew, weights of an earlier epoch or of another architecture, and statistics that
    were recomputed for the extracted network in between."""
    run_search(staged(tmp_path, method))
    (_, first), (_, second) = spy.ended
    (one, start, _), (two, restart, begun) = spy.begun
    assert (one, two, start, restart) == ('1_scale', '2_width', 0, 0)
    chosen = first.chosen
    assert dict(chosen)['width'] == 3
    last = torch.load(tmp_path / '1_scale/epoch_2.pth', weights_only=True)['state_dict']
    model = MODELS.build(first.runner.cfg.model)
    model.load_state_dict(last)
    expected = extract_state(model, chosen)
    supernet = MODELS.build(second.runner.cfg.model)
    supernet.load_state_dict(begun)
    assert supernet.backbone.space.size == 3 and supernet.backbone.weight.shape[0] == 5
    found = extract_state(supernet, chosen)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert not torch.equal(last['backbone.norm.running_mean'], torch.zeros(5, dtype=torch.float64))
    x = torch.randn(4, 7, dtype=torch.float64)
    with model.backbone.use(chosen), supernet.backbone.use(chosen):
        assert torch.equal(model.eval()(x), supernet.eval()(x))


def test_averaged_weights_start_from_the_inherited_ones_too(tmp_path, spy):
    """Rejects an average that begins with MMEngine's initialisation, or keeps it where the file has no name for it."""

    @HOOKS.register_module(force=True)
    class SpyAverage(Hook):
        seen: ClassVar[list] = []

        def before_train(self, runner):
            average = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model.module
            same = {k: torch.equal(v, runner.model.state_dict()[k]) for k, v in average.state_dict().items()}
            self.seen.append(same)

    cfg = staged(tmp_path)
    cfg.custom_hooks += [dict(type='EMAHook'), dict(type='SpyAverage')]
    run_search(cfg)
    assert len(SpyAverage.seen) == 2 and all(SpyAverage.seen[1].values()), SpyAverage.seen[1]


def test_averaged_weights_are_what_a_stage_leaves(tmp_path, spy):
    """Rejects the weights that the average is of, in the extracted network and for the next stage: checkpoints and
    validations have the average."""
    cfg = staged(tmp_path, optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0)))
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.005))
    run_search(cfg)
    folder = tmp_path / '1_scale'
    last = torch.load(folder / 'epoch_2.pth', weights_only=True)
    left, extracted = (torch.load(folder / name, weights_only=True) for name in ('weights.pth', 'search/extracted.pth'))
    model = MODELS.build(spy.ended[0][1].runner.cfg.model)
    model.load_state_dict(last['state_dict'])
    expected = extract_state(model, left['meta']['arch'])
    assert not torch.equal(expected['head.weight'], last['ema_state_dict']['module.head.weight'])
    assert left['state_dict'].keys() == extracted['state_dict'].keys() == expected.keys()
    assert all(torch.equal(left['state_dict'][name], expected[name]) for name in expected)
    for name in ('backbone.weight', 'head.weight', 'head.bias'):
        assert torch.equal(extracted['state_dict'][name], expected[name]), name


def test_only_what_a_stage_opens_is_sampled_and_learned(tmp_path, spy):
    """Rejects α moving for what is pinned, an earlier choice that is drawn again, and the first stage's choice lost."""
    found = run_search(staged(tmp_path))
    (_, first), (_, second) = spy.ended
    for hook, name, other in ((first, 'scale', 'width'), (second, 'width', 'scale')):
        rows = dict(zip(hook.space.names, hook.distribution.alpha.detach(), strict=True))
        assert rows[name].abs().max() > 1e-3 and not rows[other].any()
        gradient = hook.distribution.alpha.grad[hook.space.names.index(other)]
        assert not gradient.any()
        folder = Path(hook.runner.work_dir)
        steps = [json.loads(line) for line in (folder / 'search/history.jsonl').read_text().splitlines()]
        drawn = {tuple(arch) for step in steps if step['kind'] == 'step' for arch in step['archs']}
        index = hook.space.names.index(other)
        assert {arch[index] for arch in drawn} == {0} and len(drawn) > 1
    final = json.loads(found['arch'].read_text())['arch']
    assert final['scale'] == first.chosen['scale'] and final['width'] == second.chosen['width']
    assert [hook.alpha_optimizer.param_groups[0]['lr'] for hook in (first, second)] == [0.02, 0.1]
    assert [hook.budget.macs[1] for hook in (first, second)] == [45, 51]
    assert [hook.runner.max_epochs for hook in (first, second)] == [2, 3]


def test_optimisers_and_schedules_start_fresh(tmp_path, spy):
    """Rejects momentum and a decayed rate carried over, and a schedule that ends with the first stage's epochs."""
    changes = dict(
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True)],
    )
    run_search(staged(tmp_path, **changes))
    for (_, hook), epochs in zip(spy.ended, (2, 3), strict=True):
        assert hook.runner.param_schedulers[0].T_max == 6 * epochs
        assert hook.runner.optim_wrapper.param_groups[0]['lr'] < 0.003
        lines = [
            json.loads(line) for line in next(Path(hook.runner.work_dir).rglob('scalars.json')).read_text().splitlines()
        ]
        assert max(line['lr'] for line in lines if 'lr' in line) <= 0.1


def supernet_of(arch, work_dir):
    """File of a network of the toy's, no weight of which is as it is initialised."""
    init_default_scope('mmaction')
    model = MODELS.build(dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=arch)))
    torch.save({'state_dict': {k: v + 1 for k, v in model.state_dict().items()}}, work_dir / 'small.pth')
    return str(work_dir / 'small.pth')


@pytest.mark.parametrize('resume', [False, 'auto'])
def test_a_config_with_weights_to_start_from_has_them_in_the_first_stage(resume, tmp_path, spy):
    """Rejects a second stage that takes the first one's weights for the small network's of the config, which do not
    fit; and a search that is begun with --resume from random weights."""
    arch = {'scale': 1.0, 'width': 3}
    cfg = staged(tmp_path / 'w', load_from=supernet_of(arch, tmp_path), resume=resume)
    cfg.custom_hooks.append(dict(type='InheritHook', arch=arch))
    run_search(cfg)
    (_, _, first), (_, _, second) = spy.begun
    assert torch.equal(first['head.bias'], torch.ones(3, dtype=torch.float64))
    last = torch.load(tmp_path / 'w/1_scale/epoch_2.pth', weights_only=True)['state_dict']
    assert torch.equal(second['head.bias'], last['head.bias'])


def test_the_priority_of_a_hook_is_the_runners(tmp_path):
    """Rejects a TypeError for what every Runner takes."""
    cfg = staged(tmp_path)
    cfg.custom_hooks = [dict(hook, priority='LOW') for hook in cfg.custom_hooks]
    assert len(plan_stages(cfg, tmp_path)[0]) == 2


def test_a_stage_as_short_as_the_warm_up_is_refused_before_the_first(tmp_path):
    """Rejects an error of the second stage, after the first has been trained."""
    cfg = staged(tmp_path)
    cfg.custom_hooks[0].warmup_epochs = cfg.stages[1].epochs = 1
    cfg.stages[0].epochs = 3
    with pytest.raises(ConfigError, match=r'warmup_epochs: found 1 with stages\[1\].epochs=1'):
        plan_stages(cfg, tmp_path)


def test_stages_are_counted_in_epochs(tmp_path):
    """Rejects an AttributeError after the first stage."""
    cfg = staged(tmp_path, stages=TWO[:1], train_cfg=dict(by_epoch=False, max_iters=9))
    with pytest.raises(ConfigError, match=r'train_cfg.max_epochs: found none for stages\[0\]'):
        plan_stages(cfg, tmp_path)


# ---------------------------------------------------------------- killed and resumed
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(
    ('die_at', 'again'),
    [
        (('1_scale', 3), ['1_scale', '2_width']),  # before the first checkpoint of all
        (('1_scale', 9), ['1_scale', '2_width']),
        (('2_width', 2), ['2_width']),  # before the second stage's first checkpoint
        (('2_width', 14), ['2_width']),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(method, die_at, again, whole, tmp_path, spy):
    """Rejects a resume that runs a finished stage again, one that goes on from the inherited weights in the place of
    the checkpoint (or from MMEngine's initialisation), and a history with the killed epoch's lines."""
    expected, spy.die_at = whole(method), die_at
    with pytest.raises(KeyboardInterrupt):
        run_search(staged(tmp_path / 'killed', method))
    spy.begun = []
    found = run_search(staged(tmp_path / 'killed', method, resume=True))
    assert [name for name, *_ in spy.begun] == again
    for folder in ('1_scale', '2_width'):
        assert same(search_files(expected / folder), search_files(tmp_path / 'killed' / folder)), folder
        one, two = ((run / folder / 'finished.json').read_text() for run in (expected, tmp_path / 'killed'))
        assert one == two
    assert found['stages'] == [json.loads((expected / f / 'finished.json').read_text()) for f in ('1_scale', '2_width')]
    names = sorted(path.name for path in (tmp_path / 'killed').iterdir())
    assert names == ['1_scale', '2_width', 'search'], 'nothing else is left behind'
    assert not list((tmp_path / 'killed').rglob('search-*')), 'nor a part of a history set aside'


def test_one_that_was_moved_goes_on_in_its_stage(whole, tmp_path, spy):
    """Rejects a stage that looks for its checkpoint where it was written."""
    spy.die_at = ('2_width', 14)
    with pytest.raises(KeyboardInterrupt):
        run_search(staged(tmp_path / 'killed'))
    (tmp_path / 'killed').rename(tmp_path / 'moved')
    spy.begun = []
    run_search(staged(tmp_path / 'moved', resume=True))
    assert [name for name, *_ in spy.begun] == ['2_width']
    assert same(search_files(whole('parsec') / '2_width'), search_files(tmp_path / 'moved/2_width'))


def test_a_finished_search_is_not_run_again(tmp_path, spy):
    """Rejects training for nothing on --resume, and finished stages of another config taken for this one's."""
    first = run_search(staged(tmp_path))
    spy.begun = []
    again = run_search(staged(tmp_path, resume=True))
    assert not spy.begun and first['stages'] == again['stages']
    other = [dict(TWO[0], fixes={'width': 5}, budget=dict(macs=60)), TWO[1]]
    with pytest.raises(ConfigError, match=r'--resume: found in .*1_scale.*another|--resume: found in .*1_scale'):
        run_search(staged(tmp_path, stages=other, resume=True))
    with pytest.raises(ConfigError, match='--resume: found the checkpoint'):
        run_search(staged(tmp_path, resume=True, load_from=str(tmp_path / '1_scale/epoch_1.pth')))


def test_a_new_search_leaves_the_old_one_aside(tmp_path, spy):
    """Rejects a second run whose later stage resumes from the first run's checkpoint."""
    run_search(staged(tmp_path))
    kept = (tmp_path / '2_width/finished.json').read_bytes()
    spy.die_at = ('1_scale', 3)
    with pytest.raises(KeyboardInterrupt):
        run_search(staged(tmp_path, randomness=dict(seed=5)))
    assert (tmp_path / '2_width-1/finished.json').read_bytes() == kept
    assert not (tmp_path / '2_width').exists() and (tmp_path / 'search-1/stages.json').is_file()


def test_a_stage_run_alone_is_that_of_the_whole_search(whole, tmp_path, spy):
    """Rejects a stage config that depends on what ran before it in the process; both folders may be named."""
    first, second = tmp_path / 'first', tmp_path / 'second'
    run_search(staged(first, stages=TWO[:1]))
    for previous in (first, whole('parsec') / '1_scale'):
        run_search(staged(second, stages=[dict(TWO[1], previous=str(previous))]))
        assert same(search_files(whole('parsec') / '2_width'), search_files(second / '1_width'))


# ---------------------------------------------------------------- what is said
def test_entropies_and_sizes_are_kept_and_printed(tmp_path, spy):
    """Rejects the entropy of the first epoch, a mean over choices, the size of the whole space, the results of another
    stage than the last for those of the search, and a table that keeps the latency of one that has it to itself."""
    found = run_search(staged(tmp_path, stages=[dict(TWO[0], note='paper: 8e24'), TWO[1]]))
    data = json.loads((tmp_path / 'search/stages.json').read_text())
    ends = []
    for folder in ('1_scale', '2_width'):
        lines = [json.loads(line) for line in (tmp_path / folder / 'search/history.jsonl').read_text().splitlines()]
        ends.append([line['entropy'] for line in lines if line['kind'] == 'epoch'][-1])
    assert [stage['entropy'] for stage in data['stages']] == pytest.approx(ends, abs=1e-12) and ends[0] != ends[1]
    assert data['entropy_total'] == pytest.approx(sum(ends)) and data['entropy_mean'] == pytest.approx(sum(ends) / 2)
    assert [stage['size'] for stage in data['stages']] == [3, 3]
    for name in ('arch.json', 'space.json', 'history.jsonl', 'extracted.py'):
        assert (tmp_path / 'search' / name).read_bytes() == (tmp_path / '2_width/search' / name).read_bytes()
    text = '\n'.join(stage_table(found['stages']))
    assert 'paper: 8e24' in text and f'{sum(ends):.2f} nats in all, {sum(ends) / 2:.2f} a stage' in text
    timed = '\n'.join(stage_table([{**found['stages'][0], 'latency_ms': 7.25}, found['stages'][1]]))
    assert 'found ms' in timed and ' 7.25 ' in timed and 'found ms' not in text


def test_a_method_without_entropy_has_none(tmp_path, spy):
    """Rejects a zero in the place of nothing: it would read as a search that is sure."""
    found = run_search(staged(tmp_path, 'uniform'))
    data = json.loads((tmp_path / 'search/stages.json').read_text())
    assert data['entropy_total'] is None and data['stages'][0]['entropy'] is None
    assert '- nats in all' in '\n'.join(stage_table(found['stages']))


def test_dry_run_goes_through_all_stages(tmp_path, spy):
    """Rejects a dry run of the first stage alone, one that leaves something where the search will write, and one that
    goes on from what two steps have chosen, which may cost more than the next stage's target."""
    said = dry_search(staged(tmp_path))
    assert list(said) == ['search (scale)', 'search (width)']
    assert [plan['epochs'] for plan in said.values()] == [2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ['dry_run']
    assert not torch.equal(spy.begun[1][2]['backbone.weight'][:3], spy.begun[0][2]['backbone.weight'])
    swapped = [dict(name='width', opens=['width'], fixes=dict(scale=1.0)), dict(name='scale', opens=['scale'])]
    dry_search(staged(tmp_path, stages=swapped))
    (left,) = tmp_path.rglob('1_width/finished.json')
    assert json.loads(left.read_text())['chosen'] == {'width': 2}


# ---------------------------------------------------------------- bad input
BAD = {
    'no list': (dict(name='a'), r'stages: found'),
    'no stage': ([], r'stages: found \[\]'),
    'unknown key': ([dict(name='a', open=['*'])], r"stages\[0\]: found the unknown key 'open'.*mean 'opens'"),
    'no name': ([dict(opens=['*'])], r'stages\[0\]\.name: found None'),
    'a path as name': ([dict(name='../a', opens=['*'])], r'stages\[0\]\.name'),
    'name twice': ([TWO[0], dict(TWO[1], name='scale')], r"stages\[1\]\.name: found 'scale' twice"),
    'opens nothing': ([dict(name='a', opens=[])], r'stages\[0\]\.opens: found \[\]'),
    'opens a string': ([dict(name='a', opens='width')], r"stages\[0\]\.opens: found 'width'"),
    'fits nothing': ([dict(name='a', opens=['*.kernel'])], r"stages\[0\]\.opens: the pattern '\*\.kernel' fits none"),
    'fixed in the stage': ([dict(name='a', opens=['width'], fixes={'*': 3})], r'opens: the pattern .* that are fixed'),
    'opened twice': ([TWO[0], dict(TWO[1], opens=['*'])], r"stages\[1\]\.opens: found 'scale', which an earlier stage"),
    'fixes what is chosen': ([TWO[0], dict(TWO[1], fixes={'scale': 1.0})], r"stages\[1\]\.fixes: found 'scale'"),
    'no value': ([dict(name='a', opens=['scale'])], r"stages\[0\]: found no value for 'width'.*opens, or .*fixes"),
    'no such value': ([dict(TWO[0], fixes={'width': 4})], r"choice 'width': found 4"),
    'epochs': ([dict(TWO[0], epochs=0), TWO[1]], r'stages\[0\]\.epochs: found 0'),
    'no rate to set': ([dict(TWO[0], arch_lr=0.1, cfg_options={})], r'stages\[0\]\.arch_lr: found 0\.1, but no'),
    'previous in the middle': ([TWO[0], dict(TWO[1], previous='x')], r'stages\[1\]\.previous'),
    'start of what is not new': ([TWO[0], dict(TWO[1], start={'width': 2})], r'stages\[1\]\.start: .* new in this'),
    'target of the first': ([dict(TWO[0], budget=dict(macs=35)), TWO[1]], r"stages\[0\] \('scale', 1 .*reachable.* 36"),
    'target of a later one': ([TWO[0], dict(TWO[1], budget=dict(macs=28))], r"stages\[1\] \('width'.*range 29 to 50"),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD)
def test_bad_stages_are_refused_before_any_work(case, tmp_path, spy):
    """Rejects finding out after the first stage's days that the second cannot begin."""
    stages, message = BAD[case]
    cfg = staged(tmp_path / 'w')
    cfg.stages = stages
    if case == 'no rate to set':
        del cfg.custom_hooks[0]['arch_optimizer']
    if case == 'no stage':  # an empty list is no staged search for `if`
        from mmnas_video.search import read_stages

        with pytest.raises(ConfigError, match=message):
            read_stages(cfg)
        return
    with pytest.raises(ConfigError, match=message):
        run_search(cfg)
    assert not spy.begun and not (tmp_path / 'w').exists()


def test_a_previous_stage_that_cannot_be_used_is_refused(tmp_path, spy):
    """Rejects going on from nothing: missing, unfinished, broken, of another space, or already beyond the target."""
    run_search(staged(tmp_path / 'whole', stages=TWO[:1]))
    spy.begun = []

    def refused(match, folder, **changes):
        stages = [dict(TWO[1], previous=str(folder), **changes)]
        with pytest.raises(ConfigError, match=match):
            run_search(staged(tmp_path / 'next', stages=stages))
        assert not spy.begun

    good = tmp_path / 'whole/1_scale'
    refused(r'stages\[0\]\.previous: found no search in .*nowhere', tmp_path / 'nowhere')
    unfinished = shutil.copytree(good, tmp_path / 'unfinished')
    (unfinished / 'finished.json').unlink()
    refused(r'stages\[0\]\.previous: found a search that is not finished', unfinished)
    bare = shutil.copytree(good, tmp_path / 'bare')
    (bare / 'weights.pth').unlink()
    refused(r'no weights\.pth', bare)
    broken = shutil.copytree(good, tmp_path / 'broken')
    (broken / 'finished.json').write_text('{')
    refused(r'stages\[0\]\.previous: cannot use', broken)
    other = shutil.copytree(good, tmp_path / 'other')
    data = json.loads((other / 'finished.json').read_text())
    data['arch'] = {'scale': 4.0, 'width': 3}
    (other / 'finished.json').write_text(json.dumps(data))
    refused(r"stages\[0\]\.previous: found in .* a stage of another space \('toy', with 'scale' = 4\.0\)", other)
    data['arch'] = {'depth': 1}
    (other / 'finished.json').write_text(json.dumps(data))
    refused(r"of another space .*'depth'", other)
    refused(r"stages\[0\] \('width'.*reachable range 29 to 50", good, budget=dict(macs=20))
