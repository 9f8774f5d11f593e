"""SuperViT: an independent plain ViT, the law of entanglement with its head, images and clips, and bad input."""

import random

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmnas_video.cost import RestCost, count, total_cost
from mmnas_video.entangle import copy_slices, extract_state, inherit
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperViT
from mmnas_video.models.blocks import TubeTokenizer, tube_positions
from mmnas_video.registry import MODELS
from mmnas_video.search.extraction import pinned_config
from mmnas_video.testing import check_searchable
from mmnas_video.testing.compare import randomise
from tests.helpers import some_archs

TUBES = (
    dict(kernels=('1x2x3', '1x3x2', '1x3x3'), strides=('2x2x3', '3x3x3', '2x3x2'), offsets=('0x0x0', '1x0x1', '0x1x2')),
    dict(kernels=('2x2x3', '3x5x4'), strides=('1x2x3', '2x3x2'), offsets=('0x1x0', '1x0x2')),
)
#: Every kind of choice, primes, and pairs of Q-K-V dimension and heads that do not divide.
SMALL = dict(
    table=dict(embed_dims=(7, 11, 13), depths=(1, 2, 3), heads=(2, 3, 5), qkv_dims=(6, 11, 17), mlp_ratios=(1.5, 2.5)),
    tubes=TUBES,
)
CLIP, IMAGE = (3, 5, 13, 11), (3, 1, 13, 11)


def inputs(shape, seed=0, batch=2, dtype=torch.float64):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class PlainViT(nn.Module):
    """A ViT out of torch's own modules, with given positions: nothing of it is ours."""

    def __init__(self, dim, depth, heads, hidden, patch):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, hidden, dropout=0, activation='gelu', layer_norm_eps=1e-6, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, depth, nn.LayerNorm(dim, eps=1e-6), enable_nested_tensor=False, mask_check=False
        )

    def forward(self, x, positions):
        tokens = self.patch(x).flatten(2).transpose(1, 2) + positions
        return self.encoder(torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1))[:, 0]


def copied(plain, ours):
    """The plain ViT's weights in ours."""
    state = {
        'tokenizer.cls_token': plain.cls,
        'tokenizer.tubes.0.weight': plain.patch.weight.flatten(2),
        'tokenizer.tubes.0.bias': plain.patch.bias,
        'norm.weight': plain.encoder.norm.weight,
        'norm.bias': plain.encoder.norm.bias,
    }
    for i, layer in enumerate(plain.encoder.layers):
        three, heads, dim, width = ours.layers[i].attention.qkv.weight.shape
        parts = {
            'attention_norm.': layer.norm1, 'mlp_norm.': layer.norm2, 'expand.': layer.linear1,
            'project.': layer.linear2, 'attention.proj.': layer.self_attn.out_proj,
        }  # fmt: skip
        for name, module in parts.items():
            state[f'layers.{i}.{name}weight'], state[f'layers.{i}.{name}bias'] = module.weight, module.bias
        key = f'layers.{i}.attention.'
        state[f'{key}qkv.weight'] = layer.self_attn.in_proj_weight.view(three, heads, dim, width)
        state[f'{key}qkv.bias'] = layer.self_attn.in_proj_bias.view(three, heads, dim)
        state[f'{key}proj.weight'] = layer.self_attn.out_proj.weight.view(width, heads, dim)
    return state


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_largest_arch_is_a_plain_vit(dtype):
    """Rejects any difference from ViT (norm before or after, GELU, the class token's place or position, the final
    norm, the scale): the largest arch of a supernet with one 1x16x16 tube, weights copied."""
    torch.manual_seed(0)
    table = dict(embed_dims=(24, 60), depths=(2, 3), heads=(3, 5), mlp_ratios=(1.5, 2.0), head_dim=12)
    ours = SuperViT(table, tubes='patch16').to(dtype).eval()
    plain = PlainViT(60, 3, 5, 120, 16).to(dtype).eval()
    for parameter in plain.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
    ours.load_state_dict(copied(plain, ours), strict=True)
    image = inputs((3, 48, 80), dtype=dtype)
    places = [[0], [8 + 16 * i for i in range(3)], [8 + 16 * i for i in range(5)]]
    with torch.no_grad():
        expected = plain(image, tube_positions(places, 60, image).view(15, 60))
        found = ours(image.unsqueeze(2))
        assert torch.equal(found, ours(image))  # images with and without the axis of one frame
    assert expected.abs().max() > 0.5
    assert torch.allclose(found, expected, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize(
    ('sharing', 'pool', 'shape'),
    [('prefix', 'cls', CLIP), ('fair', 'mean', CLIP), ('fair', 'cls', IMAGE)],
    ids=['prefix', 'fair, mean', 'image'],
)
def test_the_law_of_entanglement(sharing, pool, shape):
    """Rejects any window, crop, layer or tube that forward and extraction see differently, other gradients, a
    closed form that torch does not count (attention included), and channels beyond the arch's width that are
    not zero: smallest, largest and random archs."""

    def make(**cfg):
        return SuperViT(**SMALL, sharing=sharing, pool=pool, **cfg)

    check_searchable(make, inputs(shape), some_archs(make().space, 8)[2:])


@pytest.mark.parametrize(
    'cfg',
    [
        dict(qkv_rounding='ceil'),
        dict(qkv_rounding='nearest', patch_grid=(3, 4)),
        dict(fixed={'layer*.heads': 3, 'depth': 2}),
        dict(fixed={'layer2.mlp_ratio': 1.5, 'tube2.*': '1x2x3'}, tubes=(TUBES[0], {**TUBES[1], **dict(
            kernels=('1x2x3',), strides=('1x2x3',), offsets=('1x2x3', '0x0x0'))})),
        dict(clamp_offsets=True, tubes=(TUBES[0], {**TUBES[1], 'offsets': ('4x0x9', '1x8x2')})),
        dict(table={**{k: v for k, v in SMALL['table'].items() if k != 'qkv_dims'}, 'head_dim': 5}),
    ],
    ids=['ceil', 'nearest, learned', 'fixed', 'fixed in one layer', 'clamped', 'fixed head'],
)  # fmt: skip
def test_other_configs_obey_it(cfg):
    """Rejects parts left over when a choice is fixed (in every layer or in one), and a rounding or clamping that
    cost and forward see differently."""

    def make(**pinned):
        return SuperViT(**{**SMALL, **cfg, **pinned})

    check_searchable(make, inputs(CLIP), some_archs(make().space, 3, seed=4)[2:])


def recognizer(**backbone):
    return Config(
        dict(
            model=dict(
                type='Recognizer3D',
                backbone=dict(type='SuperViT', **SMALL, **backbone),
                cls_head=dict(type='TimeSformerHead', in_channels=13, num_classes=17),
                data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW'),
            )
        )
    )


@pytest.mark.parametrize('sharing', ['prefix', 'fair'])
def test_the_extracted_recognizer_has_a_narrow_head(sharing):
    """Rejects a head cut to the first columns whatever the window, one left wide (the pinned network would not
    load), a config whose in_channels stay, and a cost of the whole that counts the wide head: logits to 1e-10,
    parameters and MACs as counted."""
    init_default_scope('mmaction')
    cfg = recognizer(sharing=sharing)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    randomise(model)
    clip = inputs(CLIP).unsqueeze(1)
    archs = some_archs(model.backbone.space, 5, seed=3)
    rest = RestCost(model, model.backbone, CLIP)
    costs = [model.backbone.cost(arch, CLIP) + rest(arch) for arch in archs]
    assert costs[0] == total_cost(model, model.backbone, archs[0], CLIP)
    model = model.double().eval()
    for arch, cost in zip(archs, costs, strict=True):
        pinned_cfg = pinned_config(cfg, model, arch)
        assert pinned_cfg.model.cls_head.in_channels == arch['embed_dim'] and cfg.model.cls_head.in_channels == 13
        pinned = copy_slices(model, arch, MODELS.build(pinned_cfg.model).double()).eval()
        with torch.no_grad(), model.backbone.use(arch):
            expected = model(clip, stage='head', mode='tensor')
            found = pinned(clip, stage='head', mode='tensor')
        assert torch.allclose(found, expected, atol=1e-10, rtol=1e-10) and expected.abs().max() > 0.1
        counted, _ = count(pinned, clip[:1], forward=lambda m, x: m(x, mode='tensor', stage='head'))
        assert cost == counted
        shapes = {name: tuple(value.shape) for name, value in extract_state(model, arch).items()}
        assert shapes == {name: tuple(value.shape) for name, value in pinned.state_dict().items()}


def test_every_reader_of_the_output_is_narrowed():
    """Rejects a head beside others that is forgotten, a layer behind the first that happens to be named alike, and an
    input of the backbone that is as wide as the output."""
    model = nn.Module()
    model.backbone = SuperViT(**SMALL)
    readers = dict(a=dict(in_channels=13), b=dict(in_channels=17, parts=[dict(in_channels=13), dict(channels=13)]))
    cfg = Config(dict(model=dict(backbone=dict(in_channels=13), neck=dict(in_channels=13), cls_head=readers)))
    found = pinned_config(cfg, model, model.backbone.space.smallest).model
    assert found.backbone.in_channels == 13 and found.neck.in_channels == 7
    assert found.cls_head == dict(
        a=dict(in_channels=7), b=dict(in_channels=17, parts=[dict(in_channels=7), dict(channels=13)])
    )


def test_an_image_is_cut_by_the_first_tube_alone():
    """Rejects an image that other tubes see, one that the first tube's temporal stride or offset moves, and a
    still clip taken for an image."""
    model = SuperViT(**SMALL).double().eval()
    randomise(model)
    image = inputs(IMAGE)
    base = {**model.space.largest, 'tube1.offset': '0x0x0', 'tube1.stride': '2x2x3'}
    with model.use(base), torch.no_grad():
        expected = model(image)
        assert not torch.allclose(model(image.expand(-1, -1, 5, -1, -1)), expected)
    for change in ({'tube2.kernel': '2x2x3'}, {'tube2.offset': '0x1x0'}, {'tube2.stride': '1x2x3'}):
        with model.use({**base, **change}), torch.no_grad():
            assert torch.equal(model(image), expected)
    later = SuperViT(
        **{**SMALL, 'tubes': ({**TUBES[0], 'strides': ('5x2x3',), 'offsets': ('2x0x0',)}, TUBES[1])}
    ).double()
    later.load_state_dict(model.state_dict())
    with later.use({**base, 'tube1.stride': '5x2x3', 'tube1.offset': '2x0x0'}), torch.no_grad():
        assert torch.equal(later.eval()(image), expected)


def test_learned_positions_are_of_the_first_tube_alone():
    """Rejects learned positions of patches, resized, on the tokens of 3-D tubes too, or on the class token; and a class
    token that starts as zeros."""
    torch.manual_seed(0)
    model = SuperViT(**SMALL, patch_grid=(3, 4)).double()
    at, found = model.windows.sampled(model.space.largest), []
    for value in (0.0, 1.0):
        nn.init.constant_(model.tokenizer.patch_position, value)
        found.append(model.tokenizer(inputs(CLIP), at.embed, at.tubes).x)
    own, other = (model.tokenizer.counts(i, at.tubes[i][0].at, CLIP[1:]) for i in range(2))
    moved = (found[1] - found[0]).abs().amax((0, 2)) > 0.5
    assert moved.tolist() == [False, *[True] * own, *[False] * other] and own and other
    wide = TubeTokenizer(3, 997, [[(1, 2, 3)]])
    assert wide.cls_token.std().item() == pytest.approx(0.02, rel=0.1)


def test_the_middle_width_is_rounded_down():
    """int(embedding x ratio), as in AutoFormer. Rejects 28 for 27.5."""
    assert SuperViT(**SMALL).windows.layers[0].hidden[11, 2.5].length == 27


def test_the_mean_is_of_the_tokens_without_the_class_token():
    """Rejects the class token among those that are averaged."""
    model, seen = SuperViT(**SMALL, pool='mean').double().eval(), []
    model.norm.register_forward_hook(lambda module, args, y: seen.append(y))
    found = model(inputs(CLIP))
    assert torch.allclose(found, seen[0][:, 1:].mean(1), atol=1e-12)
    assert not torch.allclose(found, seen[0].mean(1), atol=1e-6)


def test_layers_that_are_not_run_need_not_be_offered_to_be_inherited():
    """Rejects a network of two layers that a supernet does not take over, because of what stands in its architecture
    for the third."""
    before, wide = SuperViT(**SMALL).double(), SuperViT(**SMALL, fixed={'layer3.heads': 3}).double()
    arch = {**before.space.smallest, 'depth': 2, 'layer3.heads': 5}
    assert inherit(wide, extract_state(before, arch), arch) == ()
    with before.use(arch), wide.use(wide.canonical(arch)):
        assert torch.equal(wide(inputs(CLIP)), before(inputs(CLIP)))


def test_recomputing_layers_changes_nothing():
    """Rejects a checkpointed layer that forgets its windows or draws another drop path in the backward pass."""
    found = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = SuperViT(**SMALL, with_cp=with_cp, drop_path=0.5).double().train()
        arch = model.space.sample(random.Random(2))
        torch.manual_seed(1)
        with model.use({**arch, 'depth': 3}):
            y = model(inputs(CLIP, batch=7))
        y.square().sum().backward()
        found.append([y, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_it_describes_what_its_values_leave_open():
    """Rejects a picture that must guess how wide a head is, where a tube starts, or what the head reads."""
    model = SuperViT(**SMALL, clamp_offsets=True, qkv_rounding='ceil', pool='mean')
    assert model.describe() == {'head_dim': None, 'qkv_rounding': 'ceil', 'clamp_offsets': True, 'pool': 'mean'}
    table = dict(embed_dims=(7,), depths=(2,), heads=(2, 3), mlp_ratios=(1.5,), head_dim=5)
    assert SuperViT(table, tubes=TUBES).describe() == {
        'head_dim': 5, 'qkv_rounding': 'floor', 'clamp_offsets': False, 'pool': 'cls'
    }  # fmt: skip


def test_drop_path_grows_over_the_depth_and_keeps_the_mean():
    """Rejects one rate everywhere, a rate that is not compensated, and dropping in eval mode."""
    model = SuperViT(**SMALL, drop_path=0.5).double()
    assert [layer.drop_path for layer in model.layers] == [0.0, 0.25, 0.5]
    layer, y = model.layers[2], torch.ones(20_000, 1, 1, dtype=torch.float64)
    torch.manual_seed(0)
    dropped = layer.train()._dropped(y)
    assert set(dropped.unique().tolist()) == {0.0, 2.0} and abs(dropped.mean() - 1) < 0.03
    assert layer.eval()._dropped(y) is y
    layer.drop_path, at = 1 - 1e-9, model.windows.sampled(model.space.largest).layers[2]  # both of a layer's branches
    x = inputs((3, 13))
    assert torch.equal(layer.train()(x, at), x) and not torch.equal(layer.eval()(x, at), x)


def test_canonical_archs_are_the_same_network():
    """Rejects a canonical arch with another output or cost: layers beyond the depth, and Q-K-V dimensions that
    give the same heads (11 and 11 at 5 heads are not; 6 and 7 at 2 heads are)."""
    cfg = {**SMALL, 'table': {**SMALL['table'], 'qkv_dims': (6, 7, 17)}}
    model = SuperViT(**cfg).double().eval()
    changed = 0
    for arch in some_archs(model.space, 20, seed=5):
        same = model.canonical(arch)
        changed += same != arch
        assert model.cost(same, CLIP) == model.cost(arch, CLIP)
        with torch.no_grad(), model.use(arch):
            expected = model(inputs(CLIP))
        with torch.no_grad(), model.use(same):
            assert torch.equal(model(inputs(CLIP)), expected)
    assert changed > 10


@pytest.mark.parametrize(
    ('shape', 'parts'),
    [
        ((3, 3, 13, 11), ['3 frames of 13x11', 'at least 4 frames', 'tube 2', 'clamp_offsets']),
        ((3, 5, 5, 11), ['at least 6 rows', 'tube 2']),
        ((3, 5, 13, 5), ['at least 6 columns', 'tube 2', 'has 4', 'as late as at 2']),
        ((3, 1, 3, 11), ['at least 4 rows', 'tube 1']),
        ((3, 1, 13, 4), ['at least 5 columns', 'tube 1', 'backbone.tubes']),
    ],
)
def test_a_clip_too_small_for_the_largest_tube(shape, parts):
    """Rejects an error from the convolution, one that depends on the arch that is active (it would come in the
    middle of a search), and one that does not say which tube and what is needed."""
    model = SuperViT(**SMALL)
    for call in (lambda: model(torch.zeros(1, *shape)), lambda: model.cost(model.space.smallest, shape)):
        with model.use(model.space.smallest), pytest.raises(ConfigError) as error:
            call()
        for part in parts:
            assert part in str(error.value)


def test_clamped_offsets_need_the_kernel_only():
    """Rejects clamping that is not asked, and a clip shorter than the kernel that passes."""
    clamped = SuperViT(**SMALL, clamp_offsets=True)
    assert clamped(torch.zeros(1, 3, 3, 5, 4)).shape == (1, 13)
    with pytest.raises(ConfigError, match=r'at least 3 frames: the largest kernel of tube 2 has 3 and .* at 0'):
        clamped(torch.zeros(1, 3, 2, 5, 4))


@pytest.mark.parametrize(
    ('cfg', 'parts'),
    [
        (dict(pool='avg'), ['backbone.pool', "'avg'", "'mean'"]),
        (dict(qkv_rounding='round'), ['backbone.qkv_rounding', "'round'", "'nearest'"]),
        (dict(sharing='cyclic'), ['sharing', "'cyclic'", "'fair'"]),
        (dict(table='vit-base'), ['backbone.table', "'vit-base'"]),
        (dict(fixed={'layer9.heads': 3}), ['backbone.fixed', 'layer9.heads']),
        (dict(arch={'depth': 1}), ['backbone.arch', 'embed_dim']),
    ],
)
def test_wrong_options_are_refused(cfg, parts):
    """Rejects an option that is ignored or fails later in another place."""
    with pytest.raises(ConfigError) as error:
        SuperViT(**{**SMALL, **cfg})
    for part in parts:
        assert part in str(error.value)


def test_a_wrong_cost_shape_is_refused():
    """Rejects a cost for a shape with the batch in it or other channels."""
    model = SuperViT(**SMALL)
    for shape in ((5, 13, 11), (1, 5, 13, 11), (2, 3, 5, 13, 11)):
        with pytest.raises(ConfigError, match=r'cost_shape: found \(.*expected \(C, T, H, W\) with C = 3'):
            model.cost(model.space.smallest, shape)
