"""What the architectures of a search cost: the whole network, for a clip of the config's shape."""

from __future__ import annotations

from torch import nn

from mmnas_video.cost import Budget, Cost, Latency, RestCost, TimedCost, load_latency, output_readers, total_range
from mmnas_video.entangle import Searchable
from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch


class Costs:
    """MACs and parameters of the whole network, and latency where the budget has a table.

    Args:
        model: the bare recognizer.
        searchable: the module in it that is searched.
        budget: what is asked of the costs.
        shape: (C, T, H, W) of the clip; empty where none is given, then every cost is zero.

    Attributes:
        latency: the budget's latency table, if it has one.
        reach: per quantity the least and the most over the space; empty without a shape.

    Raises:
        ConfigError: a budget that cannot be told without a shape or a table, or that no architecture meets; a network
            that could not be extracted.
    """

    def __init__(self, model: nn.Module, searchable: Searchable, budget: Budget, shape: tuple[int, ...]) -> None:
        output_readers(model, searchable)  # refuses now what could not be extracted in the end
        if 'latency_ms' in budget.needs and budget.latency_table is None:
            raise ConfigError(
                'budget.latency_table: found none beside latency_ms, expected the path of a latency table '
                '(python tools/latency.py CONFIG makes it)'
            )
        if not shape and (budget.needs or budget.latency_table):
            raise ConfigError(
                'cost_shape: found none, expected the (C, T, H, W) of the clip whose cost the budget '
                'bounds, such as cost_shape = (3, 13, 160, 160)'
            )
        self.searchable, self.shape = searchable, shape
        self.latency: Latency | None = None
        self.reach: dict[str, tuple[float, float]] = {}
        if shape:
            self._rest = RestCost(model, searchable, shape)
            self.reach.update(total_range(model, searchable, shape, self._rest))
        if table := budget.latency_table:
            whole = self(searchable.space.largest)._asdict()
            self.latency = load_latency(table, searchable, shape, whole, 'budget.latency_table')
            self.reach['latency_ms'] = self.latency.range()
        budget.check_reachable(**self.reach)

    def __call__(self, arch: Arch) -> Cost | TimedCost:
        """Of one architecture."""
        if not self.shape:
            return Cost()
        cost = self.searchable.cost(arch, self.shape) + self._rest(arch)
        return cost if self.latency is None else TimedCost(*cost, self.latency(arch))
