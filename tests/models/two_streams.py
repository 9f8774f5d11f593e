"""Small two-stream networks with sizes that are told apart."""

import random

import torch

from mmnas_video.models.backbones import SuperTSNet

#: Three groups each (the stage without stride has two), 3 dense frames to a sparse one, all attentions at two sites.
SMALL = dict(
    sparse=dict(
        stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (2,))),
        stem_channels=7,
        out_channels=11,
        glore_nodes=(3, 5),
        nonlocal_widths=(3, 2),
    ),
    dense=dict(
        stages=(((2, 4, 2), (2, 1)), ('values', (3, 7), (1,))),
        stem_channels=5,
        out_channels=13,
        glore_nodes=(2, 3),
        nonlocal_widths=(2, 3),
    ),
    sparse_frames=2,
    dense_frames=6,
    spatial_strides=(1, 2),
    expansions=(1.5, 2.25, 3.0),
    attentions=('none', 'glore', 'nonlocal'),
    attention_sites=('s1.g2', 's2.g1'),
    se_ratio=0.5,
)
SHAPE = (3, 6, 13, 11)


def clip(shape=SHAPE, batch=2, seed=0):
    """Random clips in double precision."""
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(seed=0, **cfg):
    """The small supernet, or what ``cfg`` makes of it, in double precision."""
    torch.manual_seed(seed)
    return SuperTSNet(**{**SMALL, **cfg}).double()


def some_archs(space, number, seed=0):
    """Random architectures."""
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(number)]


def covering(space, number=4):
    """Few architectures in which every choice goes round its values, none in step with the one before."""
    return [space.decode([(k + 3 * i + i // 4) % len(c) for i, c in enumerate(space)]) for k in range(number)]
