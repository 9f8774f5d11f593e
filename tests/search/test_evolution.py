"""EvolutionSearchHook: generations in MMEngine's own loop, with the weights of a supernet that stays as it is."""

import itertools
import json
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmnas_video.cost import Cost
from mmnas_video.errors import ConfigError
from mmnas_video.search import EvolutionSearchHook, use_checkpoint
from mmnas_video.search.candidates import CandidateScorer
from mmnas_video.search.clock import ForwardClock
from mmnas_video.search.population import Candidate, EvolutionOptions
from mmnas_video.space import Arch, Choice, SearchSpace, read_arch_file

from .toy import SPACE, ToyPreprocessor, ToyRecognizer, checkpoint, config, loader, prepared

EVERY = [Arch(dict(zip(SPACE.names, v, strict=True))) for v in itertools.product(*(c.values for c in SPACE))]


class Killed(Exception):
    """Stands in for a kill."""


class Killer(Hook):
    """Ends the run before a generation."""

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            raise Killed


@pytest.fixture
def supernet(tmp_path):
    """Checkpoint of a supernet in which nothing has its default."""
    model = ToyRecognizer(dict(type='ToyBackbone'), ToyPreprocessor())
    generator = torch.Generator().manual_seed(5)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2, 1.7, generator=generator) if tensor.ndim == 1 else tensor.normal_(generator=generator)
    file = tmp_path / 'supernet.pth'
    torch.save({'state_dict': model.state_dict()}, file)
    return str(file)


def evolution(checkpoint, **changes):
    """Config of the hook: 2 new networks of 9 in a generation."""
    hook = dict(type='EvolutionSearchHook', population=2, top_k=2, mutation={'*': 0.5}, eval_batches=4)
    return {**hook, 'checkpoint': checkpoint, **changes}


def run(hook, folder, generations=4, kill_at=None, resume=False, **changes):
    """A whole evolution, one generation an epoch; returns the runner."""
    cfg = config(hook, epochs=generations, work_dir=str(folder), resume=resume, log_level='INFO', **changes)
    cfg.train_dataloader.num_batch_per_epoch = 1
    cfg.experiment_name = f'{folder.parent.name}-{folder.name}-{resume}'
    runner = Runner.from_cfg(cfg)
    if kill_at is not None:
        runner.register_hook(Killer(kill_at), priority='HIGHEST')
        with pytest.raises(Killed):
            runner.train()
    else:
        runner.train()
    return runner


def history(folder, kind='candidate'):
    lines = [json.loads(line) for line in (folder / 'search/history.jsonl').read_text().splitlines()]
    return [line for line in lines if line['kind'] == kind]


def test_the_supernets_weights_are_scored_and_stay(supernet, tmp_path):
    """Rejects an optimiser step, statistics of a candidate that stay in the supernet, scores of the weights as they
    were initialised, and a training batch that is run."""
    runner = run(evolution(supernet), tmp_path / 'w')
    expected = torch.load(supernet, weights_only=True)['state_dict']
    assert all(torch.equal(value, expected[name]) for name, value in runner.model.state_dict().items())
    saved = torch.load(tmp_path / 'w/epoch_4.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, expected[name]) for name, value in saved.items())
    _, hook = prepared(evolution(supernet))
    score = CandidateScorer(hook, 4)
    for line in history(tmp_path / 'w'):
        assert line['score'] == score(SPACE.decode(line['arch']))
    _, initial = prepared(evolution(checkpoint()))
    untrained = CandidateScorer(initial, 4)
    assert [untrained(SPACE.decode(line['arch'])) for line in history(tmp_path / 'w')] != [
        line['score'] for line in history(tmp_path / 'w')
    ]


def test_each_network_is_scored_once_and_the_best_is_named(supernet, tmp_path, monkeypatch):
    """Rejects candidates that are scored again in a later generation, an arch.json of the last generation's best, and
    a history that leaves candidates out; a space that is used up ends in generations without candidates."""
    asked = []
    plain = CandidateScorer._sums
    monkeypatch.setattr(
        CandidateScorer, '_sums', lambda self, arch, data: asked.append(arch) or plain(self, arch, data)
    )
    run(evolution(supernet), tmp_path / 'w', generations=7)
    lines = history(tmp_path / 'w')
    assert len(asked) == 9 == len(set(asked)) and [SPACE.decode(line['arch']) for line in lines] == asked
    assert [line['generation'] for line in lines] == [1, 1, 2, 2, 3, 3, 4, 4, 5]
    best = max(lines, key=lambda line: (line['score'], -line['macs']))
    found = json.loads((tmp_path / 'w/search/arch.json').read_text())
    assert list(SPACE.encode(found['arch'])) == best['arch'] and found['search']['score'] == best['score']
    epochs = history(tmp_path / 'w', 'epoch')
    assert [line['candidates'] for line in epochs] == [2, 4, 6, 8, 9, 9, 9]
    so_far = [max(line['score'] for line in lines if line['generation'] <= n) for n in range(1, 8)]
    assert [line['score'] for line in epochs] == so_far


def test_one_network_by_several_names_is_one_candidate(supernet, monkeypatch):
    """Rejects candidates that are told apart by their values, where the network says that they are the same."""
    canonical = lambda self, arch: self.space.check(arch).replace({'scale': 1.0})  # noqa: E731
    monkeypatch.setattr('mmnas_video.testing.toy.ToyBackbone.canonical', canonical)
    made, hook = prepared(evolution(supernet))
    for _ in range(3):
        hook.step({}, made.optim_wrapper)
    assert sorted(found.arch['width'] for found in hook.evolution.seen.values()) == [2, 3, 5]


def test_over_budget_is_never_run(supernet, tmp_path, monkeypatch):
    """Rejects a budget that is looked at after the scoring: no forward pass of an architecture outside it."""
    run_with, forward, step = set(), ToyRecognizer.forward, EvolutionSearchHook.step

    def noting(self, *args, **kwargs):
        run_with.add(self.backbone.arch['width'])
        return forward(self, *args, **kwargs)

    def stepping(self, *args):
        with monkeypatch.context() as patch:  # not in the set-up, which counts the cost of the head in a forward pass
            patch.setattr(ToyRecognizer, 'forward', noting)
            return step(self, *args)

    monkeypatch.setattr(EvolutionSearchHook, 'step', stepping)
    run(evolution(supernet, budget=dict(macs=(30, 40))), tmp_path / 'w')
    assert run_with == {3} and {line['macs'] for line in history(tmp_path / 'w')} == {3 * 7 + 15}


@pytest.mark.parametrize('pareto', [None, 'params'])
def test_killed_and_resumed_equals_uninterrupted(supernet, tmp_path, pareto):
    """Rejects a resume with another generator, without the scores (a network would be scored again), without the
    parents, or with lines of the killed generation in the history."""
    hook = evolution(supernet, pareto=pareto, unit='choice')
    run(hook, tmp_path / 'whole')
    run(hook, tmp_path / 'killed', kill_at=2)
    run(hook, tmp_path / 'killed', resume=True)
    for name in ('history.jsonl', 'arch.json', 'space.json'):
        assert (tmp_path / 'whole/search' / name).read_bytes() == (tmp_path / 'killed/search' / name).read_bytes()
    one, two = (torch.load(tmp_path / w / 'epoch_4.pth', weights_only=True) for w in ('whole', 'killed'))
    assert one['search'] == two['search'] and len(one['search']['state']['scores']) == 8
    assert all(torch.equal(one['state_dict'][name], two['state_dict'][name]) for name in one['state_dict'])


def test_a_resume_before_the_first_checkpoint_starts_from_the_supernet(supernet, tmp_path):
    """Rejects weights as they were initialised, scored after a kill in the first generation."""
    run(evolution(supernet), tmp_path / 'w', kill_at=0)
    runner = run(evolution(supernet), tmp_path / 'w', resume=True)
    expected = torch.load(supernet, weights_only=True)['state_dict']
    assert all(torch.equal(value, expected[name]) for name, value in runner.model.state_dict().items())
    run(evolution(supernet), tmp_path / 'whole')
    assert history(tmp_path / 'w') == history(tmp_path / 'whole')
    run(evolution(supernet), tmp_path / 'v', kill_at=0)
    with pytest.raises(ConfigError, match='found no checkpoint of an evolution'):
        run(evolution(None), tmp_path / 'v', resume=True)


def test_pareto_mode_writes_the_whole_front(supernet, tmp_path):
    """Rejects the best architecture alone, members that another one beats, files that are no arch files, and some that
    an earlier front has left."""
    runner = run(evolution(supernet, population=9, pareto='macs'), tmp_path / 'w', generations=1)
    (tmp_path / 'w/search/front/99.json').write_text('of a front that had more members')
    next(h for h in runner.hooks if isinstance(h, EvolutionSearchHook)).select(runner)
    lines = history(tmp_path / 'w')
    assert len(lines) == 9
    best: dict[int, float] = {}
    for line in lines:
        best[line['macs']] = max(best.get(line['macs'], 0), line['score'])
    front = {(m, s) for m, s in best.items() if all(s > other for cheaper, other in best.items() if cheaper < m)}
    files = sorted((tmp_path / 'w/search/front').glob('*.json'))
    found = [json.loads(file.read_text()) for file in files]
    assert {(f['cost']['macs'], f['search']['score']) for f in found} == front
    assert [f['cost']['macs'] for f in found] == sorted(f['cost']['macs'] for f in found)
    assert all(SPACE.check_file(read_arch_file(file)) in SPACE for file in files)
    # From there the report knows against what its front is.
    assert json.loads((tmp_path / 'w/search/arch.json').read_text())['search']['pareto'] == 'macs'


def test_scores_by_likelihood(supernet, tmp_path):
    """Rejects an indicator that is ignored: the likelihood of the best is that of its mean loss."""
    runner = run(evolution(supernet, indicator=dict(type='Likelihood', reduction='mean')), tmp_path / 'w')
    hook = next(h for h in runner.hooks if isinstance(h, EvolutionSearchHook))
    best = hook.evolution.best
    losses = []
    with hook.inherited(best.arch), torch.no_grad():
        runner.model.eval()
        for batch in hook._scorer._batches['']:
            losses.append(float(runner.model(**hook.prepare(dict(batch)), mode='loss')['loss_cls']))
    assert best.score == pytest.approx(-sum(losses) / len(losses), abs=1e-12)


def test_the_clips_of_a_video_reach_the_held_out_pipeline(supernet):
    """Rejects a number of clips that is taken and never set: accuracy of single clips."""
    hook = evolution(supernet, indicator=dict(type='VideoAccuracy', num_clips=2))
    refuse(hook, 'found 0 SampleFrames', 'num_clips=2')


def test_the_score_of_several_datasets_is_the_mean_of_theirs(supernet):
    """Rejects the mean over clips, in which the largest dataset decides."""
    _, hook = prepared(evolution(supernet))
    score, arch = CandidateScorer(hook, 6), SPACE.largest
    (batches,) = score._batches.values()
    score._batches = {'images': batches[:1], 'videos': batches[1:]}
    apart = score.measure(arch)
    assert list(apart) == ['images', 'videos'] and apart['images'] != apart['videos']
    assert score(arch) == sum(apart.values()) / 2
    score._batches = {'': batches}
    assert score(arch) == pytest.approx((apart['images'] + 5 * apart['videos']) / 6)


@pytest.mark.parametrize('room, times', [(2**30, 4), (2 * 5 * 7 * 8 + 1, 2 + 3 * 2), (0, 3 * 4)])
def test_clips_are_prepared_once_for_all_candidates(supernet, monkeypatch, room, times):
    """Four batches (of 5 vectors of 7 float64), three candidates. Rejects clips that are normalised again for every
    candidate, some that are kept where there is no room (any more), and a score that depends on it."""
    _, hook = prepared(evolution(supernet))
    monkeypatch.setattr('mmnas_video.search.candidates.KEPT_READY', room)
    score, calls = CandidateScorer(hook, 4), []
    archs = [SPACE.largest, SPACE.smallest, SPACE.largest]
    expected = [score(arch) for arch in archs]
    prepare, score = hook.prepare, CandidateScorer(hook, 4)
    monkeypatch.setattr(hook, 'prepare', lambda batch: calls.append(1) or prepare(batch))
    assert [score(arch) for arch in archs] == expected and expected[0] != expected[1]
    assert len(calls) == times


def test_held_out_clips_count_once(supernet, capsys):
    """Rejects a second pass over a small held-out part, in which some clips would count twice: 30 clips of 7."""
    _, hook = prepared(evolution(supernet, arch_dataloader=loader(1, batch=7, sampler=False)))
    batches = CandidateScorer(hook, 99)._batches['']
    assert len(batches) == 4 and len({tuple(x.tolist()) for batch in batches for x in batch['inputs']}) == 28
    assert 'found 4 held-out batches of 7 clips, expected 99' in capsys.readouterr().out


def test_log_says_the_share_of_time_and_history_holds_no_time(supernet, tmp_path):
    """Rejects times in the history (a resume could not be compared), and a log without them."""
    run(evolution(supernet), tmp_path / 'w')
    text = ''.join(path.read_text() for path in (tmp_path / 'w').glob('*/*.log'))
    found = re.findall(
        r'Evolution\(generation\) \[(\d)\].*? ([\d.e+]+) candidates a minute, ([\d.]+)% of the time', text
    )
    assert [number for number, _, _ in found] == ['1', '2', '3', '4']
    assert all(0 < float(share) < 100 and float(rate) > 0 for _, rate, share in found)
    assert not re.search('minute|seconds|time', (tmp_path / 'w/search/history.jsonl').read_text())


def test_options_that_are_not_given():
    """Rejects those of a hook that are not its evolution's (AutoFormer's), and one batch to score on."""
    hook = EvolutionSearchHook()
    assert hook.options == EvolutionOptions() and hook.options.mutation == {'*': 0.2} and hook.eval_batches == 10


def test_the_line_of_a_generation():
    """7 candidates in half a minute. Rejects candidates a second, and a share of time in forward passes."""
    best, said = Candidate(Arch({'a': 3}), 0.5, Cost(52_345_678, 7)), []
    hook = SimpleNamespace(
        evolution=SimpleNamespace(best=best, generation=3, seen=range(1234)),
        clock=SimpleNamespace(total=30.0, overhead=0.25, restart=lambda: None),
        runner=SimpleNamespace(logger=SimpleNamespace(info=said.append)),
    )
    EvolutionSearchHook._log(hook, 7, 7)
    assert said == [
        'Evolution(generation) [3]  7 candidates, 1,234 so far  best: 0.5 at 52.35 MMACs  14 candidates a minute, '
        '25.0% of the time not in forward'
    ]


def test_forward_clock(monkeypatch):
    """Rejects a clock that counts what lies between passes, or passes outside the block."""
    now = itertools.count()
    monkeypatch.setattr('time.perf_counter', lambda: float(next(now)))
    model = torch.nn.Linear(2, 3)
    clock = ForwardClock(model)  # now 0
    model(torch.zeros(1, 2))
    with clock.watching():
        for _ in range(3):
            model(torch.zeros(1, 2))  # two readings each
        next(now)
    model(torch.zeros(1, 2))
    assert clock.forward == 3 and clock.total == 8 and not model._forward_hooks and not model._forward_pre_hooks


# ---------------------------------------------------------------------------- what cannot be used
def refuse(hook, *words, **changes):
    with pytest.raises(ConfigError) as caught:
        prepared(hook, **changes)
    assert all(word in str(caught.value) for word in words), caught.value


def test_no_checkpoint():
    """Rejects a search over random weights."""
    refuse(evolution(None), 'EvolutionSearchHook.checkpoint: found none', '--checkpoint')


def test_a_checkpoint_of_another_network_or_space(supernet, tmp_path):
    """Rejects what MMEngine would load in part, with a warning; also for ``load_from``."""
    data = torch.load(supernet, weights_only=True)
    other = tmp_path / 'other.pth'
    torch.save({'state_dict': {**data['state_dict'], 'head.weight': torch.zeros(7, 5)}}, other)
    refuse(evolution(str(other)), str(other), 'another network', 'head.weight')
    refuse(evolution(None), str(other), 'another network', load_from=str(other))
    space = SearchSpace('elsewhere', [Choice('width', (2, 3))]).identity
    torch.save({**data, 'search': {'space': space}}, other)
    refuse(evolution(str(other)), str(other), 'elsewhere', "'toy'")
    refuse(evolution(str(tmp_path / 'nowhere.pth')), 'nowhere.pth', 'no such file')


def test_load_from_is_a_supernet_too(supernet, tmp_path):
    """Rejects an error where the config already says whose weights are meant."""
    runner = run(evolution(None), tmp_path / 'w', load_from=supernet)
    expected = torch.load(supernet, weights_only=True)['state_dict']
    assert all(torch.equal(value, expected[name]) for name, value in runner.model.state_dict().items())


def test_a_load_from_that_is_not_used_is_no_mistake(supernet, tmp_path):
    """Rejects an evolution that refuses another library's file, left over in the supernet's config, though it has a
    checkpoint of its own."""
    torch.save({'state_dict': {'elsewhere': torch.zeros(3)}}, tmp_path / 'other.pth')
    runner = run(evolution(supernet), tmp_path / 'w', load_from=str(tmp_path / 'other.pth'))
    expected = torch.load(supernet, weights_only=True)['state_dict']
    assert all(torch.equal(value, expected[name]) for name, value in runner.model.state_dict().items())


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(mutation={'dept': 0.4, '*': 0.2}), ['EvolutionSearchHook.mutation', "'dept'"]),
        (dict(budget=dict(macs=3)), ['budget.macs', '3', 'reachable']),
        (dict(eval_batches=0), ['eval_batches', '0']),
        (dict(population=2, top_k=3), ['population', 'top_k']),
        (dict(no_such_option=1), ['no_such_option']),
    ],
)
def test_bad_options(supernet, changes, words):
    """Rejects what would only be met after the first generations."""
    refuse(evolution(supernet, **changes), *words)


def test_an_average_of_weights_that_stay(supernet):
    """Rejects an EMA: it would average the weights as they were initialised into what is scored."""
    hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2), ema=dict(type='EMAHook'))
    refuse(evolution(supernet), 'EMAHook', default_hooks=hooks)


def test_pareto_without_a_clip_shape(supernet):
    """Rejects a front in which every network costs nothing."""
    refuse(evolution(supernet, pareto='macs'), 'cost_shape', 'pareto', cost_shape=None)


def test_a_budget_that_no_architecture_meets(supernet):
    """Rejects an endless loop: between the costs of two widths there is nothing."""
    made, hook = prepared(evolution(supernet, budget=dict(macs=(30, 35))))
    with pytest.raises(ConfigError, match='none of 1,000 random architectures meets'):
        hook.step({}, made.optim_wrapper)


def test_use_checkpoint():
    """Rejects --checkpoint that is ignored by a search which trains its own supernet."""
    cfg = config(evolution(None))
    use_checkpoint(cfg, 'x.pth')
    assert cfg.custom_hooks[0].checkpoint == 'x.pth'
    with pytest.raises(ConfigError, match=r'--checkpoint: found .*UniformSearchHook'):
        use_checkpoint(config(dict(type='UniformSearchHook')), 'x.pth')
