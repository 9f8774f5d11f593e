"""Losses, gradients, scores and α that are no numbers, or nearly none."""

import json
import math

import pytest
import torch

from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError, RunError
from mmnas_video.search import ArchDistribution, DARTSSearchHook, Likelihood
from mmnas_video.search.finite import all_finite, clear_statistics
from mmnas_video.search.weighted import WeightedGradient, effective_sample_size
from mmnas_video.space import Arch, Choice, SearchSpace
from tests.conftest import forget_runs

from .test_amp import scaler_on_cpu  # noqa: F401 - a fixture
from .toy import SPACE, config, loader, prepared, runner

METHODS = {
    'PARSEC': dict(type='PARSECSearchHook', num_archs=2),
    'PARSEC alternating': dict(type='PARSECSearchHook', num_archs=2, mode='alternating'),
    'DARTS': dict(type='DARTSSearchHook', score_batches=1, init_std=0.5),
    'DARTS 2': dict(type='DARTSSearchHook', order=2, score_batches=1, init_std=0.5),
    'entanglement': dict(type='EntanglementSearchHook', selection='argmax', score_batches=1),
    'uniform': dict(type='UniformSearchHook', num_archs=2, candidates=2, score_batches=1),
    'conflict-aware': dict(type='ConflictAwareSearchHook', candidates=2, score_batches=1),
}


def break_loss(model, bad, value=math.nan, gradient=False):
    """Let the training loss of some architectures be no number, or only its gradient; ``bad`` takes the active one."""
    original = model.forward

    def forward(*args, **kwargs):
        out = original(*args, **kwargs)
        if kwargs.get('mode') == 'loss' and model.training and bad(model.backbone.arch):
            loss = out['loss_cls']
            if gradient:  # 0 · √0: the loss is finite, its derivative is 0 · ∞
                out['loss_cls'] = loss + (0 * loss).sqrt()
            else:
                out['loss_cls'] = loss * value
                if not math.isfinite(value):
                    model.backbone.norm.running_mean.fill_(math.nan)  # as activations that overflow leave it
        return out

    model.forward = forward


def weights(model):
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def dropped(made):
    lines = (made.work_dir + '/search/history.jsonl',)
    with open(lines[0]) as file:
        return [line for line in map(json.loads, file) if line['kind'] == 'dropped']


@pytest.mark.parametrize('gradient', [False, True], ids=['loss', 'gradient'])
@pytest.mark.parametrize('method', METHODS)
def test_a_step_without_a_number_changes_no_weight(method, gradient, tmp_path):
    """Every loss (or every gradient) of a step is NaN: weights, momentum and statistics stay, the step is counted and
    its architectures are named; the next good step is as any. Rejects an update that makes the whole supernet NaN,
    momentum that moves without a gradient, and a search that ends at its first bad batch."""
    made, hook = prepared(
        METHODS[method],
        work_dir=str(tmp_path),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)),
    )
    batches = iter(made.train_dataloader)
    made.model.train_step(next(batches), made.optim_wrapper)  # so that there is momentum
    before, broken = weights(made.model), made.model.forward
    break_loss(made.model, lambda arch: True, gradient=gradient)
    made.model.train_step(next(batches), made.optim_wrapper)
    made.model.forward = broken
    after = weights(made.model)
    for name, value in before.items():
        if not name.startswith('backbone.norm.') or name.endswith(('weight', 'bias')):
            assert torch.equal(value, after[name]), name
    assert all(value.isfinite().all() for value in after.values())
    assert hook.finite.dropped > 0 and hook.finite.in_a_row == 1
    lines = dropped(made)
    assert {line['what'] for line in lines} <= {'loss', 'gradient', 'alpha'} and {line['step'] for line in lines} == {1}
    named = [arch for line in lines for arch in line['archs']]
    assert named or method.startswith('DARTS'), 'a mixture has no architecture to name'
    assert hook.finite.dropped == sum(max(len(line['archs']), 1) for line in lines)
    made.model.train_step(next(batches), made.optim_wrapper)
    assert hook.finite.in_a_row == 0 and not torch.equal(
        weights(made.model)['backbone.weight'], after['backbone.weight']
    )


def test_a_lost_update_is_counted_like_any_other():
    """With accumulation over 2 steps, of which both are lost: the next update is that of the next two. Rejects a count
    that stands still, after which every step would be an update, with half a gradient."""
    wrapper = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.1))
    made, hook = prepared(METHODS['uniform'], optim_wrapper=wrapper)
    batches, moved, original = iter(made.train_dataloader), [], made.model.forward
    break_loss(made.model, lambda arch: True)
    for step in range(6):
        before = weights(made.model)['head.weight']
        made.model.train_step(next(batches), made.optim_wrapper)
        moved.append(not torch.equal(weights(made.model)['head.weight'], before))
        if step == 1:
            made.model.forward = original
    assert moved == [False, False, False, True, False, True] and hook.finite.dropped > 0


def test_one_bad_architecture_is_left_out_and_named(tmp_path):
    """Two are averaged, one of them is infinite: the update is that of the other. Rejects both being dropped, and a
    log of the infinite one's loss."""
    good, bad = Arch({'scale': 0.5, 'width': 3}), Arch({'scale': 2.0, 'width': 5})
    updates = []
    for broken in (False, True):
        made, hook = prepared(METHODS['uniform'], work_dir=str(tmp_path / str(broken)))
        archs = iter([good, bad])
        hook.space = type('Drawn', (), {'sample': lambda self, rng, left=archs: next(left), 'encode': SPACE.encode})()
        batch = next(iter(made.train_dataloader))
        if broken:
            break_loss(made.model, lambda arch: arch == bad, math.inf)
            logged = made.model.train_step(batch, made.optim_wrapper)
            assert logged['loss'].isfinite() and hook.finite.dropped == 1
            assert [line['archs'] for line in dropped(made)] == [[list(SPACE.encode(bad))]]
        else:
            hook.sampled_step([good], hook.prepare(batch, True), made.optim_wrapper)
        updates.append(weights(made.model)['head.weight'])
    start = prepared(METHODS['uniform'])[0].model.head.weight
    torch.testing.assert_close(updates[1] - start, (updates[0] - start) / 2)  # of a mean over two


@pytest.mark.parametrize('method', ['PARSEC', 'DARTS', 'uniform'])
def test_a_row_of_them_ends_the_search_with_its_last_good_state(method, tmp_path):
    """From the second epoch on every loss is NaN: after 4 lost updates in a row one error names the option, and epoch
    1's checkpoint stands, finite and resumable. Rejects a search that runs on for days, and one that overwrites good
    checkpoints with the lost steps' (here none is written in between)."""
    made = runner({**METHODS[method], 'max_lost_updates': 3}, work_dir=str(tmp_path), epochs=3)
    step = made.call_hook

    def begin(name, **kwargs):
        if name == 'before_train_epoch' and made.epoch == 1:
            break_loss(made.model, lambda arch: True)
        step(name, **kwargs)

    made.call_hook = begin
    with pytest.raises(RunError, match=r'no finite loss and gradient in 4 updates .*iteration 10.*max_lost_updates'):
        made.train()
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert all(value.isfinite().all() for value in saved['state_dict'].values())
    forget_runs()
    cfg = config({**METHODS[method], 'max_lost_updates': 3}, work_dir=str(tmp_path), epochs=2)
    cfg.resume = True
    type(runner(METHODS[method])).from_cfg(cfg).train()
    assert not [line for line in dropped(made) if line['step'] > 6], 'what was lost is cut off with the rest'


@pytest.mark.parametrize('method', ['PARSEC', 'DARTS', 'uniform'])
def test_what_was_dropped_is_counted_in_one_place(method):
    """Rejects a second count in the method's own state; and a checkpoint that has one, as they had, that cannot be
    gone on from, or whose count is taken from there."""
    made, hook = prepared(METHODS[method])
    hook.finite.dropped, hook.finite.in_a_row, checkpoint = 3, 2, {'meta': {'epoch': 1}}
    hook.before_save_checkpoint(made, checkpoint)
    assert 'dropped' not in {**checkpoint['search']['state'], **hook.epoch_summary()}
    checkpoint['search']['state']['dropped'], hook.finite.dropped, made._resume = 7, 0, True
    hook.finite.in_a_row = 0
    hook.after_load_checkpoint(made, checkpoint)
    assert hook.finite.dropped == 3 and hook.finite.in_a_row == 2, 'or a resume would begin to count anew'


def test_weights_that_are_no_numbers_are_not_written(tmp_path):
    """However they came to be so: the checkpoint before stands, and the error names the parameter."""
    made = runner(METHODS['PARSEC'], work_dir=str(tmp_path), epochs=3)
    step = made.call_hook

    def poison(name, **kwargs):
        if name == 'after_train_iter' and made.iter == 11:
            made.model.head.bias.data[1] = math.inf
        step(name, **kwargs)

    made.call_hook = poison
    with pytest.raises(RunError, match=r'no numbers \(head\.bias\)'):
        made.train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth']


@pytest.mark.parametrize('limit', [0, True, 1.5, None])
def test_the_limit_is_a_positive_number(limit):
    """Rejects an option that turns the check off by accident."""
    with pytest.raises(ConfigError, match='max_lost_updates: found'):
        DARTSSearchHook(max_lost_updates=limit)


# ---------------------------------------------------------------------- mixed precision
@pytest.mark.parametrize('method', ['PARSEC', 'DARTS', 'uniform'])
def test_a_gradscalers_overflow_lowers_its_factor(scaler_on_cpu, method, tmp_path):  # noqa: F811
    """A factor at which every gradient is infinite: the scaler skips the update and halves, until updates go through.
    Rejects the gradient's removal before the scaler sees it (the factor would stay, and no update ever come)."""
    made, hook = prepared(
        METHODS[method],
        work_dir=str(tmp_path),
        optim_wrapper=dict(
            type='AmpOptimWrapper', loss_scale=dict(init_scale=2.0**127), optimizer=dict(type='SGD', lr=1e-3)
        ),
        model=dict(
            type='ToyRecognizer',
            backbone=dict(type='ToyBackbone'),
            data_preprocessor=dict(type='ToyPreprocessor', dtype='float32'),
        ),
    )
    made.model.float()
    break_loss(made.model, lambda arch: True, 64.0)
    before = weights(made.model)['head.weight']
    scales = [made.optim_wrapper.loss_scaler.get_scale()]
    for _ in range(3):
        for batch in made.train_dataloader:
            made.model.train_step(batch, made.optim_wrapper)
            scales.append(made.optim_wrapper.loss_scaler.get_scale())
    after = weights(made.model)['head.weight']
    assert scales[1] == scales[0] / 2
    assert after.isfinite().all() and not torch.equal(before, after)
    assert {line['what'] for line in dropped(made)} <= {'overflow', 'alpha'} and hook.finite.dropped


def test_a_forward_pass_that_overflows_is_dropped(scaler_on_cpu, tmp_path):  # noqa: F811
    """A loss that is infinite in half precision: no update, no scaler that fails for want of a gradient ("No inf checks
    were recorded"), and the factor stays: it had no part in it."""
    made, hook = prepared(
        METHODS['uniform'],
        work_dir=str(tmp_path),
        optim_wrapper=dict(
            type='AmpOptimWrapper', dtype='bfloat16', loss_scale=512.0, optimizer=dict(type='SGD', lr=0.1, momentum=0.9)
        ),
    )
    break_loss(made.model, lambda arch: True, math.inf)
    before, scale = weights(made.model), made.optim_wrapper.loss_scaler.get_scale()
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert torch.equal(before['head.weight'], weights(made.model)['head.weight'])
    assert made.optim_wrapper.loss_scaler.get_scale() == scale and hook.finite.dropped == 2


# ---------------------------------------------------------------------- extremes that are numbers
@pytest.mark.parametrize('level', [1e6, -1e6])
def test_log_likelihoods_of_a_million(level):
    """Weights depend on differences alone. Rejects likelihoods outside log space, where all of them are 0 or
    infinite."""
    scores = [level, level - 1.0, level - 3.0]
    expected = torch.tensor([0.0, -1.0, -3.0], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(Likelihood().log_weights(scores).softmax(0), expected, rtol=1e-9, atol=0)
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    gradient = WeightedGradient([parameter])
    for k, score in enumerate(scores):
        (parameter[k] * gradient.add(score)).backward()
    torch.testing.assert_close(gradient.finish(), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize('level', [0.0, 1e6, -1e6])
def test_k_equal_likelihoods_weigh_the_same(level):
    """1 / K each, and an effective sample size of K. Rejects the first or last taking all."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    gradient = WeightedGradient([parameter])
    for _ in range(13):
        (parameter.sum() * gradient.add(level)).backward()
    used = gradient.finish()
    assert used.tolist() == pytest.approx([1 / 13] * 13) and effective_sample_size(used) == pytest.approx(13)
    assert parameter.grad.item() == pytest.approx(1)


@pytest.mark.parametrize('far', [1e3, -1e3])
def test_alpha_at_a_thousand(far):
    """Probabilities, entropy, samples, log-probabilities, gradients and mixtures stay numbers. Rejects 0 · log 0 and a
    softmax that overflows."""
    space = SearchSpace('x', [Choice('a', (2, 3, 5)), Choice('b', (7,)), Choice('c', ('u', 'v'))])
    distribution = ArchDistribution(space)
    with torch.no_grad():
        distribution.alpha[0, 1] = far
        distribution.alpha[2, 0] = -far
    probs = distribution.probs()
    assert all(math.isfinite(p) for row in probs.values() for p in row)
    assert all(sum(row) == pytest.approx(1) for row in probs.values()) and probs['b'] == [1.0]
    assert all(math.isfinite(value) and value >= 0 for value in distribution.entropies().values())
    rng = __import__('random').Random(1)
    archs = [distribution.sample(rng) for _ in range(20)]
    assert all(arch in space for arch in archs)
    assert {arch['a'] for arch in archs} == ({3} if far > 0 else {2, 5})
    log_probs = distribution.log_prob([*archs, space.smallest])
    assert log_probs.isfinite().all() and (log_probs <= 0).all()
    log_probs.sum().backward()
    assert distribution.alpha.grad.isfinite().all()
    mixture = distribution.mixture(torch.zeros(1), distribution.alpha)
    assert isinstance(mixture, Mixture) and all(mixture[c.name].isfinite().all() for c in space)


@pytest.mark.parametrize('method', METHODS)
def test_choices_of_one_value_and_a_batch_of_one(method, tmp_path):
    """A whole search in which a choice is fixed and every batch is a single sample (without BatchNorm, which has no
    variance of one). Rejects divisions by the number of values or samples minus one."""
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False, fixed={'width': 3}))
    made = runner(
        {**METHODS[method], 'arch_dataloader': loader(1, 1, sampler=False)},
        work_dir=str(tmp_path),
        epochs=1,
        model=model,
        train_dataloader=loader(0, 1, size=5),
    )
    made.train()
    hook = next(h for h in made.hooks if type(h).__name__ == METHODS[method]['type'])
    assert hook.chosen['width'] == 3 and hook.finite.dropped == 0
    assert all(value.isfinite().all() for value in made.model.state_dict().values())
    if hasattr(hook, 'distribution'):
        assert hook.distribution.probs()['width'] == [1.0] and hook.distribution.alpha[:, :1].isfinite().all()


# ---------------------------------------------------------------------- the parts
def test_all_finite_sees_every_number():
    """Rejects a sum that overflows (large finite numbers are fine), and one that misses a tensor or a half."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        big = torch.full((3, 5), torch.finfo(dtype).max, dtype=dtype)
        assert all_finite([big, -big, torch.zeros(0, dtype=dtype)]) and all_finite([])
        for bad in (math.nan, math.inf, -math.inf):
            one = torch.zeros(7, dtype=dtype)
            one[4] = bad
            assert not all_finite([big, one])
    assert all_finite([torch.arange(3)])


def test_clearing_leaves_good_statistics_alone():
    """Only entries that are no numbers begin anew. Rejects a reset of the whole layer."""
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean.copy_(torch.tensor([0.3, math.nan, -2.0]))
    norm.running_var.copy_(torch.tensor([math.inf, 0.7, 5.0]))
    clear_statistics(torch.nn.Sequential(norm))
    assert norm.running_mean.tolist() == pytest.approx([0.3, 0, -2])
    assert norm.running_var.tolist() == pytest.approx([1, 0.7, 5])
