"""Where the kernels are used, and the switch."""

import pytest
import torch

from mmnas_video.errors import ConfigError
from mmnas_video.kernels import choose, use_triton


class OnGpu:
    """What :func:`use_triton` asks of a tensor, on a GPU that need not be there."""

    def __init__(self, dtype=torch.bfloat16, shape=(2, 3, 5, 7, 11)):
        self.dtype, self.shape, self.is_cuda = dtype, shape, True
        self.device = torch.device('cuda', 0)

    def numel(self):
        return int(torch.Size(self.shape).numel())


@pytest.fixture
def hopper(monkeypatch):
    """A GPU that is known, and Triton."""
    monkeypatch.setattr(choose, 'is_known_gpu', lambda index: True)
    monkeypatch.setattr(choose, 'HAS_TRITON', True)
    monkeypatch.delenv(choose.SWITCH, raising=False)


def test_by_device_dtype_and_size(hopper):
    """Rejects fp64 summed in fp32, offsets past 32 bits, an empty batch, and kernels on a CPU."""
    assert all(use_triton(OnGpu(dtype)) for dtype in (torch.float32, torch.bfloat16, torch.float16))
    assert not use_triton(OnGpu(torch.float64))
    assert not use_triton(OnGpu(shape=(0, 3, 5, 7, 11)))
    assert not use_triton(torch.empty(2, 3, 5, 7, 11))
    largest = (64, 1, 1, 2**16, 2**15)
    assert not use_triton(OnGpu(shape=largest))
    assert use_triton(OnGpu(shape=(64, 1, 1, 2**16, 2**15 - 1)))


@pytest.mark.parametrize(('mode', 'known', 'used'), [('auto', True, True), ('auto', False, False), ('on', False, True)])
def test_the_switch(hopper, monkeypatch, mode, known, used):
    """Rejects a switch that is read once at import, or that nobody asks; ``off`` beats everything."""
    monkeypatch.setattr(choose, 'is_known_gpu', lambda index: known)
    monkeypatch.setenv(choose.SWITCH, mode)
    assert use_triton(OnGpu()) is used
    monkeypatch.setenv(choose.SWITCH, 'off')
    assert not use_triton(OnGpu())


def test_what_is_wrong_is_said(monkeypatch):
    """Rejects a misspelt switch that means ``auto`` in silence, and ``on`` that runs PyTorch without Triton."""
    monkeypatch.setenv(choose.SWITCH, 'yes')
    with pytest.raises(ConfigError, match=r"MMNAS_KERNELS: found 'yes', expected one of \['auto', 'on', 'off'\]"):
        use_triton(torch.empty(1, 1, 1, 1, 1))
    monkeypatch.setenv(choose.SWITCH, 'on')
    monkeypatch.setattr(choose, 'HAS_TRITON', False)
    with pytest.raises(ConfigError, match=r'MMNAS_KERNELS: found .on., expected triton 3\.6 or newer'):
        use_triton(torch.empty(1, 1, 1, 1, 1))


class AsksWhere(torch.nn.Module):
    """Adds 1 where the kernels would run."""

    def forward(self, x):
        return x + int(choose.use_triton(x))


@pytest.mark.parametrize('strict', [False, True])
def test_never_in_an_exported_graph(hopper, monkeypatch, strict):
    """Rejects our operators in a file that is to run without us; and a test of "exporting" that is also true inside
    ``torch.compile``, which would turn the kernels off there.
    """
    monkeypatch.setattr(choose, 'INTERPRETED', True)
    x = torch.zeros(1, 1, 1, 1, 1)
    assert AsksWhere()(x) == 1
    assert torch.export.export(AsksWhere(), (x,), strict=strict).module()(x) == 0
    assert torch.compile(AsksWhere(), backend='eager', fullgraph=True)(x) == 1
