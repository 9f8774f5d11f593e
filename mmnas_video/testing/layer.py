"""check_layer: what every layer with shared weights must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from mmnas_video.cost import Cost, count
from mmnas_video.entangle import Window, whole

from .compare import assert_close, check_gradients, load_strictly, randomise, sliced_state


def check_layer(
    make: Callable[..., nn.Module],
    largest: tuple[Any, ...],
    ats: Sequence[tuple[Any, ...]],
    shape: Callable[..., Sequence[int]],
    cost: Callable[..., Cost],
    batch: int = 3,
) -> None:
    """Put a layer through the law of shared weights: what it computes from slices is what a layer of that
    size computes.

    ``at`` below is what ``forward`` is told after its input, and ``slices`` after the prefix: windows,
    kernels, ...

    Args:
        make: from an ``at`` of whole windows to a layer of exactly that size.
        largest: the ``at`` of the super-layer.
        ats: what to try; windows that start past 0 and windows that wrap should be among them.
        shape: from an ``at`` to the shape of one input without the batch, (C, T, H, W).
        cost: from the super-layer and an ``at`` to the closed-form cost on one such input.
        batch: B.

    Raises:
        AssertionError: says which property does not hold, and where.
    """
    layer = make(*largest).double()
    for number, at in enumerate((largest, *ats)):
        randomise(layer, seed=number)
        what = f'{type(layer).__name__} at {at}'
        own = tuple(map(_own, at))
        pinned = make(*own).double()
        parts = list(layer.slices('', *at))
        load_strictly(pinned, sliced_state(layer, parts, what), what)
        x = torch.randn(batch, *shape(*at), dtype=torch.float64, generator=torch.Generator().manual_seed(number))
        _check_modes(layer, pinned, x, (at, own), what)
        _check_cost(layer, pinned, x, (at, own), cost, what)


def _own(part: Any) -> Any:
    """What a layer of its own is told in the place of a window, or of several in a named tuple."""
    if isinstance(part, Window):
        return whole(part.length)
    return type(part)(*map(_own, part)) if hasattr(part, '_fields') else part


def _check_modes(layer: nn.Module, pinned: nn.Module, x: torch.Tensor, ats: tuple[tuple, tuple], what: str) -> None:
    at, own = ats
    for training in (False, True):
        mode = f'{what}, {"train" if training else "eval"} mode'
        before = {name: value.clone() for name, value in layer.state_dict().items()}
        layer.train(training).zero_grad(), pinned.train(training).zero_grad()
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        found, expected = layer(inputs[0], *at), pinned(inputs[1], *own)
        assert_close(found, expected, f'{mode}: output')
        upstream = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        found.backward(upstream), expected.backward(upstream)
        assert inputs[0].grad is not None, f'{mode}: no gradient reaches the input'
        assert_close(inputs[0].grad, inputs[1].grad, f'{mode}: gradient of the input')
        parts = list(layer.slices('', *at))
        check_gradients(layer, pinned, parts, mode)
        after = sliced_state(layer, parts, mode)
        for name, value in pinned.state_dict().items():
            assert_close(after[name], value, f'{mode}: {name} after the step')
        _check_rest(layer, before, parts, mode)


def _check_rest(layer: nn.Module, before: dict[str, torch.Tensor], parts: Sequence[Any], what: str) -> None:
    """What the slices leave out has not been written to."""
    used = {part.name: part for part in parts}
    for name, value in layer.state_dict().items():
        mask = torch.zeros(value.shape, dtype=torch.bool)
        if name in used:
            used[name].mark(mask)
        assert torch.equal(value[~mask], before[name][~mask]), f'{what}: forward wrote to {name} outside the slice'


def _check_cost(
    layer: nn.Module,
    pinned: nn.Module,
    x: torch.Tensor,
    ats: tuple[tuple, tuple],
    cost: Callable[..., Cost],
    what: str,
) -> None:
    at, own = ats
    counted, _ = count(pinned, x[:1], forward=lambda twin, clip: twin(clip, *own))
    found = cost(layer, *at)
    assert found == counted, f'{what}: cost says {found}, counted are {counted}'
