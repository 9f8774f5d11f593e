"""The gradient of a mixture of architectures with the memory of one.

∇_ω log Σ_k p(y|A_k) = Σ_k w_k ∇ log p(y|A_k) with w_k = lik_k / Σ lik (PARSEC; AutoX3D Eq. 1). The weights are known
only after all K forward passes; instead of a second pass, the gradient gathered so far is rescaled whenever a better
architecture comes, as in an online softmax.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class WeightedGradient:
    """Accumulates Σ_k w_k g_k in ``parameter.grad``, w = softmax of log-weights that arrive one by one.

    Gradients that were there before (gradient accumulation) are held aside and added back at the end.

    Args:
        parameters: the parameters whose gradients are meant.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.log_weights: list[float] = []
        self._top = -torch.inf
        self._held = [p.grad for p in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None

    def add(self, log_weight: float) -> float:
        """Factor for the backward pass of the next architecture; call it before that pass."""
        self.log_weights.append(log_weight)
        if log_weight > self._top:
            shrink = float(torch.tensor(self._top - log_weight, dtype=torch.float64).exp())
            self._scale(shrink)
            self._top = log_weight
        return float(torch.tensor(log_weight - self._top, dtype=torch.float64).exp())

    def finish(self, everybody: Sequence[float] | None = None, times: int = 1) -> Tensor:
        """Normalise, give the held gradients back, and return the weights (K,).

        Args:
            everybody: log-weights of all K architectures, where this rank has run only some of them.
            times: factor on the gradient: the number of ranks, if what all have is to be added up and not averaged.
        """
        log_weights = torch.tensor(self.log_weights if everybody is None else everybody, dtype=torch.float64)
        self._scale(times * float((self._top - log_weights.logsumexp(0)).exp()))
        for parameter, held in zip(self.parameters, self._held, strict=True):
            if held is not None:
                parameter.grad = held if parameter.grad is None else parameter.grad.add_(held)
        self._held = []
        return log_weights.softmax(0)

    def _scale(self, factor: float) -> None:
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if grads:
            torch._foreach_mul_(grads, factor)


def effective_sample_size(weights: Tensor) -> float:
    """1 / Σ w²: K for equal weights, 1 when one architecture takes all."""
    return float(1.0 / weights.square().sum())
