"""ClosedForm: the cost of every architecture of a space for one input shape, and its extremes over the space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from mmnas_video.space import Arch, Value

from .cost import Cost


class ClosedForm(ABC):
    """Base of the costs that need no forward pass, and whose least and most are found quantity by quantity."""

    @abstractmethod
    def __call__(self, arch: Mapping[str, Value]) -> Cost:
        """MACs and parameters of ``arch``; of what is none a KeyError, TypeError or ValueError."""

    def range(self) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """Per quantity the least and the most, each with an arch that has it (exact)."""
        return {name: (self._extreme(q, min), self._extreme(q, max)) for q, name in enumerate(Cost._fields)}

    @abstractmethod
    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        """The ``best`` (min or max) of a quantity, by its number in :class:`Cost`."""
