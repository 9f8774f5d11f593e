"""A training step of every backbone family on a GPU that is not there: each tensor on the right device."""

import random
from functools import partial

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.registry import init_default_scope

from mmnas_video.entangle import Mixture
from mmnas_video.registry import MODELS
from mmnas_video.space import FUSIONS
from tests.fake_cuda import FakeCuda

from .conftest import SHAPE, SMALL
from .test_super_vit_mixed import CFG
from .two_streams import SHAPE as DENSE_SHAPE
from .two_streams import SMALL as STREAMS

CLIP, IMAGE, LOCAL = (3, 5, 13, 11), (3, 1, 13, 11), dict(groups=2)
MBCONV = (dict(type='SuperMBConv3D', **SMALL), SHAPE, 11)
TSNET = (dict(type='SuperTSNet', **STREAMS), DENSE_SHAPE, 24)
P3D = (dict(type='SuperP3D', nodes=2, cells=2, channels=3), (3, 5, 12, 12), 12)
VIT = (dict(type='SuperViT', **CFG), CLIP, 13)
IMAGES = (VIT[0], IMAGE, 13)


def sampled(net):
    return net.space.sample(random.Random(3))


def mixed(net, each=2):
    """All choices mixed by weights of the GPU, of which a few are not 0."""
    weights = {c.name: torch.ones(len(c), device='cuda', requires_grad=True) for c in net.space.open}
    return Mixture(net.space, weights, {c.name: [j < each for j in range(len(c))] for c in net.space})


def one_hot(net):
    return Mixture.one_hot(net.space, sampled(net), torch.ones(1, device='cuda'))


#: Family with its clip and features, what is different, the architecture that is run.
CASES = {
    'MBConv3D': (MBCONV, {}, sampled),
    'MBConv3D mixed': (MBCONV, {}, mixed),
    'MBConv3D one-hot': (MBCONV, {}, one_hot),
    'MBConv3D recomputed, drop path': (MBCONV, dict(with_cp=True, drop_path=0.5), sampled),
    'MBConv3D local weights, mixed': (MBCONV, dict(local_weights=LOCAL), mixed),
    **{f'TSNet {fusion}': (TSNET, dict(fixed={'fusion.*': fusion}), sampled) for fusion in FUSIONS},
    'TSNet mixed': (TSNET, {}, mixed),
    'TSNet mixed, summed': (TSNET, dict(fusion=dict(merge='sum')), mixed),
    'TSNet local weights': (TSNET, dict(local_weights=LOCAL), sampled),
    'P3D': (P3D, {}, sampled),
    'P3D mixed': (P3D, {}, partial(mixed, each=9)),
    'P3D local weights': (P3D, dict(local_weights=LOCAL), sampled),
    'ViT': (VIT, {}, sampled),
    'ViT images': (IMAGES, dict(patch_grid=(3, 4)), sampled),
    'ViT mixed': (VIT, dict(pool='mean'), mixed),
    'ViT images, mixed': (IMAGES, {}, mixed),
    'ViT one-hot': (VIT, {}, one_hot),
    'ViT recomputed, drop path': (VIT, dict(with_cp=True, drop_path=0.5, sharing='fair'), sampled),
    'ViT local weights': (VIT, dict(local_weights=LOCAL), sampled),
    'ViT local weights, mixed': (VIT, dict(local_weights=LOCAL), mixed),
}


def recognizer(family, changes):
    init_default_scope('mmaction')
    backbone, _, features = family
    kind = 'TimeSformerHead' if backbone['type'] == 'SuperViT' else 'I3DHead'
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone={**backbone, **changes},
            cls_head=dict(
                type='MultiTaskHead',
                heads=dict(one=dict(type=kind, in_channels=features, num_classes=7)),
                default='one',
            ),
            data_preprocessor=dict(
                type='ActionDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, format_shape='NCTHW',
                blending=dict(type='TaskBlending', tasks=dict(one=dict(mixup=0.8, cutmix=1.0))),
            ),
        )
    )  # fmt: skip


def batch(shape):
    samples = [ActionDataSample(metainfo=dict(task='one', draw=i)).set_gt_label(i) for i in range(2)]
    return dict(inputs=[torch.zeros(1, *shape, dtype=torch.uint8) for _ in samples], data_samples=samples)


def loss_of(model, shape, arch):
    with model.backbone.use(arch(model.backbone)):
        data = model.data_preprocessor(batch(shape), True)
        return model.parse_losses(model(**data, mode='loss'))[0]


#: Cases that run our kernels too; on a GPU that is known they do by default.
WITH_KERNELS = ('MBConv3D', 'MBConv3D mixed', 'MBConv3D recomputed, drop path', 'TSNet mixed', 'P3D')


@pytest.mark.parametrize(('name', 'kernels'), [*((n, 'off') for n in CASES), *((n, 'on') for n in WITH_KERNELS)])
def test_a_training_step(name, kernels, monkeypatch):
    """Rejects a tensor that is made on the host and meets one of the GPU (a mask, positions, targets), and a layer that
    makes the host wait: only a mixture whose weights are the GPU's is asked once which of them are 0."""
    monkeypatch.setenv('MMNAS_KERNELS', kernels)
    family, changes, arch = CASES[name]
    model = recognizer(family, changes).train()
    with FakeCuda().use() as gpu:
        gpu.move(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        loss = loss_of(model, family[1], arch)
        loss.backward()
        optimizer.step()
        moved = {p.device.type for p in model.parameters() if p.grad is not None}
        states = {v.device.type for s in optimizer.state.values() for k, v in s.items() if k != 'step'}
        assert loss.device.type == 'cuda' and moved == states == {'cuda'}
    assert len(gpu.own_waits) <= (arch is one_hot), gpu.own_waits


@pytest.mark.parametrize('kernels', ['off', 'on'])
@pytest.mark.parametrize('name', ['MBConv3D local weights, mixed', 'TSNet mixed', 'P3D', 'ViT local weights, mixed'])
def test_under_autocast(name, kernels, monkeypatch):
    """Rejects a 16-bit product of the GPU that meets a tensor of the host, and a loss that is left in 16 bits."""
    monkeypatch.setenv('MMNAS_KERNELS', kernels)
    family, changes, arch = CASES[name]
    model, seen = recognizer(family, changes).train(), set()
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: seen.add(getattr(output, 'dtype', None)))
    with FakeCuda(backward=False).use() as gpu, torch.autocast('cuda', dtype=torch.bfloat16):
        loss = loss_of(gpu.move(model), family[1], arch)
        assert loss.device.type == 'cuda' and loss.dtype == torch.float32 and torch.bfloat16 in seen
    assert not gpu.own_waits
