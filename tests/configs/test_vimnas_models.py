"""VIM-NAS's models: the shipped bases build and run on clips and images, and what docs/papers.md prints is so."""

import json
from pathlib import Path

import pytest
import torch

from mmnas_video.cost import RestCost, count, total_range
from mmnas_video.entangle import find_searchable
from mmnas_video.models.backbones import SuperViT
from mmnas_video.space import arch_from_json

ROOT = Path(__file__).parents[2]
PAPERS = (ROOT / 'docs' / 'papers.md').read_text(encoding='utf-8')
#: Tab. 3's parameters (M) and FLOPs (G), and a twelfth of Tab. 4's (4 x 3 views).
PRINTED = {
    'tiny': (5.5, 1.3, 54.75 / 12),
    'small': (22.9, 3.9, 220 / 12),
    'base': (53.7, 9.9, 520 / 12),
    'large': (128, 33, 3100 / 12),
}
CLIP, IMAGE = (3, 32, 224, 224), (3, 1, 224, 224)


def row(size):
    """The network's row in docs/papers.md."""
    (found,) = [line for line in PAPERS.split('\n') if line.startswith(f'| VIM-NAS-{size[0].upper()} |')]
    return found


@pytest.mark.parametrize('size', [*PRINTED, 'demo'])
def test_a_base_builds(size, load, build):
    """Rejects a head of other width than the largest embedding, a tube that does not fit the config's own clip, and a
    network that takes clips only."""
    cfg = load(f'_base_/models/super_vit_{size}.py')
    model = build(cfg).eval()
    assert cfg.model.cls_head.in_channels == model.backbone.embed_dim
    for shape in (cfg.cost_shape, (3, 1, *cfg.cost_shape[2:])):
        with torch.device('meta'), model.backbone.use(model.backbone.space.smallest):
            scores = model(torch.zeros(2, 1, *shape), stage='head', mode='tensor')
        assert scores.shape == (2, cfg.model.cls_head.num_classes)
        assert total_range(model, model.backbone, shape)['macs'][0] > 0


@pytest.mark.parametrize('size', PRINTED)
def test_the_closest_arch_is_as_close_as_it_says(size, load, build):
    """Rejects figures that were computed at another clip, with another head or by another count than torch's, an arch
    of another space, and a file that passes for the paper's own."""
    cfg = load(f'_base_/models/super_vit_{size}.py')
    cfg.model.cls_head.num_classes = 1000
    path = ROOT / 'configs' / 'vimnas' / 'archs' / f'{size}_closest.json'
    data = arch_from_json(path.read_text(encoding='utf-8'))
    assert data['source'].startswith('Not the architecture of the paper')
    model = build(cfg)
    assert data['space'] == model.backbone.space.identity
    arch = model.backbone.space.check_file(data)
    assert model.backbone.canonical(arch) == arch
    clip, image = (model.backbone.cost(arch, s) + RestCost(model, model.backbone, s)(arch) for s in (CLIP, IMAGE))
    assert data['cost'] == {'params': clip.params, 'image_macs': image.macs, 'clip_macs': clip.macs}
    found = (clip.params / 1e6, image.macs / 1e9, clip.macs / 1e9)
    assert all(abs(f / p - 1) < 0.01 for f, p in zip(found, PRINTED[size], strict=True))
    assert f'{found[0]:.2f} M, {found[1]:.3f}, {found[2]:.3f} G (`configs/vimnas/archs/{size}_closest.json`)' in row(
        size
    )
    if size == 'tiny':  # and what it says is what it is
        cfg.model.backbone.arch, cfg.model.cls_head.in_channels = str(path), arch['embed_dim']
        counted, _ = count(
            build(cfg), torch.zeros(1, 1, *CLIP, device='meta'), forward=lambda m, x: m(x, mode='tensor', stage='head')
        )
        assert counted == clip


@pytest.mark.parametrize('size', PRINTED)
def test_ranges_in_the_table(size, load, build):
    """Rejects a table written for another bound on the kernels or another head."""
    cfg = load(f'_base_/models/super_vit_{size}.py')
    cfg.model.cls_head.num_classes = 1000
    model = build(cfg)
    clip, image = (total_range(model, model.backbone, shape) for shape in (CLIP, IMAGE))
    low, high = (n / 1e6 for n in clip['params'])
    reached = [f'{low:.1f}–{high:.1f} M']
    low, high = (n / 1e9 for n in image['macs'])
    reached.append(f'{low:.2f}–{high:.1f} G')
    low, high = (n / 1e9 for n in clip['macs'])
    reached.append(f'{low:.2f}–{high:,.0f} G')
    assert '; '.join(reached) in row(size)
    cfg.model.backbone.update(tubes='patch16')
    plain = build(cfg)
    found = total_range(plain, plain.backbone, IMAGE)
    params, macs = [n / 1e6 for n in found['params']], [n / 1e9 for n in found['macs']]
    assert f'{params[0]:.1f}–{params[1]:.1f} M; {macs[0]:.2f}–{macs[1]:.2f} G' in row(size)


def test_huge_is_where_the_table_puts_it():
    """Rejects a Huge that does not reach the 412 M parameters and the 4.2 T / 12 of Tab. 4."""
    with torch.device('meta'):
        model = SuperViT('vimnas-huge', max_kernel_volume=1024, clamp_offsets=True)
    found = model.cost_range(CLIP)
    low, high = (cost for cost, _ in found['params'])
    assert low < 412e6 < high and f'{low / 1e6:.0f}–{high / 1e6:.0f} M without a head' in PAPERS
    assert found['macs'][0][0] < 4.2e12 / 12 < found['macs'][1][0]


def test_the_demo_space_is_small(load, build):
    """Rejects a demo that a laptop cannot train: the dearest network stays below 30 M multiply-adds a clip."""
    cfg = load('_base_/models/super_vit_demo.py')
    model = build(cfg)
    name, backbone = find_searchable(model)
    assert name == 'backbone' and total_range(model, backbone, cfg.cost_shape)['macs'][1] < 30e6
    kinds = {choice.name.split('.')[-1] for choice in backbone.space.open}
    assert kinds == {'depth', 'embed_dim', 'kernel', 'stride', 'offset', 'heads', 'qkv', 'mlp_ratio'}
    assert json.dumps(dict(backbone.space.largest))
