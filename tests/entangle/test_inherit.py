"""A supernet that starts from a network: the same weights, the same outputs, and nothing else touched."""

import copy
import random

import pytest
import torch
from torch import nn

from mmnas_video.entangle import extract_state, find_searchable, inherit
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.testing.compare import randomise

TABLE = dict(
    stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (2,))),
    spatial_strides=(1, 2),
    expansions=(1.5, 2.25, 3.0),
    stem_channels=7,
    out_channels=11,
    se_ratio=0.5,
    glore_nodes=(3, 5),
)


class Net(nn.Module):
    """A backbone, and a head over its pooled features: ``(B, 3, T, H, W)`` to ``(B, 2)``."""

    def __init__(self, features: int, **backbone) -> None:
        super().__init__()
        self.backbone, self.head = SuperMBConv3D(**{**TABLE, **backbone}), nn.Linear(features, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.backbone(x).mean((2, 3, 4))
        # A head that is given features of other parts too sees them after these.
        return self.head(nn.functional.pad(y, (0, self.head.in_features - y.shape[1]), value=0.7))


def net(seed: int = 0, features: int = 11, **backbone) -> Net:
    torch.manual_seed(seed)
    model = Net(features, **backbone)
    randomise(model, seed)
    return model.double().eval()


def clip() -> torch.Tensor:
    return torch.randn(2, 3, 5, 13, 11, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def at(model: Net, arch) -> torch.Tensor:
    with torch.no_grad(), model.backbone.use(arch):
        return model(clip())


# What a stage opens, and what the next one does: kernels, then widths, then attention.
KERNELS = {'*.channels': None, '*.expansion': None, '*.attention': 'none'}


def pins(space, patterns, pick) -> dict:
    """Values for choices by pattern; None lets ``pick`` choose one."""
    return {
        name: pick(space[name].values) if value is None else value
        for pattern, value in patterns.items()
        for name in space.match({pattern: None})
    }


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('sharing', ['fair', 'prefix'])
def test_the_wider_supernet_is_the_network_before(sharing, seed):
    """Rejects weights put at the start of a wider layer and not where its window lies (fair windows wrap), a kernel
    put in a corner, statistics left behind, and windows of the middle width that ignore the expansion: for random
    widths that wait in the first stage the outputs agree exactly, and every used tensor bit for bit."""
    rng = random.Random(seed)
    space = net().backbone.space
    waiting = pins(space, KERNELS, rng.choice)
    before = net(seed, fixed=waiting, sharing=sharing)
    chosen = before.backbone.space.sample(rng)
    state = extract_state(before, chosen)
    kernels = {name: value for name, value in chosen.items() if name.endswith('kernel')}
    after = net(seed + 100, fixed={**kernels, '*.attention': 'none'}, sharing=sharing)
    assert inherit(after, state, chosen) == ()
    assert torch.equal(at(after, chosen), at(before, chosen))
    found = extract_state(after, chosen)
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def test_what_the_network_does_not_use_keeps_its_initialisation():
    """Rejects zeros, or the first supernet's other weights, in wider channels, larger kernels and attention."""
    before = net(1, fixed={'s1.*.channels': 6, 's2.*.channels': 10, '*.kernel': 't3_s3', '*.attention': 'none'})
    chosen = before.backbone.space.sample(random.Random(1))
    after = net(2)
    initial = copy.deepcopy(after.state_dict())
    inherit(after, extract_state(before, chosen), chosen)
    changed = total = 0
    used = {f'backbone.{part.name}': part for part in after.backbone.slices(chosen)}
    for name, tensor in after.state_dict().items():
        mask = torch.zeros(tensor.shape, dtype=torch.bool)
        if name in used:
            used[name].mark(mask)
        elif name.startswith('head.'):
            mask[:] = True
        assert torch.equal(tensor[~mask], initial[name][~mask]), name
        changed, total = changed + int(mask.sum()), total + mask.numel()
    assert 0.1 < changed / total < 0.6
    unused = set(initial) - set(used)
    assert any('glore' in name for name in unused), 'the test must meet parts that the network lacks altogether'


def test_training_goes_on_from_the_inherited_weights_alone():
    """Rejects tensors shared with the file's (a step would change both), and parameters without a gradient."""
    before = net(1)
    chosen = before.backbone.space.sample(random.Random(2))
    state = extract_state(before, chosen)
    kept = copy.deepcopy(state)
    after = net(2)
    inherit(after, state, chosen)
    with after.backbone.use(chosen):
        after.train()(clip()).sum().backward()
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(state[name], kept[name]) for name in state)
    assert after.head.weight.grad is not None


def test_a_head_given_more_features_computes_what_it_did():
    """Rejects new columns left at random (the network before is then not what the stage starts from), and a head whose
    classes grow silently."""
    before, after = net(1), net(2, features=17)
    chosen = before.backbone.space.sample(random.Random(3))
    state = extract_state(before, chosen)
    with pytest.raises(ConfigError, match=r'head\.weight.*\(2, 11\).*\(2, 17\)'):
        inherit(net(2, features=17), state, chosen)
    assert inherit(after, state, chosen, grown=True) == ()
    assert torch.equal(after.head.weight[:, :11], before.head.weight) and not after.head.weight[:, 11:].any()
    # The sum runs over more terms, so its rounding differs.
    torch.testing.assert_close(at(after, chosen), at(before, chosen), rtol=1e-12, atol=1e-12)
    more_classes = dict(state, **{'head.weight': state['head.weight'][:1], 'head.bias': state['head.bias'][:1]})
    with pytest.raises(ConfigError, match=r'head\.weight'):
        inherit(net(2, features=17), more_classes, chosen, grown=True)


def test_weights_that_do_not_fit_are_refused():
    """Rejects MMEngine's silence: names that are missing or left over, shapes of another width."""
    before, after = net(1), net(2)
    chosen = before.backbone.space.sample(random.Random(4))
    state = extract_state(before, chosen)
    with pytest.raises(ConfigError, match=r'1 missing .*last\.weight'):
        inherit(after, {k: v for k, v in state.items() if k != 'backbone.last.weight'}, chosen)
    with pytest.raises(ConfigError, match=r'1 without a place .*backbone\.extra'):
        inherit(after, {**state, 'backbone.extra': torch.zeros(1)}, chosen, grown=True)
    wider = chosen.replace({name: 3.0 for name in chosen if name.endswith('expansion')})
    assert wider != chosen
    with pytest.raises(ConfigError, match='found weights of shape'):
        inherit(after, state, wider)
    assert find_searchable(after)[0] == 'backbone'
