"""What the depthwise kernels are held to: the convolution in fp64, and how far rounding alone may lead from it."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmnas_video.kernels import batch_norm_tiles, depthwise_conv3d
from mmnas_video.kernels import depthwise_plan as plans
from mmnas_video.kernels import depthwise_reference as plain

# Unit roundoff: half the distance from 1 to the next number. fp32 has 24 bits of significand, bf16 8, fp16 11.
UNIT = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
SMALLEST = {torch.float32: 2.0**-149, torch.bfloat16: 2.0**-133, torch.float16: 2.0**-24}


def forget_plans() -> None:
    """Plans are kept by shape; after a change of their constants they are to be made again."""
    for kept in (plans.plan_slide, plans.plan_gradient, batch_norm_tiles.lay_tiles):
        kept.cache_clear()


class Case(NamedTuple):
    """A convolution of (B, C, T, H, W) with the centre ``kernel`` of C channels from ``start`` of a super-weight."""

    size: tuple[int, int, int, int, int]
    kernel: tuple[int, int, int]
    stride: int
    super_weight: tuple[int, int, int, int]
    start: int
    dtype: torch.dtype = torch.float32


def bound(terms: int, magnitude: Tensor, exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Largest error of ``terms`` products summed in fp32 in any order (Higham, "Accuracy and Stability of Numerical
    Algorithms", Sec. 4.2: n u times the sum of their magnitudes) and rounded once to ``dtype``.
    """
    summed = (terms + 1) * UNIT[torch.float32] * magnitude
    return 1.01 * summed + UNIT[dtype] * (exact.abs() + summed) + SMALLEST[dtype]


def run(case: Case, device: str = 'cpu') -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """By name of the result: (ours, exact in fp64, largest error allowed)."""
    torch.manual_seed(sum(case.size))
    x = torch.randn(case.size).to(device, case.dtype, memory_format=torch.channels_last_3d).requires_grad_()
    channels, *extents = case.super_weight
    weight = torch.randn(channels, 1, *extents).to(device, case.dtype).requires_grad_()
    how = (case.start, case.kernel, case.stride)
    y = depthwise_conv3d(x, weight, *how)
    dy = torch.randn(y.shape).to(device, case.dtype)
    y.backward(dy)

    def all_three(x: Tensor, weight: Tensor, dy: Tensor) -> dict[str, Tensor]:
        x, weight, dy = (tensor.detach().cpu().double() for tensor in (x, weight, dy))
        return {
            'y': plain.reference(x, weight, *how),
            'dx': plain.reference_input_gradient(dy, weight, *how, x.shape[3:]),
            'dw': plain.reference_weight_gradient(x, dy, weight, *how),
        }

    exact, magnitude = all_three(x, weight, dy), all_three(x.abs(), weight.abs(), dy.abs())
    taps = case.kernel[0] * case.kernel[1] * case.kernel[2]
    terms = {'y': taps, 'dx': taps, 'dw': dy.numel() // dy.shape[1]}
    ours = {'y': y, 'dx': x.grad, 'dw': weight.grad}
    return {
        name: (ours[name].detach().cpu(), exact[name], bound(terms[name], magnitude[name], exact[name], case.dtype))
        for name in exact
    }


def assert_right(case: Case, device: str = 'cpu') -> None:
    """Output and both gradients, element by element; what comes out has the dtype and layout that is promised."""
    for name, (ours, exact, allowed) in run(case, device).items():
        assert ours.dtype == case.dtype and ours.shape == exact.shape, name
        excess = ((ours.double() - exact).abs() - allowed).max().item()
        assert excess <= 0, f'{name}: {excess:.3g} more than rounding explains, of {exact.abs().max().item():.3g}'
        if name != 'dw':
            assert ours.is_contiguous(memory_format=torch.channels_last_3d), name


# Small and odd; channel counts that no vector width divides; windows that go round; crops of larger kernels.
CASES = {
    'one channel': Case((2, 1, 3, 7, 11), (1, 3, 3), 1, (1, 1, 3, 3), 0),
    'three channels, 13 frames, stride 2': Case((5, 3, 13, 7, 11), (1, 3, 3), 2, (5, 1, 5, 5), 4, torch.bfloat16),
    '54 channels of 97': Case((1, 54, 3, 5, 7), (3, 3, 3), 1, (97, 5, 5, 5), 71),
    '54 channels, stride 2': Case((2, 54, 3, 13, 7), (3, 3, 3), 2, (54, 3, 3, 3), 0, torch.float16),
    '433 channels': Case((1, 433, 2, 3, 5), (1, 5, 5), 1, (433, 1, 5, 5), 0, torch.bfloat16),
    'taps loaded again': Case((1, 6, 3, 5, 2), (5, 3, 3), 1, (8, 5, 3, 3), 1),
    'largest kernel, one frame': Case((1, 2, 1, 5, 6), (5, 5, 5), 1, (2, 5, 5, 5), 0),
    'largest kernel, stride 2': Case((1, 4, 1, 7, 5), (3, 5, 5), 2, (7, 5, 5, 5), 5),
    'time only (stem)': Case((3, 24, 7, 2, 5), (5, 1, 1), 1, (24, 5, 1, 1), 0, torch.float16),
    'no neighbours, stride 2': Case((2, 5, 2, 7, 3), (1, 1, 1), 2, (5, 3, 3, 3), 0),
}
