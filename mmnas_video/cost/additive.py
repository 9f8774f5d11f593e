"""Cost of a network in which every choice costs the same whatever the others are: a sum over a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mmnas_video.space import Arch, Value

from .closed_form import ClosedForm
from .cost import Cost


class AdditiveCost(ClosedForm):
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

    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:  # the choices are independent
        arch = Arch({name: best(values, key=lambda v: values[v][quantity]) for name, values in self._table.items()})
        return self(arch)[quantity], arch
