"""Searchable: what a module must offer so that any search method can work on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from mmnas_video.cost import Cost
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, SearchSpace, Value

from .window import Slice


class Searchable:
    """Mixin for the outermost module with choices; the only place where an active architecture is held.

    A subclass calls ``Searchable.__init__(self, space)`` and gives :meth:`slices`, :meth:`cost` and
    :meth:`pinned_cfg`; its ``forward`` reads :attr:`arch` once and hands windows down.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._arch = space.largest

    @property
    def arch(self) -> Arch:
        """The active architecture; the largest one where none has been set."""
        return self._arch

    @contextmanager
    def use(self, arch: Mapping[str, Value]) -> Iterator[Arch]:
        """Make ``arch`` the active architecture for a block, and give the previous one back.

        Raises:
            ConfigError: the arch is not of this space.
        """
        previous, self._arch = self._arch, self.space.check(arch)
        try:
            yield self._arch
        finally:
            self._arch = previous

    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """Which part of which parameter and buffer ``arch`` uses, each name once.

        The names are also those of the pinned module: this is what extraction copies.
        """
        raise TypeError(f'{type(self).__name__} declares no slices')

    def cost(self, arch: Mapping[str, Value], shape: tuple[int, ...]) -> Cost:
        """MACs and parameters of ``arch`` on one input of ``shape`` (C, T, H, W), in closed form."""
        raise TypeError(f'{type(self).__name__} declares no cost')

    def cost_range(self, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """Per quantity (``macs``, ``params``) the least and the most, each with an arch that has it."""
        raise TypeError(f'{type(self).__name__} declares no cost range')

    def describe(self) -> dict[str, Any]:
        """What a picture of an architecture needs beyond its values; stands in ``space.json``."""
        return {}

    def pinned_cfg(self, arch: Mapping[str, Value]) -> dict[str, Any]:
        """The arguments that differ when this module is built for ``arch`` alone (``dict(arch={...})``)."""
        return {'arch': dict(self.space.check(arch))}


def find_searchable(model: nn.Module) -> tuple[str, Any]:
    """Name and module of the one outermost :class:`Searchable` in ``model``.

    Raises:
        ConfigError: none, or two that do not contain each other.
    """
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        nested = any(not outer or name.startswith(f'{outer}.') for outer, _ in found)
        if isinstance(module, Searchable) and not nested:
            found.append((name, module))
    if len(found) != 1:
        names = [name for name, _ in found]
        raise ConfigError(
            f'model: found {len(found)} searchable modules {names or ""}, expected one, such as '
            "backbone=dict(type='SuperMBConv3D', ...)"
        )
    return found[0]
