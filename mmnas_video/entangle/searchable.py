"""Searchable: what a module must offer so that any search method can work on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmnas_video.cost import Block, ClosedForm, Cost
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, SearchSpace, Value

from .local import LocalWeights
from .mixture import Mixture
from .window import Slice, Window


class Searchable:
    """Mixin for the outermost module with choices; the only place where an active architecture is held.

    A subclass calls ``Searchable.__init__(self, space)`` and gives :meth:`slices`, and either :meth:`closed_form` or
    both :meth:`cost` and :meth:`cost_range`; the rest has defaults. Its ``forward`` reads :attr:`arch` once and hands
    windows down.
    """

    #: Whether every architecture takes clips of any number of frames; an exported network then does too.
    any_frames = False

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._arch: Arch | Mixture = space.largest
        self._closed_forms: dict[tuple[int, ...], ClosedForm] = {}
        #: Offsets on some weights, see :func:`~.local.add_local_weights`; None for none.
        self.local_weights: LocalWeights | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the closed forms, which a copy or another process makes anew: their functions hold this module."""
        return {**self.__dict__, '_closed_forms': {}}

    @property
    def arch(self) -> Arch | Mixture:
        """The active architecture, or the mixture; the largest architecture where none has been set."""
        return self._arch

    @contextmanager
    def use(self, arch: Mapping[str, Value] | Mixture) -> Iterator[Arch | Mixture]:
        """Make ``arch`` the active architecture for a block, and give the previous one back.

        It is one for the whole module: threads that share a module share it, processes do not.

        Raises:
            ConfigError: the arch, or the mixture, is not of this space.
        """
        if isinstance(arch, Mixture) and arch.space != self.space:
            raise ConfigError(f'mixture: found one over the space {arch.space!r}, expected {self.space!r}')
        previous, self._arch = self._arch, arch if isinstance(arch, Mixture) else self.space.check(arch)
        try:
            yield self._arch
        finally:
            self._arch = previous

    def derive(self, weights: Mapping[str, Sequence[float]]) -> Arch:
        """The architecture that weights over the values stand for: the heaviest value of every choice.

        Spaces of cells compare their edges with one another instead.

        Args:
            weights: per open choice one number for each value, such as softmax(α); of equals the first is taken.

        Raises:
            ConfigError: weights are missing, or not one for each value.
        """
        rows = ((choice, choice.weights(weights)) for choice in self.space)
        return Arch({choice.name: choice.values[row.index(max(row))] for choice, row in rows})

    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """Which part of which parameter and buffer ``arch`` uses, each name once.

        The names are also those of the pinned module: this is what extraction copies.
        """
        raise TypeError(f'{type(self).__name__} declares no slices')

    # ------------------------------------------------------------------ what it costs
    def closed_form(self, shape: Sequence[int]) -> ClosedForm:
        """What :meth:`cost` and :meth:`cost_range` ask; they keep it, since a search asks for few shapes.

        Args:
            shape: of one input, (C, T, H, W).

        Raises:
            ConfigError: a shape that the network does not take.
        """
        raise TypeError(f'{type(self).__name__} declares no closed form, and no cost and cost range of its own')

    def cost(self, arch: Mapping[str, Value], shape: Sequence[int]) -> Cost:
        """MACs and parameters of ``arch`` on one input of ``shape`` (C, T, H, W); exact, without a forward pass.

        Raises:
            ConfigError: an arch that is not of this space, a mixture, or a shape that the network does not take.
        """
        form = self._closed_form(shape)
        try:
            if len(arch) != len(self.space):
                raise ValueError(f'found {len(arch)} values, expected {len(self.space)}')
            return form(arch)
        except (KeyError, TypeError, ValueError):  # what is right need not be checked: that takes longer than the cost
            if isinstance(arch, Mixture):
                raise ConfigError(
                    'cost: found a Mixture, expected one architecture: a mixture has no single cost'
                ) from None
            self.space.check(arch)
            raise

    def cost_range(self, shape: Sequence[int]) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """Per quantity (``macs``, ``params``) the least and the most, each with an arch that has it."""
        return self._closed_form(shape).range()

    def _closed_form(self, shape: Sequence[int]) -> ClosedForm:
        key = tuple(shape)
        form = self._closed_forms.get(key)
        if form is None:
            form = self._closed_forms[key] = self.closed_form(key)
        return form

    def latency_blocks(self, arch: Mapping[str, Value], shape: tuple[int, ...]) -> Iterator[Block]:
        """The blocks of the network that ``arch`` is on clips of ``shape``; together they are all of it.

        ``tools/latency.py`` times them, and a latency table predicts them. By default the whole network is one, whose
        time grows with its multiply-adds and parameters.
        """
        yield Block('', 'network', (1.0, *map(float, self.cost(arch, shape))))

    def output(self, arch: Mapping[str, Value]) -> Window | None:
        """Channels of the supernet's output (dimension 1) that ``arch`` has; the others are zero there.

        None where the width does not depend on the architecture. Where it does, the linear layers outside that read the
        output (:func:`~mmnas_video.cost.output_readers`) are cut to these channels in the extracted network.
        """
        return None

    def canonical(self, arch: Mapping[str, Value], source: str = 'arch') -> Arch:
        """One arch for all that are the same network: what a search compares and remembers them by.

        Raises:
            ConfigError: an arch that is not of this space; ``source`` is what errors call it.
        """
        return self.space.check(arch, source)

    def occurrence(self, mixture: Mixture) -> Mapping[str, Tensor]:
        """Weights (K,) over the values of each choice as they count: 0 where a choice does nothing.

        Equal for all architectures (one-hot mixtures) that are the same network, as :meth:`canonical` is.
        """
        return mixture

    def alike(self, size: tuple[int, int, int]) -> Mapping[str, Sequence[Hashable]]:
        """On clips of ``size`` (T, H, W): choice name to something for each of its values, equal for those that do the
        same there. Values of a choice that is not named all differ, as they do in most spaces whatever the clip."""
        return {}

    def check_clip(self, size: tuple[int, int, int]) -> None:
        """Demand that a clip of ``size`` (T, H, W) fits every architecture of the space; most take any.

        Raises:
            ConfigError: it does not; says what is needed.
        """

    def describe(self) -> dict[str, Any]:
        """What a picture of an architecture needs beyond its values; stands in ``space.json``."""
        return {}

    def pinned_cfg(self, arch: Mapping[str, Value]) -> dict[str, Any]:
        """The arguments that differ when this module is built for ``arch`` alone (``dict(arch={...})``)."""
        return {'arch': dict(self.space.check(arch))}


def mixtures_uncompiled(forward: Callable[..., Any]) -> Callable[..., Any]:
    """For the ``forward`` of a :class:`Searchable`: ``torch.compile`` leaves it as it is while a mixture is active.

    Tracing the masks of a mixture takes minutes even on the demos' networks. Of architectures each is a graph, for as
    many as torch keeps of one function (``torch._dynamo.config.recompile_limit``, 8); all others run uncompiled.
    """
    uncompiled = torch.compiler.disable(forward)

    @functools.wraps(forward)
    def run(self: Searchable, *args: Any, **kwargs: Any) -> Any:
        leave = torch.compiler.is_compiling() and isinstance(self.arch, Mixture)
        return (uncompiled if leave else forward)(self, *args, **kwargs)

    return run


def bare_model(model: nn.Module) -> nn.Module:
    """The network in a Runner's ``model``, which wraps it where there are several processes."""
    return model.module if is_model_wrapper(model) else model


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
