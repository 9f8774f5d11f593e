"""One, two and three real processes (gloo) with the same batches: the same α, weights and architectures.

ranks.py runs them all at once, in one process group per number of ranks.
"""

import json

import pytest
import torch
from mmengine.hooks import EMAHook

from mmnas_video.search.ranks import running_statistics

from .forked import run_worlds
from .ranks import CASES, WORLDS
from .toy import runner

SEVERAL = WORLDS[1:]
SAME = [
    name
    for name, (_, options) in CASES.items()
    if not name.startswith(('own', 'too few')) and name not in ('statistics of each rank', 'DARTS, exact and synced')
    if 'corrupt' not in options
]
#: Forward passes of the toy's backbone in a step: those of training, and those on held-out clips.
FORWARDS = {
    'PARSEC': 3 + 3,
    'DARTS': 1 + 1,
    'DARTS of second order': 4 + 1,
    'entanglement': 4 + 1,
    'entanglement, sampled': 1 + 4,
    'uniform': 2,
    'conflict-aware': 2 + 2,
    'conflict-aware, synced': 2 + 2,
}


@pytest.fixture(scope='module')
def ends(tmp_path_factory) -> dict[int, list[dict]]:
    """Number of ranks to what each of them ended with."""
    return run_worlds('tests.search.ranks', tmp_path_factory.mktemp('ranks'), WORLDS)


def assert_close(one: dict, other: dict, tolerance: float) -> None:
    """Weights, running statistics and α."""
    assert one['weights'].keys() == other['weights'].keys()
    tensors = {**one['weights'], 'alpha': one.get('alpha')}
    for name, value in tensors.items():
        theirs = other.get('alpha') if name == 'alpha' else other['weights'][name]
        if value is not None:
            torch.testing.assert_close(theirs, value, rtol=0, atol=tolerance, msg=lambda text, n=name: f'{n}: {text}')


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
@pytest.mark.parametrize('name', SAME)
def test_several_ranks_equal_one(name, ranks, ends):
    """Rejects weights from one rank's likelihoods, unaveraged gradients, a projection before the average
    (conflict-aware), a virtual step along one rank's own gradient (second order), local weights that are each rank's
    own (distribution gap), a method that is silently skipped under DistributedDataParallel (forward passes), statistics
    of a shard, an input gradient that ignores the other ranks' part in the statistics, a stage that begins before its
    files are there, and running statistics that are rank 0's."""
    (one,), several = ends[1], ends[ranks]
    for rank in several:
        assert 'error' not in rank[name], rank[name]
        assert_close(several[0][name], rank[name], 0 if name != 'plain training' else 1e-12)
        assert_close(one[name], rank[name], 1e-7 if 'second order' in name else 1e-9)
        assert rank[name].get('arch') == one[name].get('arch')
        for ours, theirs in zip(rank[name].get('stages', ()), one[name].get('stages', ()), strict=True):
            assert {**ours, 'entropy': None} == {**theirs, 'entropy': None}
            assert ours['entropy'] == pytest.approx(theirs['entropy'], abs=1e-9)
        if name in FORWARDS:
            assert rank[name]['forwards'] == one[name]['forwards'] == [FORWARDS[name]] * len(rank[name]['forwards'])


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
def test_statistics_of_each_rank(ranks, ends):
    """Without ``sync_bn`` the ranks still agree, on another result than one rank's, and a checkpoint holds the mean of
    their statistics. Rejects a checkpoint with rank 0's, and (as the others would then mean nothing) a ``sync_bn`` that
    changes nothing."""
    name, several = 'statistics of each rank', ends[ranks]
    for rank in several:
        assert torch.equal(rank[name]['alpha'], several[0][name]['alpha'])
        assert torch.equal(rank[name]['weights']['head.weight'], several[0][name]['weights']['head.weight'])
    one = ends[1][0][name]['weights']['head.weight']
    assert float((several[0][name]['weights']['head.weight'] - one).abs().max()) > 1e-4
    own = torch.stack([rank[name]['own mean'] for rank in several])
    assert float(own.std(0).max()) > 1e-4
    torch.testing.assert_close(several[0][name]['saved']['backbone.norm.running_mean'], own.mean(0), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_averaged_weights_have_statistics_of_each_rank_too():
    """Rejects a checkpoint whose average (EMA) has the statistics of rank 0's shard alone."""
    made = runner(dict(type='UniformSearchHook'))
    average = EMAHook()
    made.register_hook(average)
    average.before_run(made)
    norms = (made.model.backbone.norm, average.ema_model.module.backbone.norm)
    expected = [id(buffer) for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    assert [id(buffer) for buffer in running_statistics(made)] == expected


def test_statistics_of_each_rank_survive_a_preemption(ends):
    """One of two ranks is told to end (SIGTERM) within an epoch. Rejects a checkpoint that has the mean of the ranks'
    statistics alone: the resumed ranks would go on with it, where the undisturbed ones have their own; ranks that
    ask each other once in a while, when SIGKILL comes first; and a checkpoint within an epoch, for the time it has
    taken, after which the ranks go on with that mean."""
    for rank in ends[2]:
        means = rank['within_epoch']
        assert means['steps'] == 8, 'told in that step'
        assert [len(means[name]) for name in ('whole', 'told', 'resumed')] == [2, 1, 1]
        assert torch.equal(means['whole'][1], means['resumed'][0])
        assert [len(means[name]) for name in ('by steps', 'killed', 'gone on')] == [2, 1, 1]
        assert torch.equal(means['by steps'][1], means['gone on'][0])
        assert all(map(torch.equal, means['whole'], means['timed']))
    one, other = (rank['within_epoch']['whole'][1] for rank in ends[2])
    assert float((one - other).abs().max()) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
def test_ranks_with_own_architectures(ranks, ends):
    """Where all ranks see the same clips, K architectures dealt out give what one rank gives with all K, at K / ranks
    forward passes each. Rejects weights that are normalised on each rank, an average in place of the sum over ranks,
    gradients that were accumulated before and are counted as often as there are ranks, and ranks that draw alike."""
    name, (one,) = 'own architectures', ends[1]
    for rank in ends[ranks]:
        assert 'error' not in rank[name], rank[name]
        assert_close(one[name], rank[name], 1e-9)
        assert rank[name]['forwards'] == [2 * 6 // ranks] * len(rank[name]['forwards'])


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
def test_own_architectures_one_a_step(ranks, ends):
    """Rejects (alternating) ranks that end with different α or weights: each trains its own architecture, and a weight
    that one of them alone has used moves on all."""
    name = 'own architectures, alternating'
    for rank in ends[ranks]:
        assert 'error' not in rank[name], rank[name]
        assert_close(ends[ranks][0][name], rank[name], 0)
        assert rank[name]['forwards'] == [1 + (step % 6 == 5) * 6 // ranks for step in range(10)]


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
@pytest.mark.parametrize('name', ['own architectures', 'one architecture'])
def test_a_loss_that_is_bad_on_another_rank(name, ranks, ends):
    """It is counted on every rank and stands in the history, which the first one writes. Rejects a loss that is NaN on
    another rank and leaves no trace, and ranks that leave out an architecture that the others train."""
    found = [rank[f'{name}, a bad loss on rank 1'] for rank in ends[ranks]]
    assert [rank.get('dropped', rank.get('error')) for rank in found] == [1] * ranks
    ((line,),) = [rank['lines'] for rank in found if 'lines' in rank]
    assert (line['step'], line['what'], len(line['archs'])) == (3, 'loss', 1)
    for rank in found:
        assert_close(found[0], rank, 0)


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('own architectures, synced', "PARSECSearchHook.rank_archs: found 'own' with sync_bn, expected 'same'"),
        (
            'DARTS, exact and synced',
            "DARTSSearchHook.hessian: found 'exact' with sync_bn, expected 'finite_difference'",
        ),
        ('another alpha on rank 1', 'rank 1: found alpha.width[2] = '),
        ('other draws on rank 1', 'rank 1: found generator of architectures = '),
    ],
)
def test_what_ranks_cannot_do_or_have_not_in_common(name, message, ranks, ends):
    """Rejects statistics that wait for ranks in other layers, torch's own error where statistics of several ranks are
    differentiated twice, a checkpoint written over two searches, an error on one rank while the others wait, and one
    that names another rank."""
    for rank in ends[ranks]:
        assert message in rank[name].get('error', 'none'), rank[name]


@pytest.mark.slow
def test_more_ranks_than_own_architectures(ends):
    """Rejects a rank without an architecture to run, which would wait for gradients of none."""
    assert 'expected at least as many' in ends[3][0]['too few own architectures']['error']
    assert 'error' not in ends[2][0]['too few own architectures']


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
def test_evolution_is_shared(ranks, ends):
    """The same history, bit for bit, with each candidate scored on one rank. Rejects ranks that all score everything,
    one that scores hardly anything, scores from a part of the clips, and scores in another order."""
    (one,), several = ends[1], ends[ranks]
    lines = [json.loads(line) for line in one['evolution']['history'].splitlines()]
    assert sum(line['kind'] == 'candidate' for line in lines) == len(one['evolution']['scored']) > 8
    assert several[0]['evolution']['history'] == one['evolution']['history']
    scored = [rank['evolution']['scored'] for rank in several]
    everything = sorted(map(str, one['evolution']['scored']))
    assert sorted(str(arch) for found in scored for arch in found) == everything
    assert max(map(len, scored)) - min(map(len, scored)) <= 3, 'one a generation'
    assert all(rank['evolution']['arch'] == one['evolution']['arch'] for rank in several)


@pytest.mark.slow
@pytest.mark.parametrize('ranks', SEVERAL)
def test_layers(ranks, ends):
    """Rejects means of means over uneven shards, a variance without the spread of the shards' means, one from sums of
    squares (of large numbers), running statistics that are not unbiased or not of the window, parameter gradients that
    are summed twice, and gradients of one rank that are averaged with nothing."""
    for rank in ends[ranks]:
        found = dict(rank['layers'])
        assert (found.pop('one rank alone'), found.pop('all'), found.pop('nobody')) == (6.0 / ranks, 3.0, 1.0)
        # Around 10,000 float32 has steps of 1e-3: 3e-4 of a deviation for each of the 150 values of a gradient's sum.
        # Sums of squares would be off by the deviation itself.
        assert found.pop('large mean, float32') < 0.1
        assert max(found.values()) < 1e-12, found
