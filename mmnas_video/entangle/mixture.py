"""Mixture: weights over the values of every choice, in the place of one architecture.

Source: TangleNAS (Sukthanker et al., 2024), for widths and kernels: zero-padded slices are weighted and summed in
weight space and one operation runs; DARTS (Liu et al., ICLR 2019), for candidates that are different operations: their
outputs are summed. One-hot weights are the sampled network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmnas_video.errors import ConfigError, shown
from mmnas_video.space import SearchSpace, Value

from .window import MixedKernel, MixedWindow, Window, centre_crop


class Mixture(Mapping[str, Tensor]):
    """Choice name to weights (K,) over the choice's values, for every choice of a space.

    What :meth:`Searchable.use` takes beside an :class:`~mmnas_video.space.Arch`. The weights may carry gradients, need
    not sum to one, and a value whose weight is exactly 0 is taken out: an operation with it is not run. A choice that
    has one value weighs it by 1 and may be left out. Made anew for every step: it holds that step's graph.

    Args:
        space: whose choices these are.
        weights: per open choice a vector of one number per value, in the dtype and on the device of the network. Of
            lists and arrays tensors are made, in torch's default dtype on the CPU.
        present: per choice what :meth:`present` answers, where the host knows; else it waits for the device, once.

    Raises:
        ConfigError: a name that is no choice, an open choice without weights, another number of weights, or weights
            that are no numbers.
    """

    # Equal only to itself, and hashable: comparing tensors entry by entry would be neither cheap nor true or false.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        space: SearchSpace,
        weights: Mapping[str, Tensor | Sequence[float]],
        present: Mapping[str, list[bool]] | None = None,
    ) -> None:
        unknown = [name for name in weights if name not in space.names]
        missing = [choice.name for choice in space.open if choice.name not in weights]
        if unknown or missing:
            raise ConfigError(
                f'mixture: found weights for the unknown choices {unknown[:3]} and none for {missing[:3]}, expected '
                f'one vector for each open choice of {space.name!r}'
            )
        self.space = space
        weights = {name: _vector(name, vector) for name, vector in weights.items()}
        like = next(iter(weights.values()), torch.ones(1))
        self._weights: dict[str, Tensor] = {}
        # A choice without weights has one value.
        self._present = None if present is None else {name: present.get(name, [True]) for name in space.names}
        for choice in space:
            vector = weights.get(choice.name)
            if vector is None:
                vector = like.new_ones(1)
            if vector.shape != (len(choice),):
                raise ConfigError(
                    f'mixture[{choice.name!r}]: found weights of shape {tuple(vector.shape)}, expected ({len(choice)},)'
                )
            self._weights[choice.name] = vector

    @classmethod
    def one_hot(cls, space: SearchSpace, arch: Mapping[str, Value], like: Tensor | None = None) -> Mixture:
        """All weight on the values of ``arch``; dtype and device of ``like``."""
        like = torch.ones(1) if like is None else like
        weights = {}
        for choice in space:
            weights[choice.name] = like.new_zeros(len(choice))
            weights[choice.name][choice.index(arch[choice.name])] = 1
        return cls(space, weights)

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def present(self, name: str) -> list[bool]:
        """Whether each value of a choice takes part, (K,): its weight is not exactly 0. On the host, read at once."""
        if self._present is None:
            flags = torch.cat([weights.detach() for weights in self._weights.values()]).ne(0).tolist()
            ends = iter(flags)
            self._present = {name: [next(ends) for _ in weights] for name, weights in self._weights.items()}
        return self._present[name]

    def terms(self, name: str) -> dict[Value, Tensor]:
        """Value to weight (a scalar) for the values that take part: what an output-mixed choice sums over."""
        pairs = zip(self.space[name].values, self[name], self.present(name), strict=True)
        return {value: weight for value, weight, here in pairs if here}


def _vector(name: str, weights: Any) -> Tensor:
    if isinstance(weights, Tensor):
        return weights
    try:
        return torch.as_tensor(weights, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f'mixture[{name!r}]: found {shown(weights)}, expected one number for each value') from None


class _Weigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(weight, x)
        return weight.to(x.dtype) * x

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        weight, x = ctx.saved_tensors
        return (grad.to(weight.dtype) * x).sum(), weight.to(grad.dtype) * grad


def weigh(weight: Tensor, x: Tensor) -> Tensor:
    """A term of an output mixture, ``weight * x`` in the dtype of ``x``.

    The weight's gradient is a sum over all of ``x``, taken in the weight's own precision: under fp16 autocast, with the
    loss scaled, a plain product would overflow there.
    """
    return weight * x if weight.dtype == x.dtype else _Weigh.apply(weight, x)


def _expected(weights: Tensor, tables: Tensor) -> Tensor:
    """Σ_j weights_j · tables_j. Not a matrix product: under autocast that would round the weights to 16 bits."""
    # Queued, like all that goes to a GPU in a step: a copy that blocks would wait for what has been queued before.
    tables = tables.to(weights, non_blocking=True)
    return (weights.view(-1, *[1] * (tables.dim() - 1)) * tables).sum(0)


def mix_windows(windows: Sequence[Window], weights: Tensor) -> MixedWindow:
    """The expected mask of some windows over the same channels.

    Args:
        windows: one for each value.
        weights: (K,), one for each window.
    """
    total = windows[0].total
    masks = torch.zeros(len(windows), total)
    for mask, window in zip(masks, windows, strict=True):
        for start, length in window.spans():
            mask[start : start + length] = 1
    return MixedWindow(_expected(weights, masks), total)


def mix_kernels(kernels: Sequence[tuple[int, int]], weights: Tensor) -> MixedKernel:
    """The expected mask of some centred kernel extents ``(t, k)``, over the largest t and k among them.

    Args:
        kernels: one for each value.
        weights: (K,), one for each kernel.
    """
    t, k = max(t for t, _ in kernels), max(k for _, k in kernels)
    masks = torch.zeros(len(kernels), t, k, k)
    for mask, kernel in zip(masks, kernels, strict=True):
        centre_crop(mask, kernel).fill_(1)
    return MixedKernel(_expected(weights, masks))


def mix_moves(pairs: Sequence[tuple[Window, Window]], weights: Tensor) -> Tensor:
    """The expected matrix (C_out, C_in) that carries an input window's channels, in their order, to an output window.

    What an identity between two equal widths is on zero-padded channels; of equal windows the matrix is diagonal.

    Args:
        pairs: input and output window of one length, one pair for each weight.
        weights: (K,).
    """
    inp, out = pairs[0]
    moves = torch.zeros(len(pairs), out.total, inp.total)
    for move, (source, target) in zip(moves, pairs, strict=True):
        steps = torch.arange(source.length)
        move[(target.start + steps) % target.total, (source.start + steps) % source.total] = 1
    return _expected(weights, moves)
