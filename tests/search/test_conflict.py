"""The sandwich with a projected gradient, as a search: one step by hand, accumulation, AMP, and joint data."""

import copy
import functools
import json
from collections import Counter

import pytest
import torch
from mmengine.config import Config
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video.datasets import close_runner_workers
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.search import ConflictAwareSearchHook
from mmnas_video.search.sandwich import sized_choices
from mmnas_video.space import Arch

from .test_entangled import BACKBONES as ENTANGLED
from .test_entangled import joint_config
from .test_matrix import BACKBONES, MODEL_CONFIGS
from .toy import SPACE, loader, prepared

HOOK = dict(type='ConflictAwareSearchHook', candidates=3, score_batches=1)
#: Without a norm, whose statistics would tell one batch from two.
PLAIN = dict(model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False)))
LARGEST, SMALLEST = Arch({'scale': 2.0, 'width': 5}), Arch({'scale': 0.5, 'width': 2})
ARCHS = [LARGEST, SMALLEST, Arch({'scale': 1.0, 'width': 3}), Arch({'scale': 0.5, 'width': 5})]


def fixed(hook, archs=ARCHS):
    """Let every step train the same architectures."""
    hook.sandwich.draw = lambda rng, num_archs: list(archs)


@functools.cache
def settled(norm=False):
    """Weights at which the mean loss of the four networks over all clips has hardly a gradient: what one of them wants,
    the others do not, so on batches many gradients are in conflict."""
    model = dict(PLAIN['model'], backbone=dict(type='ToyBackbone', norm=norm))
    made, _ = prepared(HOOK, model=model, train_dataloader=loader(0, 30))
    data = made.model.data_preprocessor(next(iter(made.train_dataloader)), True)
    optimizer = torch.optim.LBFGS(made.model.parameters(), max_iter=25)

    def closure():
        optimizer.zero_grad()
        loss = 0.0
        for arch in ARCHS:
            with made.model.backbone.use(arch):
                loss = loss + made.model(**data, mode='loss')['loss_cls'] / 4
        loss.backward()
        return loss

    optimizer.step(closure)
    return {name: value.detach().clone() for name, value in made.model.state_dict().items()}


def loss_of(model, data, arch):
    with model.backbone.use(arch):
        return model(**data, mode='loss')['loss_cls']


def gradient_of(model, data, archs):
    """Gradient of the mean over four networks of the losses of ``archs``, by plain autograd."""
    total = sum(loss_of(model, data, arch) / 4 for arch in archs)
    return torch.autograd.grad(total, list(model.parameters()))


def by_hand(model, data, per):
    """The update's direction from its definition, and how many of the tensors are in conflict."""
    supernet, others = gradient_of(model, data, ARCHS[:1]), gradient_of(model, data, ARCHS[1:])
    if per == 'network':
        flat = [torch.cat([g.flatten() for g in grads]) for grads in (supernet, others)]
        factors = [min(float(flat[0] @ flat[1]), 0) / float(flat[1] @ flat[1])] * len(supernet)
    else:
        factors = [min(float((g * o).sum()), 0) / float((o * o).sum()) for g, o in zip(supernet, others, strict=True)]
    directions = [g - f * o + o for g, o, f in zip(supernet, others, factors, strict=True)]
    return directions, sum(f < 0 for f in factors)


@pytest.mark.parametrize('per', ['parameter', 'network'])
def test_step_equals_the_projection_by_hand(per):
    """Rejects a step with the plain sum, a projection of the others' gradient, a weight that is not one in four for
    each network, and a comparison with the smallest network alone. Some batches are in conflict, some are not."""
    made, hook = prepared({**HOOK, 'per': per}, **PLAIN)
    fixed(hook)
    seen = Counter()
    for batch in made.train_dataloader:
        made.model.load_state_dict(settled())
        data = made.model.data_preprocessor(copy.deepcopy(batch), True)
        before = [p.detach().clone() for p in made.model.parameters()]
        directions, count = by_hand(made.model, data, per)
        losses = [float(loss_of(made.model, data, arch)) for arch in ARCHS]
        logged = made.model.train_step(batch, made.optim_wrapper)
        assert float(logged['loss']) == pytest.approx(losses[0], rel=1e-6)
        assert float(logged['subnet_loss']) == pytest.approx(sum(losses[1:]) / 3, rel=1e-6)
        assert float(logged['conflict']) == pytest.approx(count / 3)
        for parameter, was, direction in zip(made.model.parameters(), before, directions, strict=True):
            torch.testing.assert_close(parameter.detach(), was - 0.1 * direction, rtol=0, atol=1e-13)
        seen[count] += 1
    assert len(seen) > 1, seen


def test_without_a_conflict_it_is_the_mean_of_the_losses():
    """The step of uniform sampling on the same networks, bit for bit up to the order of sums. Rejects a projection that
    acts on gradients which agree."""
    results = []
    for projecting in (True, False):
        made, hook = prepared(HOOK, **PLAIN)
        archs = [LARGEST, LARGEST.replace({'scale': 1.0}), LARGEST.replace({'scale': 1.0})]
        fixed(hook, archs)
        batch = next(iter(made.train_dataloader))
        if projecting:
            assert float(made.model.train_step(batch, made.optim_wrapper)['conflict']) == 0
        else:
            hook.complete_gradients = lambda: None
            hook.sampled_step(archs, hook.prepare(batch, training=True), made.optim_wrapper)
        results.append([p.detach().clone() for p in made.model.parameters()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def weights_after(epochs, batch=10, per='parameter', **changes):
    """Weights of a short search of the same four networks; an epoch is all 30 clips. There are conflicts in it."""
    made, hook = prepared({**HOOK, 'per': per}, **{**PLAIN, 'train_dataloader': loader(0, batch), **changes})
    fixed(hook)
    made.model.load_state_dict(settled())
    seen = [
        float(made.model.train_step(data, made.optim_wrapper)['conflict'])
        for _ in range(epochs)
        for data in made.train_dataloader
    ]
    assert max(seen) > 0
    return [p.detach().clone() for p in made.model.parameters()]


def assert_close(one, other, tolerance=1e-12):
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


@pytest.mark.parametrize('per', ['parameter', 'network'])
def test_accumulation_equals_one_large_batch(per):
    """Six batches of 10 clips, updated at every third, are two of 30. Rejects a projection for each batch, a gradient
    of the supernet that an earlier batch's overwrites, and one that is left over after the update."""
    wrapper = dict(type='OptimWrapper', accumulative_counts=3, optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    whole = weights_after(2, 30, per, optim_wrapper={**wrapper, 'accumulative_counts': 1})
    assert_close(weights_after(2, 10, per, optim_wrapper=wrapper), whole)


@pytest.fixture
def scaler_on_cpu(monkeypatch):
    """MMEngine asks for a GPU before it makes an AmpOptimWrapper; the forward pass stays in float64."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda **kw: torch.amp.GradScaler('cpu', **kw))
    plain = amp_optimizer_wrapper.OptimWrapper.optim_context
    monkeypatch.setattr(amp_optimizer_wrapper.AmpOptimWrapper, 'optim_context', plain)


@pytest.mark.parametrize('accumulate', [1, 3])
def test_scaled_step_equals_unscaled(scaler_on_cpu, accumulate):
    """With clipping, which comes after the projection. Rejects a supernet's or a subnetwork's pass without the scaler's
    factor, a projection of unscaled with scaled gradients, and clipping before the sum."""
    common = dict(
        accumulative_counts=accumulate,
        clip_grad=dict(max_norm=0.5),
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
    )
    scaled = weights_after(2, optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=65536.0, **common))
    assert_close(scaled, weights_after(2, optim_wrapper=dict(type='OptimWrapper', **common)), 1e-9)


def test_unsampled_slices_stay():
    """Where not even the largest network of a step uses a slice, it stays bit-identical. Rejects a list of sampled
    architectures that lacks the supernet's or the subnetworks', and freezing without the optimiser's buffers."""
    made, hook = prepared(
        {**HOOK, 'freeze_unsampled': True},
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)),
    )
    batch = next(iter(made.train_dataloader))
    made.model.train_step(batch, made.optim_wrapper)  # buffers that are not zero
    fixed(hook, [SMALLEST.replace({'width': 3}), SMALLEST, SMALLEST])
    before = made.model.backbone.weight.detach().clone()
    made.model.train_step(batch, made.optim_wrapper)
    after = made.model.backbone.weight.detach()
    assert torch.equal(after[3:], before[3:]) and (after[:3] != before[:3]).all()


# ---------------------------------------------------------------------------- the sandwich
def test_what_a_step_trains():
    """Rejects a sandwich without one of its ends, random networks that are always the same, and ends of which one has
    the larger factor: a factor is no size."""
    made, hook = prepared({**HOOK, 'num_archs': 3})
    assert hook.sandwich.sized == ('width',)
    factors, random_ones = set(), set()
    for _ in range(5):
        for batch in made.train_dataloader:
            hook._pending = Noted()
            forwards = made.model.backbone.forwards
            made.model.train_step(batch, made.optim_wrapper)
            largest, smallest, *rest = Noted.archs
            assert made.model.backbone.forwards - forwards == 5 == 2 + len(rest)
            assert (largest['width'], smallest['width']) == (5, 2) and largest['scale'] == smallest['scale']
            factors.add(largest['scale'])
            random_ones.update(rest)
    assert factors == set(SPACE['scale'].values) and len(random_ones) == 9


class Noted(list):
    """In place of the hook's list of what has been sampled since the last update."""

    archs = ()

    def extend(self, archs):
        Noted.archs = list(archs)
        super().extend(archs)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_choices_with_a_size(backbone):
    """Depths, widths and kernels have one, in operators it is their parameters; strides and offsets of tubes, and heads
    that divide up one width, have none. Rejects the first value of all: strides at their smallest are out of reach."""
    init_default_scope('mmaction')
    cfg = Config.fromfile(MODEL_CONFIGS / BACKBONES[backbone])
    model = MODELS.build(cfg.model.backbone)
    unsized = {choice.name.split('.')[-1] for choice in model.space if not choice.single} - {
        name.split('.')[-1] for name in sized_choices(model)
    }
    assert unsized == ({'stride', 'offset', 'heads'} if backbone == 'SuperViT' else set())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(per='layer'), "ConflictAwareSearchHook.per: found 'layer', expected one of"),
        (dict(per=None), 'ConflictAwareSearchHook.per: found None'),
        (dict(distill='kl'), "ConflictAwareSearchHook.distill: found 'kl', expected True or False"),
        (dict(num_archs=0), 'ConflictAwareSearchHook.num_archs: found 0, expected a whole number from 1'),
        (dict(num_arch=2), "unknown key 'num_arch'.*Did you mean 'num_archs'"),
    ],
)
def test_bad_options(options, message):
    """Rejects options that are accepted and ignored, and a message that names the parent's."""
    with pytest.raises(ConfigError, match=message):
        ConflictAwareSearchHook(**options)


def test_a_head_that_cannot_distill_is_named_before_the_first_step():
    """Rejects a search that fails in its first step, or learns from labels all the same."""
    with pytest.raises(ConfigError, match=r'distill: found model.cls_head with the loss None, expected a head'):
        prepared({**HOOK, 'distill': True})


def test_ends_as_uniform_sampling(tmp_path):
    """Rejects a search that names the largest network at its end, or breaks its budget."""
    made, _ = prepared({**HOOK, 'budget': dict(macs=40)}, work_dir=str(tmp_path))
    made.call_hook('after_train')
    lines = [json.loads(line) for line in (tmp_path / 'search/history.jsonl').read_text().splitlines()]
    candidates = [line for line in lines if line['kind'] == 'candidate']
    assert len(candidates) == 3 and all(line['macs'] <= 40 for line in candidates)
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    assert list(SPACE.encode(found['arch'])) == max(candidates, key=lambda line: line['score'])['arch']


# ---------------------------------------------------------------------------- joint data
def test_a_run_on_joint_data(root, tmp_path):
    """SuperViT on images, scenes and motions, distilled: every step learns from the largest network's scores of its own
    head, after its dataset's loss by labels, and no other head has a gradient. Rejects labels of another dataset, and
    zeros in place of no gradient, which AdamW's decay would act on."""
    init_default_scope('mmaction')
    cfg = joint_config(root, tmp_path, {}, *ENTANGLED['SuperViT'])
    cfg.custom_hooks[-1] = {**HOOK, 'num_archs': 1, 'distill': True, 'calibration_clips': 2}
    runner = Runner.from_cfg(cfg)
    hook = next(h for h in runner.hooks if isinstance(h, ConflictAwareSearchHook))
    step, seen = hook.step, Counter()

    def watched(batch, optim_wrapper):
        task = batch['data_samples'][0].task
        heads = {
            name: [p.detach().clone() for p in head.parameters()] for name, head in hook.bare.cls_head.heads.items()
        }
        logged = step(batch, optim_wrapper)
        for name, head in hook.bare.cls_head.heads.items():
            moved = [not torch.equal(p, was) for p, was in zip(head.parameters(), heads[name], strict=True)]
            assert all(moved) if name == task else not any(moved), (task, name)
        assert set(hook.soft_labels._labels) == {f'cls_head.heads.{task}'} and f'{task}/loss_cls' in logged
        assert float(logged['subnet_loss']) > 0 <= float(logged['conflict']) <= 1
        seen[task] += 1
        return logged

    hook.step = watched
    runner.train()
    close_runner_workers(runner)
    assert set(seen) == {'image', 'scene', 'motion'} and sum(seen.values()) == len(runner.train_dataloader)
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    assert found['arch'] in hook.space
