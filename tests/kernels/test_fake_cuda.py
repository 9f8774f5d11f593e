"""Our kernels' operators on a GPU that is not there: what they say of their results is what comes out."""

import pytest
import torch
from torch import Tensor

from mmnas_video.kernels import batch_norm as fused
from mmnas_video.kernels import batch_norm_ops as ops
from mmnas_video.kernels import choose, depthwise, use_triton
from tests.fake_cuda import FakeCuda

B, C, T, H, W = 2, 6, 3, 5, 7


def clip(channels=C, size=(H, W), dtype=torch.float32):
    return torch.zeros(B, channels, T, *size, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)


def row(*size):
    return torch.ones(*size)


#: Operator to its arguments on the host: a super-weight of which a window is used that goes round, SE, residuals.
HOW = (9, (1, 3, 3), 2)
SUPER = torch.zeros(11, 1, 3, 3, 5)
OPERATORS = {
    'depthwise': (depthwise.forward_op, lambda d: (clip(dtype=d), SUPER, *HOW)),
    'its input gradient': (depthwise.input_gradient_op, lambda d: (clip(size=(3, 4), dtype=d), SUPER, *HOW, (H, W))),
    'its weight gradient': (
        depthwise.weight_gradient_op,
        lambda d: (clip(dtype=d), clip(size=(3, 4), dtype=d), SUPER, *HOW),
    ),
    'statistics': (ops.statistics_op, lambda d: (clip(dtype=d), row(11), row(11), 9, 0.1, True)),
    'apply': (
        ops.apply_op,
        lambda d: (clip(dtype=d), *(row(C) for _ in range(4)), clip(dtype=d), row(B, C), None, 1e-5, 'swish', 3),
    ),
    'sums': (
        ops.sums_op,
        lambda d: (clip(dtype=d), clip(dtype=d), *(row(C) for _ in range(4)), clip(dtype=d), None, 1e-5, 'relu'),
    ),
    'input gradient': (
        ops.input_op,
        lambda d: (
            clip(dtype=d), clip(dtype=d), *(row(C) for _ in range(4)), row(B, C), row(B, C), row(2, C), 1e-5, 'relu',
        ),
    ),
}  # fmt: skip


def told(values):
    values = [values] if isinstance(values, Tensor) else values
    return [(tuple(v.shape), v.stride(), v.dtype) for v in values]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('name', OPERATORS)
def test_what_an_operator_says_of_its_results(name, dtype):
    """Rejects a device, dtype, shape or layout that the reference (on the CPU, with values) does not give."""
    operator, arguments = OPERATORS[name]
    there = arguments(dtype)
    expected = told(operator(*there))
    with FakeCuda().use():
        sent = [x.to('cuda', non_blocking=True) if isinstance(x, Tensor) else x for x in there]
        found = operator(*sent)
        assert told(found) == expected
        assert {x.device.type for x in ([found] if isinstance(found, Tensor) else found)} == {'cuda'}


@pytest.mark.parametrize(('capability', 'used'), [((9, 0), True), ((7, 5), False)])
def test_where_the_kernels_are_chosen(capability, used, monkeypatch):
    """Rejects another choice than the documented: known GPUs, any of the three formats, channels last for BatchNorm."""
    monkeypatch.setenv(choose.SWITCH, 'auto')
    monkeypatch.setattr(choose, 'HAS_TRITON', True)
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    properties = type('Properties', (), dict(major=capability[0], minor=capability[1]))
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda index: properties)
    monkeypatch.setattr(choose, '_is_capable_once', choose._is_capable)
    with FakeCuda().use():
        x = torch.zeros(B, C, T, H, W, device='cuda')
        last = x.contiguous(memory_format=torch.channels_last_3d)
        assert use_triton(x) is use_triton(x.half()) is use_triton(x.bfloat16()) is used
        assert not use_triton(x.double())
        assert fused.fuses(last) is used and not fused.fuses(x)
        weight = torch.zeros(C, 1, 3, 3, 3, device='cuda')
        assert depthwise.takes(x, weight, 0, (3, 3, 3), 2) is used
        assert not depthwise.takes(x, torch.zeros(C, 1, 3, 3, 3), 0, (3, 3, 3), 2)
