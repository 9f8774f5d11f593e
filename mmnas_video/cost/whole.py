"""Cost of a whole recognizer: the closed form of what is searched, and the rest counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from mmnas_video.errors import ConfigError

from .cost import Cost
from .counter import count, meta_twin


def rest_cost(model: Any, searchable: Any, shape: Sequence[int]) -> Cost:
    """MACs and parameters of everything in ``model`` but ``searchable``, for one clip of ``shape`` (C, T, H, W).

    Neck and head see the supernet's output, whose shape does not depend on the architecture; so torch's counter runs
    once, on the meta device, and on them alone. Of a network whose output is narrower once extracted, see
    :class:`RestCost`.
    """
    if model is searchable:
        return Cost()
    searchable.cost(searchable.space.smallest, tuple(shape))  # says in its own words what is wrong with a shape
    clip = torch.zeros(1, 1, *shape, device='meta')  # (batch, clips, C, T, H, W) as a Recognizer3D takes it

    def forward(twin: Any, x: torch.Tensor) -> Any:
        return twin(x, mode='tensor', stage='head')

    with torch.no_grad():
        output = meta_twin(searchable)(clip[0])
    return count(model, clip, forward=forward, replaced={searchable: _Gives(output)})[0]


class _Gives(nn.Module):
    """What has an output already."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The output."""
        return self.output


def output_readers(model: nn.Module, searchable: Any) -> dict[str, nn.Linear]:
    """The linear layers outside ``searchable`` that read its output, where its width depends on the architecture.

    They are told by their input features: as many as the output has at its widest. So a head may have one such layer,
    and a head of each data set, entries of one ``ModuleDict``, one each.

    Raises:
        ConfigError: a head that has two, of which the second may read a hidden layer of that width.
    """
    window = searchable.output(searchable.space.largest)
    if window is None or model is searchable:
        return {}
    inside = set(searchable.modules())
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module not in inside and module.in_features == window.total
    }
    heads: dict[str, list[str]] = {}
    for name in found:
        heads.setdefault(_entry(model, name), []).append(name)
    common = heads.pop('', [])
    for own in heads.values() or [[]]:
        if len(names := common + own) > 1:
            raise ConfigError(
                f'model: found {len(names)} linear layers of {window.total} input features outside the backbone '
                f'({", ".join(names)}), as many as its output has at its widest, expected one, which reads the '
                'output: give hidden layers another width, and put heads side by side in an nn.ModuleDict'
            )
    return found


def _entry(model: nn.Module, name: str) -> str:
    """The innermost entry of a ``ModuleDict`` that the module ``name`` is in; empty for none."""
    parts = name.split('.')
    for last in range(len(parts) - 1, 0, -1):
        if isinstance(model.get_submodule('.'.join(parts[:last])), nn.ModuleDict):
            return '.'.join(parts[: last + 1])
    return ''


class RestCost:
    """Cost of everything in ``model`` but ``searchable``, for one clip shape and any architecture: counted once.

    Args:
        model, searchable, shape: see :func:`rest_cost`.
    """

    def __init__(self, model: Any, searchable: Any, shape: Sequence[int]) -> None:
        self._searchable, rows = searchable, {}
        readers = output_readers(model, searchable)

        def seen(name: str, reader: nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
            rows[name] = rows.get(name, 0) + inputs[0].numel() // reader.in_features

        # The counted copy shares these functions; a head that is not run (of another data set) costs no multiply-adds.
        hooks = [reader.register_forward_pre_hook(partial(seen, name)) for name, reader in readers.items()]
        try:
            self._widest = rest_cost(model, searchable, shape)
        finally:
            for hook in hooks:
                hook.remove()
        self._macs = sum(rows.get(name, 0) * reader.out_features for name, reader in readers.items())
        self._params = sum(reader.out_features for reader in readers.values())

    def __call__(self, arch: Mapping[str, Any]) -> Cost:
        """MACs and parameters beside the searched part at ``arch``, whose output may be narrower than the widest."""
        window = self._searchable.output(arch)
        if window is None:
            return self._widest
        unused = window.total - window.length
        return Cost(self._widest.macs - unused * self._macs, self._widest.params - unused * self._params)


def total_cost(
    model: Any, searchable: Any, arch: Mapping[str, Any], shape: Sequence[int], rest: RestCost | None = None
) -> Cost:
    """Cost of the whole recognizer at ``arch``, for one clip of ``shape`` (C, T, H, W).

    Args:
        model: the recognizer.
        searchable: the module in it with choices; None, or a module around it, to have it found.
        arch, shape: an architecture of its space, and the clip.
        rest: ``RestCost(model, searchable, shape)``, if it has been counted already: that takes thousands of times as
            long as the cost of one more architecture.

    Raises:
        ConfigError: an arch that is not of the space, a shape that does not fit, or not one module with choices.
    """
    searchable = _searched(model, searchable)
    # A backbone with a cost of its own need not look at what it is given.
    cost = searchable.cost(searchable.space.check(arch), tuple(shape))
    return cost + (rest or RestCost(model, searchable, shape))(arch)


def total_range(
    model: Any, searchable: Any, shape: Sequence[int], rest: RestCost | None = None
) -> dict[str, tuple[int, int]]:
    """Per quantity the least and the most that the whole recognizer costs over the space.

    Args:
        model, searchable, shape, rest: see :func:`total_cost`.
    """
    searchable = _searched(model, searchable)
    rest = rest or RestCost(model, searchable, shape)
    # The cheapest network also has the narrowest output, the dearest the widest.
    return {
        quantity: tuple(cost + getattr(rest(arch), quantity) for cost, arch in (low, high))
        for quantity, (low, high) in searchable.cost_range(tuple(shape)).items()
    }


def _searched(model: Any, searchable: Any) -> Any:
    """The one outermost module that knows its costs: ``searchable`` itself, or in it, or in ``model`` where it is None.

    :func:`~mmnas_video.entangle.find_searchable` is of a folder that this one does not know.
    """
    around = model if searchable is None else searchable
    if hasattr(around, 'cost_range'):
        return around
    found: list[nn.Module] = []
    for module in around.modules():
        if hasattr(module, 'cost_range') and not any(module in {*outer.modules()} for outer in found):
            found.append(module)
    if len(found) != 1:
        raise ConfigError(
            f'model: found {len(found)} modules with choices in {type(around).__name__}, expected one, such as '
            "backbone=dict(type='SuperMBConv3D', ...)"
        )
    return found[0]
