"""check_searchable: what every module with an active architecture must do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost, count
from mmnas_video.entangle import Searchable, find_searchable, kept_statistics, take
from mmnas_video.errors import ConfigError
from mmnas_video.space import Value

from .compare import as_double, assert_close, check_gradients, load_strictly, randomise, sliced_state


def check_searchable(make: Callable[..., Any], inputs: Tensor, archs: Sequence[Mapping[str, Value]] = ()) -> None:
    """Put a searchable module through the law of entanglement: at an arch it is the network that is
    extracted for it.

    Args:
        make: without arguments the supernet, with those of :meth:`Searchable.pinned_cfg` the pinned module.
        inputs: (B, C, T, H, W) or what forward takes, made float64 as the module is; the shape without B is the one
            whose cost is checked.
        archs: architectures to try beside the smallest and the largest. Together they must use every
        parameter.

    Raises:
        AssertionError: says which property does not hold, and at which architecture.
    """
    model, inputs = make().double(), as_double(inputs)
    what = type(model).__name__
    assert find_searchable(model) == ('', model), f'{what}: the module is not itself the outermost Searchable'
    space = model.space
    archs = [space.check(arch) for arch in (space.smallest, space.largest, *archs)]
    _check_use(model, what)
    used: set[str] = set()
    for number, arch in enumerate(archs):
        randomise(model, seed=number)
        pinned = make(**model.pinned_cfg(arch)).double()
        place = f'{what} at {dict(arch)}'
        assert pinned.space.size == 1 and pinned.arch == arch, f'{place}: the pinned module is at {dict(pinned.arch)}'
        parts = list(model.slices(arch))
        used.update(part.name for part in parts)
        load_strictly(pinned, sliced_state(model, parts, place), place)
        _check_modes(model, pinned, inputs, arch, place)
        _check_cost(model, pinned, inputs, arch, place)
    left = sorted(set(model.state_dict()) - used)
    assert not left, f'{what}: none of {len(archs)} architectures uses {left[:5]}; try more, or it is dead'
    _check_range(model, tuple(inputs.shape[1:]), archs, what)


def _check_use(model: Searchable, what: str) -> None:
    space, found = model.space, model.arch
    with model.use(space.smallest) as active:
        assert model.arch == active == space.smallest, f'{what}: use() does not make the arch active'
        with model.use(space.largest):
            assert model.arch == space.largest, f'{what}: use() inside use() does not make the arch active'
        assert model.arch == space.smallest, f'{what}: use() does not give the arch back that it found'
        try:
            with model.use({**space.smallest, 'no such choice': 1}):
                raise AssertionError(f'{what}: use() took an arch that is not of its space')
        except ConfigError:
            pass
        try:
            with model.use(space.largest):
                raise ZeroDivisionError
        except ZeroDivisionError:
            assert model.arch == space.smallest, f'{what}: use() keeps the arch after an error'
    assert model.arch == found, f'{what}: use() does not give the arch back that it found'


def _check_modes(model: Any, pinned: Any, inputs: Tensor, arch: Mapping[str, Value], what: str) -> None:
    parts = list(model.slices(arch))
    for training in (False, True):
        mode = f'{what}, {"train" if training else "eval"} mode'
        model.train(training).zero_grad(), pinned.train(training).zero_grad()
        with kept_statistics(model), model.use(arch):
            found, expected = _own_channels(model, arch, model(inputs), mode), pinned(inputs)
            assert_close(found, expected, f'{mode}: output')
            upstream = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            found.backward(upstream), expected.backward(upstream)
            check_gradients(model, pinned, parts, mode)
            after = sliced_state(model, parts, mode)
        for name, value in pinned.state_dict().items():
            assert_close(after[name], value, f'{mode}: {name} after the step')
    assert model.arch == model.space.largest, f'{what}: forward has changed the active arch'


def _own_channels(model: Any, arch: Mapping[str, Value], output: Tensor, what: str) -> Tensor:
    """The supernet's output without what the architecture does not have, which must be zero."""
    window = model.output(arch)
    if window is None:
        return output
    own = take(output, 1, window)
    assert output.detach().abs().sum() <= own.detach().abs().sum() * (1 + 1e-12), f'{what}: output outside {window}'
    return own


def _check_cost(model: Any, pinned: nn.Module, inputs: Tensor, arch: Mapping[str, Value], what: str) -> None:
    shape = tuple(inputs.shape[1:])
    counted, _ = count(pinned, inputs[:1])
    for name, module in (('supernet', model), ('pinned module', pinned)):
        found = module.cost(arch, shape)
        assert found == counted, f'{what}: cost of the {name} says {found}, counted are {counted}'


def _check_range(model: Any, shape: tuple[int, ...], archs: Sequence[Mapping[str, Value]], what: str) -> None:
    ends = model.cost_range(shape)
    assert set(ends) == set(Cost._fields), f'{what}: cost_range says {sorted(ends)}, expected {Cost._fields}'
    for quantity, ((low, cheapest), (high, dearest)) in ends.items():
        for said, arch in ((low, cheapest), (high, dearest)):
            costs = getattr(model.cost(arch, shape), quantity)
            assert costs == said, f'{what}: cost_range says {said} {quantity}, its architecture has {costs}'
        for arch in archs:
            costs = getattr(model.cost(arch, shape), quantity)
            assert low <= costs <= high, f'{what}: {costs} {quantity} is outside the range {low} to {high}'
