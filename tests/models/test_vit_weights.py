"""mmpretrain's ViT as a point: its weights load and give the same logits on images."""

import ast
import re
from pathlib import Path

import pytest
import torch
from mmpretrain.models import VisionTransformer

from mmnas_video.entangle import inherit
from mmnas_video.errors import ConfigError
from mmnas_video.models import vit_state_dict
from mmnas_video.models.backbones import SuperViT
from mmnas_video.models.vit_weights import inflated

#: 3 layers of 5 heads of 12, on images of 5 x 4 patches of 8 x 8.
HOST = dict(
    arch=dict(embed_dims=60, num_layers=3, num_heads=5, feedforward_channels=90), img_size=(40, 32), patch_size=8
)
TABLE = dict(embed_dims=(60,), depths=(3,), heads=(5,), mlp_ratios=(1.5,), head_dim=12)
PATCHES = dict(kernels=('1x8x8',), strides=('4x8x8',))
TUBE = dict(kernels=('3x6x10',), strides=('2x8x8',), offsets=('1x0x2',))


@pytest.fixture(scope='module')
def host():
    """mmpretrain's ViT with nothing at its default."""
    torch.manual_seed(0)
    model = VisionTransformer(**HOST).double()
    model.eval()  # returns nothing there
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
        for name, parameter in model.named_parameters():
            if 'ln' in name and name.endswith('weight'):
                parameter.uniform_(0.5, 1.5)
    return model


def image(size=(40, 32)):
    return torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_equal_features_on_images(host):
    """Rejects heads that get each other's rows, the class token's position lost or given to a patch, learned
    positions added to the fixed ones, and patches in another order. A second, 3-D tube changes nothing for images."""
    ours = SuperViT(TABLE, tubes=[PATCHES, TUBE], patch_grid=(5, 4)).double().eval()
    ours.load_state_dict(vit_state_dict(host.state_dict(), ours), strict=True)
    with torch.no_grad():
        found, (expected,) = ours(image()), host(image())
    assert expected.std() > 0.3 and torch.allclose(found, expected, atol=1e-10)


def test_equal_features_at_another_size(host):
    """Rejects learned positions that are resized another way than mmpretrain's (which does it in single precision), or
    with rows and columns exchanged."""
    ours = SuperViT(TABLE, tubes=[PATCHES], patch_grid=(5, 4)).double().eval()
    ours.load_state_dict(vit_state_dict(host.state_dict(), ours), strict=True)
    table = ours.tokenizer.patch_position.detach()
    learned = ours.tokenizer._learned((7, 6), ours.windows.sampled(ours.arch).embed)
    flat = torch.cat([torch.zeros(1, 1, 60), table.view(1, 20, 60)], 1)
    theirs = host.resize_pos_embed(flat, (5, 4), (7, 6), num_extra_tokens=1)[:, 1:]
    assert torch.allclose(learned.reshape(1, 42, 60), theirs, atol=1e-5)
    assert ours(image((56, 48))).shape == (2, 60)


def test_without_learned_positions_they_are_dropped(host):
    """Rejects learned positions that find a way in, and a map that demands them: a host whose positions are our
    fixed ones gives the same features."""
    with_grid = SuperViT(TABLE, tubes=[PATCHES], patch_grid=(5, 4)).double()
    ours = SuperViT(TABLE, tubes=[PATCHES]).double().eval()
    state = {k: v.clone() for k, v in host.state_dict().items()}
    rest = vit_state_dict(state, with_grid)['tokenizer.patch_position']
    state['pos_embed'][:, 1:] -= rest.view(1, 20, 60)  # what is left is fixed
    fixed = VisionTransformer(**HOST).double()
    fixed.load_state_dict(state)
    ours.load_state_dict(vit_state_dict(host.state_dict(), ours), strict=True)
    with torch.no_grad():
        assert torch.allclose(ours(image()), fixed(image())[0], atol=1e-10)


def test_a_classifier_becomes_a_recognizer(host):
    """Rejects a head that is dropped, and backbone keys that lose their prefix."""
    state = {f'backbone.{k}': v for k, v in host.state_dict().items()}
    state['head.layers.head.weight'], state['head.layers.head.bias'] = torch.ones(17, 60), torch.ones(17)
    ours = SuperViT(TABLE, tubes=[PATCHES])
    mapped = vit_state_dict(state, ours)
    expected = {'cls_head.fc_cls.weight', 'cls_head.fc_cls.bias', *(f'backbone.{k}' for k in ours.state_dict())}
    assert set(mapped) == expected and mapped['cls_head.fc_cls.weight'].shape == (17, 60)


def test_a_supernet_starts_from_it(host):
    """Rejects a map that only fits pinned networks: written into the slices of its architecture in a wider supernet,
    the ViT is there."""
    wide = dict(embed_dims=(30, 60, 66), depths=(2, 3, 4), heads=(3, 5, 7), mlp_ratios=(1.0, 1.5, 2.0), head_dim=12)
    tubes = [{**PATCHES, 'kernels': ('1x8x8', '1x12x10')}]
    supernet = SuperViT(wide, tubes=tubes, patch_grid=(5, 4), sharing='fair').double().eval()
    arch = {**supernet.space.smallest, 'embed_dim': 60, 'depth': 3, **{f'layer{i}.heads': 5 for i in range(1, 5)}}
    arch |= {f'layer{i}.mlp_ratio': 1.5 for i in range(1, 5)}
    pinned = SuperViT(wide, tubes=tubes, patch_grid=(5, 4), sharing='fair', arch=arch)
    inherit(supernet, vit_state_dict(host.state_dict(), pinned), arch)
    window = supernet.output(arch)
    with torch.no_grad(), supernet.use(arch):
        found = supernet(image()).roll(-window.start, 1)[:, :60]
        assert torch.allclose(found, host(image())[0], atol=1e-10)


def test_the_point_that_the_docs_name():
    """DeiT-Tiny in VIM-NAS-T's space, as docs/vimnas.md writes it. Rejects an example without the 2-D tube: its kernel
    of 32 would get the patches, the 16 x 16 in the middle of it a piece of them, and ``patch_grid`` an error."""
    text = (Path(__file__).parents[2] / 'docs' / 'vimnas.md').read_text(encoding='utf-8')
    values = ast.literal_eval(re.search(r'arch=(\{.*?\})', text, re.DOTALL)[1])
    torch.manual_seed(0)
    deit = VisionTransformer('deit-tiny', img_size=224, patch_size=16)
    deit.eval()
    with torch.no_grad():
        for parameter in deit.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    options = dict(table='vimnas-tiny', max_kernel_volume=1024, clamp_offsets=True, patch_grid=(14, 14))
    ours = SuperViT(**options).eval()
    point = ours.canonical({**ours.space.largest, **ours.space.match(values)})
    inherit(ours, vit_state_dict(deit.state_dict(), SuperViT(**options, arch=dict(point))), point)
    picture = torch.randn(1, 3, 224, 224)
    with torch.no_grad(), ours.use(point):
        found, (expected,) = ours(picture), deit(picture)
    assert expected.std() > 0.3 and torch.allclose(found[:, :192], expected, atol=1e-4)


def test_inflated_kernels():
    """Rejects a kernel repeated in time without being divided (a still clip would give 3 times the patch), one that
    is transposed, and one that is resized without its scale: a constant image keeps its response."""
    torch.manual_seed(0)
    kernel = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    still = inflated(kernel, (3, 8, 8))
    assert (
        still.shape == (5, 3, 3, 8, 8)
        and torch.allclose(still.sum(2), kernel)
        and torch.equal(still[:, :, 0], still[:, :, 2])
    )
    smooth = torch.ones(5, 3, 8, 8, dtype=torch.float64)
    assert torch.allclose(inflated(smooth, (2, 6, 10)).sum((2, 3, 4)), smooth.sum((2, 3)))
    rows = torch.arange(8, dtype=torch.float64)[:, None].expand(5, 3, 8, 8)
    resized = inflated(rows, (1, 4, 6))[:, :, 0]
    assert (resized.diff(dim=2) > 1).all() and resized.diff(dim=3).abs().max() < 1e-9


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        ({'layers.0.gamma1.weight': torch.ones(60)}, ['layers.0.gamma1.weight', 'layer scale']),
        ({'layers.3.ln1.weight': torch.ones(60)}, ['layers.3.ln1.weight', '3 layers']),
        ({'dist_token': torch.ones(1, 1, 60)}, ['dist_token', 'distillation']),
        ({'layers.1.ffn.layers.1.weight': torch.ones(60, 120)}, ['layers.1.project.weight', '(60, 120)', '(60, 90)']),
    ],
)
def test_other_networks_are_refused(change, parts, host):
    """Rejects keys that are silently left out, and a shape that torch complains about in its own words."""
    with pytest.raises(ConfigError) as error:
        vit_state_dict({**host.state_dict(), **change}, SuperViT(TABLE, tubes=[PATCHES]))
    for part in parts:
        assert part in str(error.value)


def test_a_wrong_grid_is_refused(host):
    """Rejects rows and columns exchanged (the number of patches is the same), and another number of patches."""
    for grid, text in (((4, 5), 'patch_grid: found'), ((5, 5), 'the 20 patches')):
        ours = SuperViT(TABLE, tubes=[{**PATCHES, 'strides': ('1x8x4',)}], patch_grid=grid)
        with pytest.raises(ConfigError, match=text):
            vit_state_dict(host.state_dict(), ours)
