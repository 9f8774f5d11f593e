"""Perturbation-based selection, on a table and in a network that is run."""

import itertools
import json
import math
import random

import pytest
import torch
from mmengine.runner import Runner

from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.search.candidates import CandidateScorer
from mmnas_video.search.perturbation import PerturbationSelection, argmax_arch, masked, select_by_perturbation
from mmnas_video.search.tuning import Tuning
from mmnas_video.space import Choice, SearchSpace

from ..conftest import forget_runs
from .toy import SPACE as TOY
from .toy import config, prepared, runner

SPACE = SearchSpace(
    'perturbed',
    [
        Choice('a', ('x', 'y', 'z')),
        Choice('b', (2, 3)),
        Choice('closed', (7,)),
        Choice('c', (1, 2, 3, 5, 11)),
        Choice('d', (False, True)),
    ],
)
#: What each value contributes to the score; the best of a, c and d have the smaller weights.
WORTH = {'a': (0.1, 0.9, 0.2), 'b': (0.2, 0.7), 'c': (0.0, 0.1, 0.8, 0.2, 0.1), 'd': (0.6, 0.1)}
ALPHA = {
    'a': (0.5, 0.3, 0.2),
    'b': (0.4, 0.6),
    'c': (0.3, 0.3, 0.15, 0.15, 0.1),
    'd': (0.45, 0.55),
}
BEST = {'a': 'y', 'b': 3, 'closed': 7, 'c': 3, 'd': False}


def weights():
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in ALPHA.items()}


def score(mixture):
    """A network whose accuracy is what the present values contribute, whatever their weights."""
    return sum(
        worth
        for name, values in WORTH.items()
        for worth, weight in zip(values, mixture[name], strict=True)
        if weight > 0
    )


def test_the_best_operation_with_the_smaller_alpha_is_found():
    """Rejects the largest α, and the value whose removal costs least (both give another architecture)."""
    selection = PerturbationSelection(SPACE, weights, random.Random(0))
    assert select_by_perturbation(selection, score) == BEST
    assert argmax_arch(SPACE, weights()) == {'a': 'x', 'b': 3, 'closed': 7, 'c': 1, 'd': True}


def test_of_some_choices_alone():
    """Rejects a selection that goes on after the number that it is told, or that has no value for the others."""
    selection = PerturbationSelection(SPACE, weights, random.Random(0), most=2)
    tuned = []
    found = select_by_perturbation(selection, score, tuned.append)
    first = selection.order[:2]
    assert list(selection.fixed) == first and len(tuned) == 1 and selection.current is None
    assert found == {**argmax_arch(SPACE, weights()), **{name: BEST[name] for name in first}}


def test_a_masked_value_is_gone_and_nothing_else_changes():
    """Rejects weights that are renormalised, a mask of -inf in the logits (a softmax renormalises), and a mask that
    only makes a weight small."""
    seen = []
    selection = PerturbationSelection(SPACE, weights, random.Random(1))
    selection.drops('c', lambda mixture: seen.append(mixture) or 0.0)
    for index, mixture in enumerate(seen):
        expected = [0.0 if i == index else p for i, p in enumerate(ALPHA['c'])]
        assert isinstance(mixture, Mixture) and mixture['c'].tolist() == expected
        assert all(mixture[name].tolist() == list(ALPHA[name]) for name in 'abd') and mixture['closed'].tolist() == [1]
    assert len(seen) == 5 and masked(torch.tensor([0.25, 0.75]), 1).tolist() == [0.25, 0.0]


def test_fixed_choices_are_one_hot_and_open_ones_are_asked_anew():
    """Rejects weights from before the tuning, and a choice that stays mixed after it has been fixed."""
    scale, mixtures, tuned = [1.0], [], []

    def moving():
        return {name: vector * scale[0] for name, vector in weights().items()}

    def tune(mixture):
        scale[0] *= 0.5
        tuned.append(mixture())

    selection = PerturbationSelection(SPACE, moving, random.Random(2))
    order = list(selection.order)
    select_by_perturbation(selection, lambda mixture: mixtures.append(mixture) or score(mixture), tune)
    assert len(tuned) == 3  # after each choice but the last
    first = len(SPACE[order[0]])
    after = mixtures[first]  # the first of the second choice
    assert sorted(after[order[0]].tolist()) == [0] * (first - 1) + [1]
    assert after[order[0]][SPACE[order[0]].index(BEST[order[0]])] == 1
    assert after[order[2]].tolist() == [p / 2 for p in ALPHA[order[2]]]
    assert tuned[0][order[0]].sum() == 1 and tuned[0][order[3]].tolist() == [p / 2 for p in ALPHA[order[3]]]


def test_the_order_is_seeded():
    """Rejects the order of the space, the global generator, and choices with a single value in it."""
    state = random.getstate()
    orders = [tuple(PerturbationSelection(SPACE, weights, random.Random(seed)).order) for seed in (3, 3, *range(40))]
    assert orders[0] == orders[1] and len(set(orders)) > 12 and random.getstate() == state
    assert all(sorted(order) == ['a', 'b', 'c', 'd'] for order in orders)


def test_the_report_is_plain_data_and_equals_are_broken_by_alpha():
    """Rejects the first value where all masks cost the same, and a line that the history cannot hold."""
    lines = []
    selection = PerturbationSelection(SPACE, weights, random.Random(4))
    found = select_by_perturbation(selection, lambda mixture: 0.5, report=lines.append)
    assert found == argmax_arch(SPACE, weights())
    assert json.loads(json.dumps(lines)) == lines and [line['choice'] for line in lines] == selection.order
    assert all(line['without'] == [0.5] * len(SPACE[line['choice']]) for line in lines)


def test_a_choice_that_does_nothing_any_more_is_neither_scored_nor_tuned():
    """Rejects mixtures that are run, and steps of tuning, for the layers beyond the depth that has been fixed; and one
    that still counts left out. Each of four choices is a turn, and after the last nothing is tuned."""

    def occurrence(mixture):
        return {**mixture, 'c': mixture['c'] * mixture['d'][1], 'a': mixture['a'] * mixture['d'][1]}

    scored, tuned, lines = [], [], []
    selection = PerturbationSelection(SPACE, weights, random.Random(0), occurrence=occurrence)
    selection.order = ['d', 'c', 'b', 'a']
    found = select_by_perturbation(
        selection, lambda mixture: scored.append(1) or score(mixture), tuned.append, lines.append
    )
    assert found == {**BEST, 'a': 'x', 'c': 1}  # those of the larger α: d is False
    assert (len(scored), len(tuned)) == (2 + 2, 2)
    assert [line['without'] for line in lines[1::2]] == [[None] * 5, [None] * 3]


def test_state_goes_to_plain_data_and_back():
    """Rejects a resume in another order, or that decides a fixed choice again."""
    one = PerturbationSelection(SPACE, weights, random.Random(5))
    for _ in range(2):
        one.fix_next(score)
    two = PerturbationSelection(SPACE, weights, random.Random(6))
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert two.order == one.order and two.current == one.current == one.order[2]
    scored = []
    assert select_by_perturbation(two, lambda mixture: scored.append(1) or score(mixture)) == BEST
    assert len(scored) == sum(len(SPACE[name]) for name in one.order[2:])
    with pytest.raises(ConfigError, match='all 4 choices fixed'):
        two.fix_next(score)
    with pytest.raises(ConfigError, match='resume: found a selection among 1 other choices'):
        two.load_state_dict({'order': ['elsewhere'], 'fixed': {}})


def test_a_value_without_which_nothing_is_left_or_works_is_kept():
    """Rejects a network that is run without any operation, and NaN that hides in a comparison."""
    one_hot = {**weights(), 'b': torch.tensor([1.0, 0.0], dtype=torch.float64)}
    selection = PerturbationSelection(SPACE, lambda: one_hot, random.Random(0))

    def checked(mixture):
        assert all(mixture[name].any() for name in mixture)
        return math.nan if not mixture['d'][1] else score(mixture)

    found = select_by_perturbation(selection, checked)
    assert found['b'] == 2 and found['d'] is True


def test_it_runs_on_held_out_clips_in_a_real_network():
    """Rejects scoring that leaves the mixture active, moves weights or statistics, or does not run the mixture: of the
    toy's three widths the one that sees the classes wins over the one with the largest weight."""
    made, hook = prepared(dict(type='UniformSearchHook', candidates=2, score_batches=2))
    with torch.no_grad():  # classes are the largest of the first three features; only rows 3 and 4 look at them
        made.model.backbone.weight.copy_(torch.eye(7)[[3, 4, 5, 0, 1]] - torch.eye(7)[[6, 6, 6, 2, 2]])
        made.model.head.weight.zero_()[[0, 1], [3, 4]] = 1.0
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    alpha = {'scale': torch.full((3,), 1 / 3).double(), 'width': torch.tensor([0.5, 0.3, 0.2]).double()}
    selection = PerturbationSelection(TOY, lambda: alpha, random.Random(0))
    scorer, lines = CandidateScorer(hook, 6), []
    found = select_by_perturbation(selection, scorer, report=lines.append)
    assert found['width'] == 5 and argmax_arch(TOY, alpha)['width'] == 2
    (line,) = [line for line in lines if line['choice'] == 'width']
    assert len(set(line['without'])) > 1
    assert hook.searchable.arch == TOY.largest
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())


def test_a_selection_that_is_made_again_ends_the_same(tmp_path):
    """Killed between the last checkpoint and its end, a search makes its selection again; with dropout the steps of
    tuning draw masks. Rejects masks that depend on what the process has done before."""
    hook = dict(type='DARTSSearchHook', selection='perturbation', tune_iters=2, score_batches=1)
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.3)
    ends = []
    for resume in (False, True):
        forget_runs()
        cfg = config(hook, 2, str(tmp_path), model=model)
        cfg.resume = resume
        runner = Runner.from_cfg(cfg)
        runner.train()
        ends.append(runner.model.state_dict())
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['state_dict']
    assert not torch.equal(saved['backbone.weight'], ends[0]['backbone.weight']), 'nothing was tuned'
    assert [name for name in saved if not torch.equal(ends[0][name], ends[1][name])] == []


def test_each_call_of_tuning_has_masks_of_its_own():
    """Rejects one mask for all calls, masks that depend on what was drawn before, and tuning without any in the mode
    that a validation leaves."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.5)
    made, hook = prepared(dict(type='DARTSSearchHook'), model=model)
    masks = []
    made.model.dropout.register_forward_hook(lambda module, inputs, output: masks.append(output != 0))
    for calls in (3, 1):
        tuning = Tuning(hook, made, 1)
        for _ in range(calls):
            made.model.eval()
            tuning(hook.mixture)
    assert len(masks) == 4 and torch.equal(masks[3], masks[0])
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(masks[:3], 2))


def test_tuning_uses_no_gradient_of_the_training():
    """The training was ended (by ``stop_when``, or a hook of MMEngine's) between two updates. Rejects a first step of
    tuning with what stood in the parameters."""
    ends = []
    for steps in (0, 1):
        wrapper = dict(type='OptimWrapper', accumulative_counts=4, optimizer=dict(type='SGD', lr=0.1))
        made, hook = prepared(dict(type='DARTSSearchHook'), epochs=1, optim_wrapper=wrapper)
        for batch in list(made.train_dataloader)[:steps]:
            made.model.train_step(batch, made.optim_wrapper)
        assert any(p.grad is not None for p in made.model.parameters()) == bool(steps)
        Tuning(hook, made, 2)(hook.mixture)
        assert not hook._pending
        ends.append([p.detach() for p in made.model.parameters()])
    assert all(map(torch.equal, *ends))


def test_a_value_that_leaves_nothing_within_the_budget_is_not_kept():
    """Rejects a selection that never asks, and one that ends where all values are over."""
    space = SearchSpace('two', [Choice('a', (1, 2, 3)), Choice('b', (5, 7))])
    weights = lambda: {'a': torch.tensor([0.2, 0.3, 0.5]), 'b': torch.tensor([0.6, 0.4])}  # noqa: E731

    def score(mixture):  # without a = 3 and without b = 7 it is lowest
        return float(mixture['a'][2] - mixture['a'][0] + mixture['b'][1])

    def selected(feasible):
        return select_by_perturbation(PerturbationSelection(space, weights, random.Random(0), feasible), score)

    free = selected(lambda fixed: True)
    assert selected(lambda fixed: fixed.get('a') != free['a'])['a'] != free['a']
    assert selected(lambda fixed: False) == free


@pytest.mark.parametrize('most', [29, 36, 50])
def test_the_budget_holds_for_what_a_search_selects(most, tmp_path):
    """The toy's widths cost 29, 36 and 50 multiply-adds. Rejects a budget that the selection does not know."""
    hook = dict(
        type='DARTSSearchHook', selection='perturbation', tune_iters=1, score_batches=2, cost_weight=0.0,
        budget=dict(macs=most),
    )  # fmt: skip
    found = set()
    for seed in range(3):
        made = runner(hook, work_dir=str(tmp_path / str(seed)), randomness=dict(seed=seed))
        made.train()
        found.add(json.loads((tmp_path / str(seed) / 'search/arch.json').read_text())['cost']['macs'])
    assert max(found) <= most
