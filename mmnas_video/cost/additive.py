"""Cost of a network in which every choice costs the same whatever the others are: a sum over a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mmnas_video.space import Arch, Value

from .cost import Cost


class AdditiveCost:
    """Closed-form cost of every architecture, for one input shape.

    Args:
        fixed: cost of what does not vary.
        table: per choice the cost of each value.
    """

    def __init__(self, fixed: Cost, table: Mapping[str, Mapping[Value, Cost]]) -> None:
        self._fixed, self._table = fixed, {name: dict(values) for name, values in table.items()}

    def __call__(self, arch: Mapping[str, Value]) -> Cost:
        """MACs and parameters of ``arch``."""
        macs, params = self._fixed
        for name, values in self._table.items():
            cost = values[arch[name]]
            macs, params = macs + cost[0], params + cost[1]
        return Cost(macs, params)

    def range(self) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """Per quantity the least and the most, each with an arch that has it (exact: the choices are independent)."""
        return {name: (self._extreme(q, min), self._extreme(q, max)) for q, name in enumerate(Cost._fields)}

    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        arch = Arch({name: best(values, key=lambda v: values[v][quantity]) for name, values in self._table.items()})
        return self(arch)[quantity], arch
