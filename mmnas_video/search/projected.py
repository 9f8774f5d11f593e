"""The supernet's gradient beside its subnetworks', without the part of it that works against them.

Source: NASViT (Gong et al., "Neural Architecture Search for Efficient Vision Transformers with Gradient Conflict aware
Supernet Training", ICLR 2022); the projection is that of PCGrad (Yu et al., NeurIPS 2020), made on one side only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .over_ranks import average_over_ranks

#: What is compared as one vector.
PER = ('parameter', 'network')


class ProjectedGradient:
    """Gathers the supernet's gradient and the subnetworks' apart; :meth:`finish` projects the one and adds them.

    A projection is not linear, so the two stay apart over all backward passes of an optimiser step (gradient
    accumulation) and are averaged over the ranks before it: then it is that of the whole batch. The subnetworks'
    gradients are those in ``parameter.grad``.

    Args:
        parameters: the parameters whose gradients are meant.
        per: see :func:`project`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], per: str = 'parameter') -> None:
        self.parameters, self.per = [p for p in parameters if p.requires_grad], per
        self._supernet: list[Tensor | None] = [None] * len(self.parameters)

    @contextmanager
    def supernet(self) -> Iterator[None]:
        """The backward passes in here are the supernet's; meanwhile its gradient is the one in ``parameter.grad``."""
        subnetworks = self._exchange(self._supernet)
        try:
            yield
        finally:
            self._supernet = self._exchange(subnetworks)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """Put the projected gradient plus the subnetworks' into ``parameter.grad``, averaged over the ranks.

        Parameters that only one of the two has keep its gradient; those of neither keep none.

        Returns:
            share of what was compared that was in conflict, a number in 0..1.
        """
        average_over_ranks([*self._supernet, *(p.grad for p in self.parameters)])
        pairs = [
            (supernet, p.grad)
            for supernet, p in zip(self._supernet, self.parameters, strict=True)
            if supernet is not None and p.grad is not None
        ]
        conflict = project([one for one, _ in pairs], [other for _, other in pairs], self.per)
        for parameter, supernet in zip(self.parameters, self._supernet, strict=True):
            if supernet is not None:
                parameter.grad = supernet if parameter.grad is None else supernet.add_(parameter.grad)
        self._supernet = [None] * len(self.parameters)
        return conflict.double().mean() if pairs else torch.zeros(())

    def _exchange(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Put ``grads`` into the parameters; returns what was there."""
        before = [p.grad for p in self.parameters]
        for parameter, grad in zip(self.parameters, grads, strict=True):
            parameter.grad = grad
        return before


@torch.no_grad()
def project(gradients: Sequence[Tensor], others: Sequence[Tensor], per: str) -> Tensor:
    """Where <g, o> < 0, make g its projection onto the normal plane of o, in place: g ← g - <g, o> / |o|² · o.

    Then <g, o> = 0: to first order a step along -g leaves the loss behind o as it is. Elsewhere g stays bit-identical.
    Multiples of g or o (the factor of a GradScaler, a sum in place of a mean) change nothing but g's own length.

    Args:
        gradients: g, a tensor for each parameter; written to.
        others: o, tensors of the same shapes; not written to.
        per: ``'parameter'`` projects tensor by tensor, ``'network'`` all tensors as one vector.

    Returns:
        whether in conflict, (tensors,).
    """
    if not gradients:
        return torch.zeros(0, dtype=torch.bool)
    inner, square = torch.stack([_products(g, o) for g, o in zip(gradients, others, strict=True)]).unbind(1)
    if per == 'network':
        inner, square = inner.sum().expand_as(inner), square.sum().expand_as(square)
    conflict = (inner < 0) & (square > 0)
    length = torch.where(conflict, square.sqrt(), 1)
    along = torch.where(conflict, inner / length, 0)  # <g, o / |o|>: at most |g|, where <g, o> / |o|² may overflow
    for index, (gradient, other) in enumerate(zip(gradients, others, strict=True)):
        unit = other / length[index].to(other.dtype)
        gradient.addcmul_(unit, along[index].to(gradient.dtype), value=-1)
    return conflict


def _products(gradient: Tensor, other: Tensor) -> Tensor:
    """<g, o> and <o, o>, (2,), in float64: the square of a small float32 gradient would be 0."""
    gradient, other = gradient.flatten().double(), other.flatten().double()
    return torch.stack([gradient.dot(other), other.dot(other)])
