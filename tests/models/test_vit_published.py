"""Published networks as points of SuperViT: AutoFormer's, TubeViT-B and DeiT, to the parameter."""

import pytest
import torch

from mmnas_video.cost import Cost
from mmnas_video.models.backbones import SuperViT
from mmnas_video.space import VITS

#: AutoFormer's published subnets: embedding, heads and MLP ratios, parameters (1,000 classes), and fvcore's count of
#: their multiply-adds in G. T's ratio of 3.0 is not in its own space.
AUTOFORMER = {
    'tiny': (192, '3333333333433', '7767668878787', 5_867_944, 1.487),
    'small': (384, '6657555667767', '6767888888878', 22_891_432, 5.172),
    'base': (576, '99999X99X9X99X', '77878776886867', 53_691_688, 11.708),
}


def subnet(size):
    embed, heads, ratios, *_ = AUTOFORMER[size]
    heads = [10 if h == 'X' else int(h) for h in heads]
    arch = {'depth': len(heads), 'embed_dim': embed}
    for i, (h, r) in enumerate(zip(heads, ratios, strict=True), 1):
        arch |= {f'layer{i}.heads': h, f'layer{i}.mlp_ratio': int(r) / 2}
    return arch, heads


def with_head(cost: Cost, embed: int, classes: int) -> Cost:
    return cost + Cost(embed * classes, embed * classes + classes)


@pytest.mark.parametrize('size', AUTOFORMER)
def test_autoformers_published_subnets(size):
    """Rejects any other layer, tied dimension or bias. What is missing is positions alone. Parameters: 197 learned
    positions of the embedding, and per layer four tables (keys and values, rows and columns) of 30 relative positions
    of a head of 64. Multiply-adds: per layer and head two products of 197 x 197 x 64 with them. fvcore also counts 5
    for each number that a LayerNorm is given: with that, its three printed digits."""
    arch, heads = subnet(size)
    embed, depth = arch['embed_dim'], len(heads)
    published, counted = AUTOFORMER[size][3:]
    table = VITS[f'autoformer-{size}']
    with torch.device('meta'):
        model = SuperViT(
            dict(
                embed_dims=table.embed_dims,
                depths=table.depths,
                heads=table.heads,
                mlp_ratios=(3.0, 3.5, 4.0),
                head_dim=64,
            ),
            tubes='patch16',
            pool='mean',
        )
    full = {**model.space.smallest, **arch}
    ours = with_head(model.cost(full, (3, 1, 224, 224)), embed, 1000)
    assert ours.params + 197 * embed + depth * 2 * 2 * 30 * 64 == published
    relative = sum(2 * 197 * 197 * 64 * h for h in heads)
    norms = (2 * depth + 1) * 197 * embed * 5
    assert round((ours.macs + relative + norms) / 1e9, 3) == counted


@pytest.mark.parametrize(('size', 'published'), [('tiny', 11_669_224), ('small', 34_790_440), ('base', 80_160_360)])
def test_autoformers_largest_networks(size, published):
    """Rejects supernets of another size than AutoFormer's: its super-weights with 256, 448 and 640 channels of the
    embedding, which is what its own tables say (those of the subnets end at 240, 448 and 624)."""
    embed, heads, depth = {'tiny': (256, 4, 14), 'small': (448, 7, 14), 'base': (640, 10, 16)}[size]
    table = dict(embed_dims=(embed,), depths=(depth,), heads=(heads,), mlp_ratios=(4.0,), head_dim=64)
    with torch.device('meta'):
        model = SuperViT(table, tubes='patch16')
    ours = with_head(model.cost(model.space.largest, (3, 1, 224, 224)), embed, 1000)
    assert ours.params + 197 * embed + depth * 4 * 30 * 64 == published


def test_tubevit_base():
    """Rejects another tube set, tubes with padding, and a temporal tube for images: tokens as in TubeViT's public
    port (98 + 147 + 98 + 196, not the 559 of its paper), parameters of the port to the last one. The port has one
    8x8x8 kernel for all tubes (and resizes it) where the paper and Tab. 4's 89 M have one each, 540 stored positions,
    and pools with a linear layer; ours has none of the three."""
    with torch.device('meta'):
        model = SuperViT('tubevit-base')
    arch, tokenizer = model.space.largest, model.tokenizer

    def tokens(*size):
        return [tokenizer.counts(i, model.windows.tube(i, arch), size) for i in range(4)]

    assert tokens(32, 224, 224) == [196, 98, 147, 98]
    assert sum(tokens(64, 224, 224)) == 1176 and sum(tokens(32, 256, 256)) == 704
    assert tokens(1, 224, 224) == [196, 0, 0, 0]
    ours = with_head(model.cost(arch, (3, 32, 224, 224)), 768, 400).params
    assert round(ours / 1e6) == 89
    kernels = (16 * 16 + 16 * 4 * 4 + 4 * 12 * 12) * 3 * 768
    assert ours - kernels + 540 * 768 + (768 + 1) == 86_962_577


@pytest.mark.parametrize(
    ('width', 'heads', 'published'), [(192, 3, 5_717_416), (384, 6, 22_050_664), (768, 12, 86_567_656)]
)
def test_deit(width, heads, published):
    """Rejects a ViT with other layers: DeiT-T, S and B (5.7 M, 22.1 M, 86.6 M) but for their 197 learned positions."""
    table = dict(embed_dims=(width,), depths=(12,), heads=(heads,), mlp_ratios=(4.0,), head_dim=64)
    with torch.device('meta'):
        model = SuperViT(table, tubes='patch16')
    ours = with_head(model.cost(model.space.largest, (3, 1, 224, 224)), width, 1000)
    assert ours.params + 197 * width == published
