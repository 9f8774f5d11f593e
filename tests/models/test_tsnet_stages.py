"""Auto-TSNet's three stages on small streams: each network starts as the one before."""

import random

import pytest
import torch
from torch import nn

from mmnas_video.entangle import extract_state, inherit
from mmnas_video.models.backbones import SuperTSNet
from mmnas_video.search import Pins, Stage, opened, start_values
from mmnas_video.testing.compare import randomise

CFG = dict(
    sparse_frames=2,
    dense_frames=6,
    sparse=dict(stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (2,))), stem_channels=7, out_channels=11, glore_nodes=(3, 5)),
    dense=dict(stages=(((2, 6, 2), (1, 2)), ((4, 8, 4), (2,))), stem_channels=5, out_channels=13, glore_nodes=(2, 3)),
    spatial_strides=(1, 2),
    expansions=(1.5, 2.25, 3.0),
    se_ratio=0.5,
    attention_sites=('s1.g2', 's2.g1'),
)
STAGES = (
    Stage('sparse', ('sparse.*',), {'*.attention': 'none'}),
    Stage('dense', ('dense.*', 'fusion.*'), {'dense.*.attention': 'none'}),
    Stage('attention', ('*.attention',)),
)


class Net(nn.Module):
    """Two streams and a head on both streams' features: ``(B, 3, 6, H, W)`` to ``(B, 2)``."""

    def __init__(self, features: int, **cfg) -> None:
        super().__init__()
        self.backbone, self.head = SuperTSNet(**{**CFG, **cfg}), nn.Linear(features, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x).flatten(1))


def net(seed: int, features: int, **cfg) -> Net:
    torch.manual_seed(seed)
    model = Net(features, **cfg)
    randomise(model, seed)
    return model.double().eval()


def logits(model: Net, arch) -> torch.Tensor:
    clip = torch.randn(2, 3, 6, 13, 11, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad(), model.backbone.use(arch):
        return model(clip)


@pytest.mark.parametrize('seed', range(3))
def test_three_stages(seed):
    """Rejects a sparse stream whose weights land beside its window once the dense stream's channels join its input, a
    start with a fusion switched on, a head that sees the new stream before it has learned anything, and parts that a
    stage has not opened yet but trains: dense layers in the first, attention in the second."""
    rng = random.Random(seed)
    space = net(0, 24).backbone.space
    pins, before, state, arch = Pins(), None, {}, {}
    for number, stage in enumerate(STAGES):
        streams = ('sparse',) if number == 0 else ('sparse', 'dense')
        whole = space if number else net(0, 11, streams=streams).backbone.space
        names, waiting = opened(stage, 'x', whole, pins)
        model = net(seed + 10 * number, 24 if number else 11, streams=streams, fixed={**pins.chosen, **waiting})
        parameters = [name for name, _ in model.named_parameters()]
        assert any('dense' in name for name in parameters) == (number > 0)
        assert any('glore' in name for name in parameters) == (number > 1)
        assert {choice.name for choice in model.backbone.space.open} == set(names)
        if before:
            start = start_values(stage, 'x', whole, arch)
            assert all(value == 'none' for name, value in start.items() if name.startswith('fusion') and number == 1)
            new = inherit(model, state, start, grown=set(start) != set(arch))
            assert all(name.startswith(('backbone.dense', 'backbone.fusion')) for name in new)
            assert bool(new) == (number == 1)
            torch.testing.assert_close(logits(model, start), logits(before, arch), rtol=1e-10, atol=1e-10)
            found = extract_state(model, start)
            assert all(torch.equal(found[k], v) for k, v in state.items() if not k.startswith('head.weight'))
        arch = model.backbone.space.sample(rng)
        state, before = extract_state(model, arch), model
        pins = Pins({**pins.chosen, **{name: arch[name] for name in names}}, waiting)
    assert set(pins.chosen) == {choice.name for choice in space.open}
    assert all(space[name].single for name in pins.waiting)
