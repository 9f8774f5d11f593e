"""Rates of kinds of blocks, from blocks that were timed: least squares without negative rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Against columns that say the same: so small that it does not move what the samples tell apart.
RIDGE = 1e-6


class Sample(NamedTuple):
    """One timed block.

    Attributes:
        kind, work: see :class:`~.latency.Block`.
        ms: its time.
        total_ms: that of the network it was timed in.
    """

    kind: str
    work: Sequence[float]
    ms: float
    total_ms: float


def fit_rates(samples: Iterable[Sample]) -> dict[str, dict[str, Any]]:
    """Per kind the rates ``ms``, the number of ``samples``, and ``error``: what the fit misses of their times together.

    What counts is a share of the whole network: a sample's miss is divided by the time of the network that it is of.
    """
    by_kind: dict[str, list[Sample]] = {}
    for sample in samples:
        by_kind.setdefault(sample.kind, []).append(sample)
    return {kind: _fitted(found) for kind, found in sorted(by_kind.items())}


def _fitted(samples: Sequence[Sample]) -> dict[str, Any]:
    work = torch.tensor([list(sample.work) for sample in samples], dtype=torch.float64)
    ms = torch.tensor([sample.ms for sample in samples], dtype=torch.float64)
    share = 1 / torch.tensor([sample.total_ms for sample in samples], dtype=torch.float64)
    rates = nonnegative_least_squares(work * share[:, None], ms * share)
    missed = (work @ rates - ms).abs().sum() / ms.sum().clamp_min(1e-12)
    return {'ms': rates.tolist(), 'samples': len(samples), 'error': round(float(missed), 4)}


def nonnegative_least_squares(a: Tensor, b: Tensor) -> Tensor:
    """x (n,) >= 0 with the least |a x - b|, by Lawson and Hanson's active sets; a (m, n), b (m,).

    Of columns that depend on each other the ridge shares the work out evenly.
    """
    scale = a.norm(dim=0).clamp_min(1e-300)
    a = a / scale
    gram = a.T @ a + RIDGE * torch.eye(a.shape[1], dtype=a.dtype)
    target = a.T @ b
    x = torch.zeros_like(target)
    free = torch.zeros_like(target, dtype=torch.bool)
    tolerance = 1e-10 * float(target.abs().max().clamp_min(1e-300))
    for _ in range(10 * a.shape[1]):
        gain = (target - gram @ x).masked_fill(free, -torch.inf)
        best = int(gain.argmax())
        if gain[best] <= tolerance:
            break
        free[best] = True
        x = _solved(gram, target, free, x)
    return x / scale


def _solved(gram: Tensor, target: Tensor, free: Tensor, x: Tensor) -> Tensor:
    """The optimum over the free variables; those that it would make negative stop at 0 on the way and are free no
    more."""
    while True:
        found = torch.zeros_like(x)
        found[free] = torch.linalg.solve(gram[free][:, free], target[free])
        if (found[free] > 0).all():
            return found
        below = free & (found <= 0)
        step = (x[below] / (x[below] - found[below]).clamp_min(1e-300)).min()
        x = x + step * (found - x)
        free &= x > 1e-14
        x = x * free


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's τ-b of two rankings of the same things: 1 where they agree on every pair, -1 on none."""

    def sign(values: Sequence[float]) -> Tensor:
        v = torch.tensor(values, dtype=torch.float64)
        return (v[:, None] - v).sign().triu(1)

    one, two = sign(first), sign(second)
    ties = float(one.abs().sum() * two.abs().sum()) ** 0.5
    return float((one * two).sum()) / ties if ties else 0.0


def prediction_agreement(predicted: Sequence[float], measured: Sequence[float]) -> Mapping[str, float]:
    """``tau`` (Kendall's), ``mean_error`` and ``worst_error``, the latter two as shares of what was measured."""
    errors = [abs(p - m) / m for p, m in zip(predicted, measured, strict=True)]
    return {
        'tau': kendall_tau(predicted, measured),
        'mean_error': sum(errors) / len(errors),
        'worst_error': max(errors),
    }
