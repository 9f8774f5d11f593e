"""What the costs of all families have in common: where their tables are kept, and what they refuse."""

import copy
import gc
import io
import random
import weakref

import pytest
import torch

from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperMBConv3D, SuperP3D, SuperViT
from tests.models.two_streams import build as two_streams

SHAPE = (3, 6, 13, 11)
CHAIN = dict(stages=(((3, 9, 3), (1, 2)),), spatial_strides=(2,), stem_channels=7, out_channels=11)
TUBE = dict(kernels=('1x2x3', '1x3x2'), strides=('2x2x3', '3x3x3'), offsets=('0x0x0', '1x0x1'))
VIT = dict(embed_dims=(7, 11), depths=(1, 2), heads=(2, 3), qkv_dims=(6, 11), mlp_ratios=(1.5, 2.5))
FAMILIES = {
    'chain': lambda **cfg: SuperMBConv3D(**CHAIN, **cfg),
    'two streams': two_streams,
    'transformer': lambda **cfg: SuperViT(table=VIT, tubes=(TUBE,), **cfg),
    'cell': lambda **cfg: SuperP3D(nodes=2, channels=3, reductions=(0,), **cfg),
}
each_family = pytest.mark.parametrize('make', FAMILIES.values(), ids=FAMILIES)


@each_family
def test_what_has_been_priced_is_sent_and_let_go(make):
    """Rejects tables that go along with a copy: no process can be sent their functions, which also keep the network
    that was copied. The copy answers as before."""
    model = make()
    arch = model.space.sample(random.Random(1))
    cost, kept = model.cost(arch, SHAPE), weakref.ref(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = copy.deepcopy(model), torch.load(file, weights_only=False)
    del model
    gc.collect()
    assert kept() is None
    assert [model.cost(arch, SHAPE) for model in copies] == [cost, cost]


@each_family
def test_tables_are_made_once_for_a_shape(make, monkeypatch):
    """Rejects tables that every question makes anew, and those of one shape for another."""
    model, made = make(), []
    make_one = model.closed_form
    monkeypatch.setattr(model, 'closed_form', lambda shape: made.append(shape) or make_one(shape))
    small, large = (model.cost(model.space.largest, shape) for shape in (SHAPE, (3, 6, 29, 31)))
    assert small.macs < large.macs and small == model.cost(model.space.largest, list(SHAPE))
    assert model.cost_range(SHAPE)['macs'][1][0] >= small.macs and made == [SHAPE, (3, 6, 29, 31)]


@each_family
def test_every_wrong_arch_is_one_clear_error(make):
    """Rejects a bare KeyError out of a table, and a price of what is not offered: of every choice a value that is none,
    and the values of the whole space where the network has one; names that are missing or too many."""
    model = make()
    space, arch = model.space, model.space.largest
    for choice in space:
        for value in ('nope', [1], None):
            with pytest.raises(ConfigError, match=f"arch: .*'{choice.name}'.*expected one of"):
                model.cost({**arch, choice.name: value}, SHAPE)
    with pytest.raises(ConfigError, match='no value for'):
        model.cost({}, SHAPE)
    with pytest.raises(ConfigError, match="unknown choice 'nosuch'"):
        model.cost({**arch, 'nosuch': 1}, SHAPE)
    with pytest.raises(ConfigError, match='found a Mixture, expected one architecture'):
        model.cost(Mixture.one_hot(space, arch), SHAPE)
    pinned = make(arch=arch)
    for choice in space.open:
        with pytest.raises(ConfigError, match=f"'{choice.name}'.*not offered"):
            pinned.cost(arch.replace({choice.name: choice.values[0]}), SHAPE)
    assert pinned.cost(arch, SHAPE) == model.cost(arch, SHAPE)


@pytest.mark.parametrize(
    ('family', 'size', 'text'),
    [
        ('chain', (1, 3, 11), 'crop size: found 3x11 pixels, expected at least 4'),
        ('two streams', (6, 13, 1), 'crop size: found 13x1 pixels, expected at least 4'),
        ('two streams', (5, 13, 11), 'clip: found 5 frames, expected 6'),
        ('transformer', (6, 1, 11), 'clip: found 6 frames of 1x11 pixels'),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_before_it_is_run(family, size, text):
    """Rejects a check that passes what the forward pass refuses: joint training loads one clip of each set for it."""
    model = FAMILIES[family]().float()
    for ask in (lambda: model.check_clip(size), lambda: model(torch.zeros(1, 3, *size))):
        with pytest.raises(ConfigError, match=text):
            ask()
    model.check_clip(SHAPE[1:])
