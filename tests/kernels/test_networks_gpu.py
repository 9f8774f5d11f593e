"""Networks on the compiled kernels: bit for bit in the deterministic mode, and under ``torch.compile``."""

import copy

import pytest
import torch

from mmnas_video.entangle import whole
from mmnas_video.kernels import use_triton
from mmnas_video.models.blocks.mbconv3d import BlockWindows, MBConv3D
from mmnas_video.testing.compare import randomise
from tests.kernels.batch_norm_oracle import clip
from tests.kernels.interpreted.test_networks import (  # noqa: F401 - run again here
    deterministic,
    test_deterministic_and_twice_the_same_bit_for_bit,
)

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize('squeeze', [5, 0])
def test_inductor_across_the_kernels(squeeze, monkeypatch):
    """Rejects an operator that inductor lays out, fuses or frees otherwise than eager mode runs it: output, gradients
    and running statistics of a block that is one graph."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    torch._dynamo.reset()
    eager = MBConv3D(54, 108, 54, squeeze, (3, 3))
    randomise(eager)
    eager = eager.cuda().train()
    other, at = copy.deepcopy(eager), BlockWindows(*map(whole, (54, 108, 54, squeeze or 1)), (3, 3))
    compiled = torch.compile(lambda x: other(x, at), fullgraph=True)
    results = []
    for block, run in ((eager, lambda x: eager(x, at)), (other, compiled)):
        x = clip((2, 54, 5, 12, 12)).requires_grad_()
        assert use_triton(x)
        y = run(x)
        y.square().mean().backward()
        grads = {f'{name}.grad': p.grad for name, p in block.named_parameters()}
        results.append({**block.state_dict(), **grads, 'x': x.grad, 'y': y.detach()})
    for name, value in results[0].items():
        scale = value.abs().max().clamp(min=1e-6)
        assert torch.allclose(results[1][name] / scale, value / scale, rtol=0, atol=1e-4), name
