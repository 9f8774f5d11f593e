"""Small networks with sizes that are told apart, and values that hide nothing."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmnas_video.entangle import Window, copy_slices
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.models.blocks import SuperGloRe
from tests.helpers import some_archs

#: 4.3 million archs in three groups: a stage without stride, all attentions, SE units of different widths.
SMALL = dict(
    stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (2,))),
    spatial_strides=(1, 2),
    expansions=(1.5, 2.25, 3.0),
    attentions=('none', 'glore', 'nonlocal'),
    stem_channels=7,
    out_channels=11,
    se_ratio=0.5,
    glore_nodes=(3, 5),
    nonlocal_widths=(3, 2),
)
SHAPE = (3, 5, 13, 11)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random norm weights and statistics and biases: at their defaults most mistakes cannot be seen.

    GloRe is of third degree in its input: its norm weights stay small, or the output explodes.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(0, 0.3, generator=generator)
        elif getattr(module, 'bias', None) is not None:
            module.bias.data.normal_(0, 0.3, generator=generator)
    for module in model.modules():
        if isinstance(module, SuperGloRe):
            module.extend_norm.weight.data.mul_(0.03)
    return model


def extract(supernet: SuperMBConv3D, arch, **cfg) -> SuperMBConv3D:
    """The network of its own that ``supernet`` is at ``arch``."""
    pinned = SuperMBConv3D(**{**SMALL, **cfg}, arch=arch).to(supernet.last.weight.dtype)
    return copy_slices(supernet, arch, pinned).train(supernet.training)


@pytest.fixture
def small():
    """``build`` the supernet, ``extract`` from it, ``randomise``, ``some_archs``, ``cfg``, input
    ``shape``.
    """

    def build(seed: int = 0, **cfg) -> SuperMBConv3D:
        torch.manual_seed(seed)
        return randomise(SuperMBConv3D(**{**SMALL, **cfg}), seed).double()

    return SimpleNamespace(
        build=build, extract=extract, randomise=randomise, some_archs=some_archs, cfg=SMALL, shape=SHAPE
    )


def _gather(tensor: torch.Tensor, *windows: Window | None) -> torch.Tensor:
    for dim, window in enumerate(windows):
        if window is not None:
            index = [(window.start + i) % window.total for i in range(window.length)]
            tensor = tensor.index_select(dim, torch.tensor(index))
    return tensor


def _normalise(x: torch.Tensor, norm: nn.Module, window: Window) -> torch.Tensor:
    """BatchNorm by its formula, over gathered channels."""
    shape = (1, -1, 1, 1, 1)
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    weight, bias, mean, var = (_gather(t, window).view(shape) for t in tensors)
    if norm.training:
        mean, var = x.mean((0, 2, 3, 4), keepdim=True), x.var((0, 2, 3, 4), keepdim=True, correction=0)
    return (x - mean) / (var + norm.eps).sqrt() * weight + bias


@pytest.fixture
def plain():
    """``gather`` by cyclic indices, and ``normalise`` by the formula of BatchNorm."""
    return SimpleNamespace(gather=_gather, normalise=_normalise)


@pytest.fixture
def close():
    """Agreement to 1e-10 for numbers of moderate size."""

    def check(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-10) -> bool:
        assert a.shape == b.shape and math.isfinite(b.detach().abs().max())
        return torch.allclose(a, b, rtol=tolerance, atol=tolerance)

    return partial(check)
