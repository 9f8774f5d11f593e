"""ClosedForm: a cost that knows its extremes over the space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from mmnas_video.space import Arch

from .cost import Cost


class ClosedForm(ABC):
    """Base of the costs whose least and most are found quantity by quantity."""

    def range(self) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """Per quantity the least and the most, each with an arch that has it (exact)."""
        return {name: (self._extreme(q, min), self._extreme(q, max)) for q, name in enumerate(Cost._fields)}

    @abstractmethod
    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        """The ``best`` (min or max) of a quantity, by its number in :class:`Cost`."""
