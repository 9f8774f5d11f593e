"""Every kernel once, on a small odd shape, against its reference in float64: what ``python -m mmnas_video`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import batch_norm_plain, depthwise_reference
from .batch_norm_reference import After, Norm
from .choose import HAS_TRITON, INTERPRETED, is_known_gpu, mode

DTYPES = (torch.float32, torch.bfloat16)
SHAPE = (2, 7, 3, 5, 11)
Results = Callable[[], Any]


class Row(NamedTuple):
    """One kernel on one device: ``'ok'``, ``'differs'`` (it computes something else) or ``'failed'`` (it does not run),
    and by how much or why."""

    name: str
    state: str
    detail: str


def devices() -> tuple[list[torch.device], str]:
    """Where the kernels are used, or why they are nowhere.

    Raises:
        ConfigError: see :func:`~.choose.mode`.
    """
    wanted = mode()
    if wanted == 'off':
        return [], 'off by MMNAS_KERNELS'
    if not HAS_TRITON:
        return [], 'not used: no Triton that is new enough'
    if not torch.cuda.is_available():
        return ([torch.device('cpu')], '') if INTERPRETED else ([], 'not used: no GPU, PyTorch computes')
    found = [torch.device('cuda', i) for i in range(torch.cuda.device_count()) if wanted == 'on' or is_known_gpu(i)]
    return found, '' if found else 'not used: no NVIDIA GPU of compute capability 8.0 or newer'


def check_kernels(device: torch.device) -> list[Row]:
    """Run all of them; compiles what has not been compiled on this machine before."""
    rows = []
    for dtype in DTYPES:
        for name, ours, exact in (*_depthwise(dtype, device), *_batch_norm(dtype, device)):
            rows.append(_compared(f'{name}, {str(dtype).removeprefix("torch.")}, {device}', ours, exact))
    return rows


def _compared(name: str, ours: Results, exact: Results) -> Row:
    try:
        pairs = list(zip(_flat(ours()), _flat(exact()), strict=True))
        errors = [_error(*pair) for pair in pairs]
    except Exception as error:  # whatever a compiler, a driver or a kernel throws is what the reader has to see
        return Row(name, 'failed', f'{type(error).__name__}: {error}')
    worst = max(errors, key=lambda pair: pair[0] / pair[1])
    state = 'ok' if all(error <= allowed for error, allowed in errors) else 'differs'
    return Row(name, state, f'{worst[0]:.1e} of the largest value, allowed {worst[1]:.1e}')


def _error(found: Tensor, exact: Tensor) -> tuple[float, float]:
    """Largest difference, against the largest value, and what rounding explains; NaN counts as infinitely far."""
    allowed = 2 * torch.finfo(found.dtype).eps + 1e-4
    difference = (found.detach().double() - exact).abs().max() / exact.abs().max().clamp(min=1)
    return float(torch.nan_to_num(difference, nan=float('inf'))), allowed


def _flat(values: Any) -> list[Tensor]:
    values = values if isinstance(values, tuple) else (values,)
    return [value for value in values if value.numel()]


def _random(dtype: torch.dtype, device: torch.device) -> Callable[..., Tensor]:
    """Maker of tensors that differ from one another, clips with channels last."""
    generator = torch.Generator().manual_seed(0)

    def make(*shape: int, wanted: torch.dtype = dtype) -> Tensor:
        x = torch.randn(shape, generator=generator).to(wanted)
        return x.to(device, memory_format=torch.channels_last_3d) if len(shape) == 5 else x.to(device)

    return make


def _depthwise(dtype: torch.dtype, device: torch.device) -> Iterator[tuple[str, Results, Results]]:
    """Of a window that goes round and the centre of a larger kernel, the three passes with and without stride."""
    from . import depthwise_launch as launch

    plain, make, channels, kernel = depthwise_reference, _random(dtype, device), SHAPE[1], (1, 3, 3)
    x, weight = make(*SHAPE), make(11, 1, 3, 3, 3)
    for stride in (1, 2):
        how = (11 - channels // 2, kernel, stride)
        dy = make(*SHAPE[:3], *(-(-n // stride) for n in SHAPE[3:]))
        wide = [tensor.double() for tensor in (x, weight, dy)]
        yield from (
            (f'{name}, stride {stride}', ours, exact)
            for name, ours, exact in (
                (
                    'depthwise forward',
                    lambda how=how: launch.convolve(x, weight, *how),
                    lambda how=how, wide=wide: plain.reference(*wide[:2], *how),
                ),
                (
                    'depthwise input gradient',
                    lambda how=how, dy=dy: launch.input_gradient(dy, weight, *how, SHAPE[3:]),
                    lambda how=how, wide=wide: plain.reference_input_gradient(wide[2], wide[1], *how, SHAPE[3:]),
                ),
                (
                    'depthwise weight gradient',
                    lambda how=how, dy=dy: launch.weight_gradient(x, dy, weight, *how),
                    lambda how=how, wide=wide: plain.reference_weight_gradient(wide[0], wide[2], wide[1], *how),
                ),
            )
        )


def _batch_norm(dtype: torch.dtype, device: torch.device) -> Iterator[tuple[str, Results, Results]]:
    """The four pieces, with all that can be fused."""
    from . import batch_norm_launch as launch

    plain, make, (batch, channels) = batch_norm_plain, _random(dtype, device), SHAPE[:2]
    x, grad, residual = (make(*SHAPE) for _ in range(3))
    mean, var, weight, bias, running_mean, running_var = (make(11, wanted=torch.float32).abs() for _ in range(6))
    norm = Norm(*(value[:channels] for value in (mean, var, weight, bias)), eps=1e-5)
    gate, extra = (make(batch, channels, wanted=torch.float32) for _ in range(2))
    means = make(2, channels, wanted=torch.float32)
    after, before = After('swish', residual, gate), After('swish', None, gate)
    wide_norm = Norm(*(value.double() for value in norm[:4]), eps=1e-5)
    wide_after = After('swish', residual.double(), gate.double())

    def statistics(piece: Any, *values: Tensor) -> tuple[Tensor, ...]:
        running = [value.clone() for value in values[1:]]  # moved in place
        return (*piece.statistics(values[0], *running, 6, 0.3, True), *running)

    wide = [value.double() for value in (x, running_mean, running_var)]
    yield (
        'BatchNorm statistics',
        lambda: statistics(launch, x, running_mean, running_var),
        lambda: statistics(plain, *wide),
    )
    yield 'BatchNorm apply', lambda: launch.apply(x, norm, after), lambda: plain.apply(wide[0], wide_norm, wide_after)
    yield (
        'BatchNorm sums',
        lambda: launch.sums(grad, x, norm, after),
        lambda: plain.sums(grad.double(), wide[0], wide_norm, wide_after),
    )
    yield (
        'BatchNorm input gradient',
        lambda: launch.input_gradient(grad, x, norm, before, extra, means),
        lambda: plain.input_gradient(
            grad.double(), wide[0], wide_norm, wide_after._replace(residual=None), extra.double(), means.double()
        ),
    )
