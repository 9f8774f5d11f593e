"""Unsampled slices over an optimiser step."""

import pytest
import torch

from mmnas_video.models.backbones import SuperViT
from mmnas_video.search.freeze import frozen_unsampled
from mmnas_video.space import Arch

from .toy import ToyBackbone, prepared

NARROW = Arch({'scale': 1.0, 'width': 2})
OPTIMISERS = {
    'sgd': lambda p: torch.optim.SGD(p, lr=0.6, momentum=0.9, weight_decay=5e-2),
    'adamw': lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    # As VIM-NAS's configs have it: all of its entries are written by one kernel.
    'fused adamw': lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, fused=True),
}


def step(model, optimizer, arch, frozen):
    """One step at ``arch``; returns weight and buffers."""
    with model.use(arch):
        model(
            torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        ).square().sum().backward()
    if frozen:
        with frozen_unsampled(model, [arch], optimizer):
            optimizer.step()
    else:
        optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize('name', OPTIMISERS)
@pytest.mark.parametrize('warm', [False, True])
def test_bit_identical(name, warm):
    """Weight and every buffer of the unsampled rows stay bit-identical, the sampled rows move as without freezing.
    Rejects masking the gradient alone: a zero gradient is moved by momentum and decay (shown below)."""
    results = {}
    for frozen in (True, False):
        model = ToyBackbone()
        optimizer = OPTIMISERS[name]([model.weight])
        if warm:  # buffers exist and are not zero
            step(model, optimizer, model.space.largest, False)
        buffers = {
            k: v.clone() for k, v in optimizer.state[model.weight].items() if v is not None and v.shape == (5, 7)
        }
        before = model.weight.detach().clone()
        step(model, optimizer, NARROW, frozen)
        after = {k: v for k, v in optimizer.state[model.weight].items() if v is not None and v.shape == (5, 7)}
        results[frozen] = model.weight.detach().clone()
        if frozen:
            assert torch.equal(results[True][2:], before[2:])
            for key, value in after.items():
                assert torch.equal(value[2:], buffers[key][2:] if key in buffers else torch.zeros_like(value[2:]))
    assert torch.equal(results[True][:2], results[False][:2])
    assert (results[False][2:] - before[2:]).abs().max() > 1e-4  # the positive control


@pytest.mark.parametrize('name', OPTIMISERS)
def test_what_no_architecture_uses_is_passed_by(name):
    """Rejects a gradient of zero that is left to the optimiser, whose decay would move the parameter."""
    model = ToyBackbone()
    model.spare = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    model.spare.grad = torch.zeros_like(model.spare)
    optimizer = OPTIMISERS[name]([model.weight, model.spare])
    step(model, optimizer, NARROW, True)
    assert model.spare.tolist() == [1, 1, 1] and not optimizer.state.get(model.spare)


def test_a_head_reads_the_columns_of_every_sampled_width():
    """Decay moves what any of two networks fills of 13 output channels, 7 and 11, and nothing beside. Rejects the
    columns of the first of them alone, and those of all."""
    table = dict(embed_dims=(7, 11, 13), depths=(1,), heads=(2,), qkv_dims=(6,), mlp_ratios=(1.5,))
    model = torch.nn.Module()
    model.backbone, model.head = SuperViT(table, [dict(kernels=('1x2x3',), strides=('1x2x3',))]), torch.nn.Linear(13, 3)
    archs = [{**model.backbone.space.smallest, 'embed_dim': width} for width in (7, 11)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    model.head.weight.grad, before = torch.zeros(3, 13), model.head.weight.detach().clone()
    with frozen_unsampled(model.backbone, archs, optimizer, model):
        optimizer.step()
    assert (model.head.weight.detach() != before).all(0).tolist() == [True] * 11 + [False] * 2
    assert torch.equal(model.head.weight.detach()[:, 11:], before[:, 11:])


def test_used_by_the_hook_over_all_sampled_architectures(monkeypatch):
    """With accumulation, what any architecture of the window sampled may move; the rest may not."""
    made, hook = prepared(
        dict(type='UniformSearchHook', freeze_unsampled=True),
        optim_wrapper=dict(
            type='OptimWrapper',
            accumulative_counts=2,
            optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1),
        ),
    )
    drawn = iter([NARROW, NARROW.replace({'width': 3})] * 2)
    monkeypatch.setattr(hook.space, 'sample', lambda rng: next(drawn))
    batch = next(iter(made.train_dataloader))
    before = made.model.backbone.weight.detach().clone()
    for _ in range(4):
        made.model.train_step(batch, made.optim_wrapper)
    after = made.model.backbone.weight.detach()
    assert torch.equal(after[3:], before[3:])
    assert (after[:3] != before[:3]).all()
