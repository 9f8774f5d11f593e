"""ArchDistribution: a probability for every architecture of a space, one softmax a choice."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmnas_video.entangle import Mixture
from mmnas_video.space import Arch, SearchSpace, Value


class ArchDistribution:
    """Factorised distribution p(A|α) = Π softmax(α_v)[A_v] over the choices v of a space.

    Source: PARSEC (Casale, Gordon, Fusi 2019); AutoX3D, Sec. 4.1. α is one (choices, most values) matrix in float64 on
    the CPU, padded with -inf: it is tiny, the same on every rank, and never part of the model.

    Args:
        space: what the distribution is over.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.offered = offered_values(space)
        self.alpha = torch.zeros(self.offered.shape, dtype=torch.float64, requires_grad=True)

    def log_probs(self, alpha: Tensor | None = None) -> Tensor:
        """log softmax(α) per choice, (choices, most values); -inf where no value is offered. Of any α."""
        alpha = self.alpha if alpha is None else alpha
        return alpha.masked_fill(~self.offered, -torch.inf).log_softmax(1)

    def mixture(self, like: Tensor, alpha: Tensor | None = None) -> Mixture:
        """softmax(α) as weights of a mixed network, differentiable in α; dtype and device of ``like``."""
        table = self.log_probs(alpha).exp().to(like.dtype)
        present = table.detach().ne(0).tolist()  # before the table goes to a GPU, which would have to be asked
        table = table.to(like.device, non_blocking=True)
        rows = [(choice.name, i, len(choice)) for i, choice in enumerate(self.space)]
        return Mixture(
            self.space,
            {name: table[i, :count] for name, i, count in rows},
            {name: present[i][:count] for name, i, count in rows},
        )

    def probs(self) -> dict[str, list[float]]:
        """Choice name to the probabilities of its values."""
        table = self.log_probs().detach().exp()
        return {choice.name: table[i, : len(choice)].tolist() for i, choice in enumerate(self.space)}

    def rows(self) -> dict[str, list[float]]:
        """Choice name to the α of its values."""
        table = self.alpha.detach()
        return {choice.name: table[i, : len(choice)].tolist() for i, choice in enumerate(self.space)}

    def sample(self, rng: random.Random) -> Arch:
        """One architecture from p(A|α)."""
        table = self.log_probs().detach().exp().tolist()
        return Arch({c.name: rng.choices(c.values, row[: len(c)])[0] for c, row in zip(self.space, table, strict=True)})

    def indices(self, archs: Sequence[Mapping[str, Value]]) -> Tensor:
        """(K, choices) indices of K architectures."""
        return torch.tensor([self.space.encode(arch) for arch in archs])

    def log_prob(self, archs: Sequence[Mapping[str, Value]]) -> Tensor:
        """log p(A_k|α) of K architectures, (K,), differentiable in α."""
        return self.log_probs()[torch.arange(len(self.space)), self.indices(archs)].sum(1)

    def entropies(self) -> dict[str, float]:
        """Entropy of each choice in nats."""
        table = self.log_probs().detach()
        terms = torch.where(self.offered, -table.exp() * table, 0.0)
        return dict(zip(self.space.names, torch.nan_to_num(terms).sum(1).tolist(), strict=True))

    def most_probable(self) -> Arch:
        """The mode: the most probable value of every choice (the smallest of equals)."""
        best = self.log_probs().detach().argmax(1).tolist()
        return self.space.decode(best)

    def summary(self, best: Arch) -> dict[str, Any]:
        """What an epoch's line says: entropy in nats, in all and per choice, probabilities, and in which share of the
        open choices ``best`` has the smallest value."""
        entropies, indices = self.entropies(), self.space.encode(best)
        opened = [i for i, choice in enumerate(self.space) if not choice.single]
        return {
            'entropy': sum(entropies.values()),
            'entropies': entropies,
            'probs': self.probs(),
            'smallest_share': sum(indices[i] == 0 for i in opened) / len(opened),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """α, for a checkpoint."""
        return {'alpha': self.alpha.detach().clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """α from a checkpoint."""
        with torch.no_grad():
            self.alpha.copy_(state['alpha'])


def offered_values(space: SearchSpace) -> Tensor:
    """(choices, most values): whether a choice has so many values; False is the padding."""
    width = max(len(choice) for choice in space)
    return torch.tensor([[i < len(choice) for i in range(width)] for choice in space])


def score_term(log_probs: Tensor, costs: Sequence[float]) -> Tensor:
    """Scalar whose gradient in α estimates that of the expected cost by the score function, from K drawn architectures:
    Σ_k (c_k - mean c) ∇ log p(A_k|α) / K.

    Args:
        log_probs: log p(A_k|α), (K,).
        costs: c_k of each.
    """
    found = torch.tensor(costs, dtype=log_probs.dtype)
    return ((found - found.mean()) * log_probs).mean()
