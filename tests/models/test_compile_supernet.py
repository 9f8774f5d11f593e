"""Supernets under ``torch.compile``: a graph for each of the first few architectures, and none for a mixture."""

import copy
import gc
import random

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from mmnas_video.entangle import Mixture
from mmnas_video.entangle.masked import masked, masked_layer_norm
from mmnas_video.registry import MODELS

#: One group or layer each with all kinds of choices: to trace a network of the demos takes seconds.
STAGES = [('values', (4, 8), (1,))]
CHOICES = dict(kernels=('t1_s3', 't3_s3'), expansions=(1.5, 3.0), attentions=('none', 'glore'), attention_sites=None)
GROUPS = dict(stages=STAGES, stem_channels=4, out_channels=8, glore_nodes=(4,))
STREAM = {**GROUPS, 'stages': [('values', (4, 8), (1,)), ('values', (8,), (1,))], 'glore_nodes': (4, 4)}
TUBE = dict(kernels=('1x4x4', '1x8x8'), strides=('4x8x8',), offsets=('0x0x0',))
TABLE = dict(embed_dims=(8, 16), depths=(1,), heads=(1, 2), qkv_dims=(8,), mlp_ratios=(1.0, 2.0))
TINY: dict[str, dict] = {
    'SuperMBConv3D': dict(**GROUPS, **CHOICES, spatial_strides=(2,)),
    'SuperTSNet': dict(
        **CHOICES | dict(attentions=('none',), kernels=('t3_s3',)),
        sparse=STREAM,
        dense=STREAM,
        sparse_frames=2,
        dense_frames=4,
        spatial_strides=(2, 2),
        se_ratio=None,
    ),
    'SuperViT': dict(table=TABLE, tubes=(TUBE, TUBE | dict(kernels=('2x8x8', '4x4x4'))), clamp_offsets=True),
    'SuperP3D': dict(nodes=2, cells=1, operators=('zero', 'skip', 'conv_1'), stem_stride=2, stem_channels=4),
}
#: Of two streams only what dynamo makes of them is looked at: their blocks are those of SuperMBConv3D.
BACKENDS = {'SuperTSNet': 'eager'}
CLIP = (2, 3, 4, 16, 16)
LIMIT = 2  # compiled variants; torch's own is 8


@pytest.fixture(autouse=True)
def limit():
    """As few compiled variants as show that there is a bound, and none left from another test."""
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(recompile_limit=LIMIT):
        yield
    torch._dynamo.reset()


def build(kind: str, **changes) -> nn.Module:
    """A supernet in fp64, or a network."""
    return MODELS.build({'type': kind, **TINY[kind], **changes}).double().train()


def clip(seed: int) -> Tensor:
    return torch.randn(CLIP, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def check_alike(one: nn.Module, compiled: nn.Module, other: nn.Module, x: Tensor) -> None:
    """Output, gradients and buffers of a compiled step of ``one`` are those of the same step of ``other``."""
    found, expected = compiled(x), other(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for y in (found, expected):
        y.square().mean().backward()
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-12)
    for b, c in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(b, c, rtol=1e-10, atol=1e-12)
    one.zero_grad()
    other.zero_grad()


@pytest.mark.parametrize('kind', TINY)
def test_of_many_architectures_the_first_few_are_compiled(kind):
    """Rejects a supernet at which torch fails (it wrote into a dict while it was traced), a graph for every
    architecture, another loss, gradient or running statistic than without, and memory that grows with them."""
    one, rng, alive = build(kind), random.Random(5), []
    other, compiled = copy.deepcopy(one), torch.compile(one, backend=BACKENDS.get(kind, 'aot_eager'))
    for step in range(12):
        arch = one.space.sample(rng)
        with one.use(arch), other.use(arch):
            check_alike(one, compiled, other, clip(step))
        if step in (5, 11):
            gc.collect()
            alive.append(len(gc.get_objects()))
    assert counters['stats']['unique_graphs'] == LIMIT
    assert alive[1] <= alive[0] + 500, 'objects are left of each architecture'


@pytest.mark.parametrize('kind', TINY)
def test_a_mixture_is_run_uncompiled(kind):
    """Rejects torch's own failure in the middle of a mixture, and minutes of tracing of the masks of one."""
    one = build(kind)
    other, compiled = copy.deepcopy(one), torch.compile(one, backend='aot_eager')
    for step in range(2):
        g = torch.Generator().manual_seed(step)
        rows = {c.name: torch.randn(len(c), dtype=torch.float64, generator=g).softmax(0) for c in one.space.open}
        with one.use(Mixture(one.space, rows)), other.use(Mixture(other.space, rows)):
            check_alike(one, compiled, other, clip(step))
    assert counters['stats']['unique_graphs'] == 0


def test_masks_have_their_gradients_when_they_are_compiled():
    """Rejects an operation in place in the forward of an ``autograd.Function``, of which torch 2.11 compiles a wrong
    gradient without a word."""
    g = torch.Generator().manual_seed(0)
    drawn = {n: torch.rand(n, dtype=torch.float64, generator=g) for n in ((2, 5, 7), (5,), (7,))}

    def gradients(run) -> list[Tensor]:
        x, rows, columns = (t.clone().requires_grad_() for t in drawn.values())
        (run(x, rows, columns) * drawn[2, 5, 7]).sum().backward()
        return [x.grad, rows.grad, columns.grad]

    def both(x, rows, columns):
        return masked_layer_norm(masked(x, rows, columns), columns, 1e-5)

    found = gradients(torch.compile(both, backend='aot_eager', fullgraph=True))
    for one, other in zip(found, gradients(both), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_network_with_checkpointing_is_one_graph():
    """Rejects ``with_cp`` by a way that torch.compile does not know, and running statistics that move twice."""
    arch = build('SuperMBConv3D').space.largest
    one = build('SuperMBConv3D', arch=dict(arch), with_cp=True)
    other = copy.deepcopy(one)
    compiled = torch.compile(one, backend='aot_eager', fullgraph=True)
    for step in range(2):
        check_alike(one, compiled, other, clip(step).requires_grad_())
