"""The law of entanglement: the supernet at an architecture is the network that is extracted for it."""

import pytest
import torch

from mmnas_video.entangle import extract_state, find_searchable, kept_statistics
from mmnas_video.kernels.batch_norm_reference import ACTIVATIONS
from tests.helpers import unused_masks

SHARINGS = ('fair', 'prefix')


def clip(shape, seed=0, batch=2, dtype=torch.float64):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize('sharing', SHARINGS)
def test_eval_outputs_in_double_and_single_precision(sharing, small, close):
    """Rejects any window that forward and extraction see differently, wrapped parts in another order, other
    crops of a kernel, and statistics of other channels: smallest, largest and 50 random archs of a space
    with everything in it.
    """
    supernet, x = small.build(sharing=sharing).eval(), clip(small.shape)
    single = small.build(sharing=sharing).eval().float()
    for arch in small.some_archs(supernet.space, 50):
        with torch.no_grad(), supernet.use(arch), single.use(arch):
            expected = supernet(x)
            assert 1e-2 < expected.abs().max() < 1e3, 'an output of another size makes the tolerance mean nothing'
            assert close(small.extract(supernet, arch, sharing=sharing)(x), expected, 1e-10)
            assert close(small.extract(single, arch, sharing=sharing)(x.float()), single(x.float()), 1e-5)


@pytest.mark.parametrize('sharing', SHARINGS)
def test_a_training_step_is_the_same_too(sharing, small, close):
    """Rejects a sliced forward that is right only in eval mode: outputs, gradients of the shared weights
    (zero outside the slices) and the running statistics after the step, for smallest, largest and 12
    random archs.
    """
    supernet, x = small.build(sharing=sharing).train(), clip(small.shape)
    for arch in small.some_archs(supernet.space, 12, seed=1):
        pinned = small.extract(supernet, arch, sharing=sharing)
        supernet.zero_grad()
        with kept_statistics(supernet), supernet.use(arch):
            ours, theirs = supernet(x), pinned(x)
            assert close(ours, theirs, 1e-10)
            upstream = clip(ours.shape[1:], seed=2)
            ours.backward(upstream), theirs.backward(upstream)
            after = extract_state(supernet, arch)
        own = dict(pinned.named_parameters())
        scale = max(p.grad.abs().max() for p in own.values())
        shared = dict(supernet.named_parameters())
        for part in supernet.slices(arch):
            if part.name in own:
                grad = shared[part.name].grad
                assert torch.allclose(part(grad), own[part.name].grad, atol=1e-10 * scale), part.name
                used = torch.zeros_like(grad, dtype=torch.bool)
                part.mark(used)
                assert (grad[~used] == 0).all()
        for name, parameter in shared.items():
            assert name in own or parameter.grad is None or (parameter.grad == 0).all(), name
        for name, value in pinned.state_dict().items():
            if 'running' in name or 'tracked' in name:
                assert torch.allclose(after[name].double(), value.double(), atol=1e-10), name


@pytest.mark.parametrize(
    'cfg',
    [
        dict(stem_channels=6),  # the stem's width is one that the first group offers
        dict(fixed={'s1.g1.channels': 6}),  # one group offers less than the next
        dict(stages=(((3, 9, 3), (1, 2)), ((6, 15, 3), (2,))), spatial_strides=(1, 1)),  # two stages share widths
        dict(fixed={'*.kernel': 't3_s5', 's2.*.attention': 'glore'}),
        dict(se_ratio=None, stem_temporal_kernel=3, depth_scale=2.0),
        dict(attentions=('none',), kernels=('t1_s5', 't3_s3')),
    ],
    ids=['stem width', 'fixed width', 'no stride', 'fixed pattern', 'deep, no SE', 'no attention'],
)
def test_other_configs_obey_it(cfg, small, close):
    """Rejects a shortcut that is an identity in the pinned network and a convolution in the supernet: equal
    widths need not have equal windows where two groups offer different ones. And parts that are left over
    when a choice is fixed.
    """
    supernet, x = small.build(**cfg).eval(), clip(small.shape)
    for arch in small.some_archs(supernet.space, 25, seed=3):
        with torch.no_grad(), supernet.use(arch):
            pinned = small.extract(supernet, arch, **cfg)
            assert close(pinned(x), supernet(x), 1e-10)
            assert pinned.cost(arch, small.shape) == supernet.cost(arch, small.shape)
            assert sum(p.numel() for p in pinned.parameters()) == supernet.cost(arch, small.shape).params


@pytest.fixture
def no_dead_units(monkeypatch):
    """Every ReLU becomes a softplus: then a zero gradient means that there is no path, not that a unit is
    off.
    """
    monkeypatch.setattr(torch, 'relu', torch.nn.functional.softplus)
    monkeypatch.setitem(ACTIVATIONS, 'relu', torch.nn.functional.softplus)


def gradients(model, x) -> dict[str, torch.Tensor | None]:
    """Gradients of a random linear function of the output, in eval mode: there no bias is cancelled by a
    norm.
    """
    model.zero_grad(set_to_none=True)
    y = model(x)
    (y * clip(y.shape[1:], seed=5, batch=len(x))).sum().backward()
    return {name: p.grad for name, p in model.named_parameters()}


#: A softmax over the keys cancels what is the same for every key: of no use in any non-local block, but the
#: paper's and the host's have it.
CANCELLED = 'nonlocal_block.phi.bias'


def test_a_pinned_network_has_no_dead_parameter(small, no_dead_units):
    """Rejects leftovers of the supernet in a pinned network: every parameter gets a gradient, every entry a
    non-zero.
    """
    supernet, x = small.build(zero_init_residual=False).eval(), clip(small.shape)
    for arch in small.some_archs(supernet.space, 20, seed=4):
        for name, grad in gradients(small.extract(supernet, arch), x).items():
            assert grad is not None, name
            assert name.endswith(CANCELLED) or (grad != 0).all(), name


@pytest.mark.parametrize('sharing', SHARINGS)
def test_a_covering_set_touches_every_entry_that_some_arch_uses(sharing, small, no_dead_units):
    """Rejects parts of super-weights that no architecture reaches (a dead branch, a window that never comes),
    apart from the one kind there has to be: a shortcut's entries between two widths that always are an
    identity.
    """
    supernet, x = small.build(sharing=sharing).eval(), clip(small.shape)
    archs = small.some_archs(supernet.space, 40, seed=6)
    touched = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in supernet.named_parameters()}
    for arch in archs:
        with supernet.use(arch):
            for name, grad in gradients(supernet, x).items():
                if grad is not None:
                    touched[name] |= grad != 0
    unused = unused_masks(supernet, archs)
    assert set(unused) <= {'groups.1.blocks.0.shortcut.weight'}
    for name, mask in touched.items():
        if not name.endswith(CANCELLED):
            assert torch.equal(~mask, unused.get(name, torch.zeros_like(mask))), name


@pytest.mark.parametrize('sharing', SHARINGS)
def test_unused_masks_are_where_the_gradient_cannot_be(sharing, small, no_dead_units):
    """Rejects masks that protect an entry that is trained, or leave one to momentum that is not: few archs,
    many inputs.
    """
    supernet, x = small.build(sharing=sharing).eval(), clip(small.shape)
    archs = small.some_archs(supernet.space, 4, seed=7)
    for chosen in (archs[:1], archs[2:4], archs[3:]):
        touched = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in supernet.named_parameters()}
        for arch in chosen:
            with supernet.use(arch):
                for name, grad in gradients(supernet, x).items():
                    touched[name] |= False if grad is None else grad != 0
        unused = unused_masks(supernet, chosen)
        assert unused
        for name, mask in touched.items():
            if not name.endswith(CANCELLED):
                assert torch.equal(~mask, unused.get(name, torch.zeros_like(mask))), name


def test_slices_are_the_pinned_networks_state(small):
    """Rejects a part that is declared twice or under another name, in any arch."""
    supernet = small.build()
    assert find_searchable(supernet) == ('', supernet)
    for arch in small.some_archs(supernet.space, 10, seed=8):
        parts = list(supernet.slices(arch))
        shapes = {p.name: tuple(p(supernet.state_dict()[p.name]).shape) for p in parts}
        assert len(shapes) == len(parts)
        own = small.extract(supernet, arch).state_dict()
        assert shapes == {name: tuple(value.shape) for name, value in own.items()}
