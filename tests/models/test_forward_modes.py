"""Supernets after a forward pass of another kind: of inference mode, and of ``torch.export``."""

import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.registry import MODELS

MODEL_CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
DEMOS = ('super_mbconv3d_demo.py', 'super_tsnet_demo.py', 'super_vit_demo.py', 'super_p3d_demo.py')


@pytest.fixture(params=DEMOS)
def case(request):
    """A supernet, an architecture of it and clips."""
    init_default_scope('mmaction')
    cfg = Config.fromfile(MODEL_CONFIGS / request.param)
    net = MODELS.build(cfg.model.backbone).eval()
    return net, net.space.sample(random.Random(3)), torch.randn(2, *cfg.cost_shape)


def train_step(net, arch, x):
    net.zero_grad()
    with net.train().use(arch):
        net(x).square().sum().backward()
    assert any(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())


def test_a_supernet_is_trained_after_inference_mode(case):
    """Rejects a tensor that is made in a forward pass and kept: of inference mode none may be saved for a backward."""
    net, arch, x = case
    with torch.inference_mode(), net.use(arch):
        net(x)
    train_step(net, arch, x)


def test_a_supernet_is_exported_at_an_architecture(case):
    """Rejects a forward pass that asks a tensor for its values, and a tensor that is kept from a tracer's pass."""
    net, arch, x = case
    with torch.no_grad(), net.use(arch):
        exported = torch.export.export(net, (x,), strict=False).module()
        torch.testing.assert_close(exported(x), net(x), rtol=1e-5, atol=1e-5)
    train_step(net, arch, x)
