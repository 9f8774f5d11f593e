"""Cost of a chain of groups from tables: exact, without a forward pass, and cheap enough for every sampled arch.

A group's cost depends on its own values and on the channels that it is given. So a table per group, filled as it is
asked, answers any architecture; and the cheapest and the dearest one follow by dynamic programming over the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from operator import itemgetter

from mmnas_video.space import Arch, Group, Value

from .cost import Cost

#: (group number, channels given, kernel, expansion, channels, attention) to cost.
GroupCost = Callable[[int, Value, Value, Value, Value, Value], Cost]


class ChainCost:
    """Closed-form cost of every architecture of a chain, for one input shape.

    Args:
        groups: the groups in order, with the values that they offer.
        stem_channels: what the first group is given.
        fixed: cost of stem and of whatever else does not vary.
        group_cost: cost of one group.
        last: cost of what follows the last group, by its channels.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        stem_channels: int,
        fixed: Cost,
        group_cost: GroupCost,
        last: Callable[[Value], Cost],
    ) -> None:
        self._groups, self._stem, self._group_cost, self._last = tuple(groups), stem_channels, group_cost, last
        self._fixed = fixed
        names = [[choice.name for choice in group.choices()] for group in groups]
        #: Per group what it is asked by: the channels of the group before, then its own four values.
        self._keys = [
            itemgetter(*own) if i == 0 else itemgetter(f'{groups[i - 1].name}.channels', *own)
            for i, own in enumerate(names)
        ]
        self._ends = itemgetter(f'{groups[-1].name}.channels')
        self._tables: list[dict[tuple[Value, ...], Cost]] = [{} for _ in groups]

    def _entry(self, i: int, key: tuple[Value, ...]) -> Cost:
        cost = self._tables[i].get(key)
        if cost is None:
            cost = self._tables[i][key] = self._group_cost(i, *(key if i else (self._stem, *key)))
        return cost

    def __call__(self, arch: Mapping[str, Value]) -> Cost:
        """MACs and parameters of ``arch``."""
        values = arch.raw if isinstance(arch, Arch) else arch  # a plain dict: the look-ups below stay in C
        macs, params = self._fixed
        for i, (table, key_of) in enumerate(zip(self._tables, self._keys, strict=True)):
            key = key_of(values)
            cost = table.get(key) or self._entry(i, key)
            macs += cost[0]
            params += cost[1]
        last = self._last(self._ends(values))
        return Cost(macs + last[0], params + last[1])

    def range(self) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """Per quantity the least and the most, each with an arch that has it (exact: dynamic programming)."""
        return {name: (self._extreme(q, min), self._extreme(q, max)) for q, name in enumerate(Cost._fields)}

    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        # channels reached -> (cost so far, values so far)
        reached: dict[Value, tuple[int, dict[str, Value]]] = {self._stem: (self._fixed[quantity], {})}
        for i, group in enumerate(self._groups):
            names = [choice.name for choice in group.choices()]
            after: dict[Value, tuple[int, dict[str, Value]]] = {}
            for channels in group.channels:
                options = []
                for given, (cost, values) in reached.items():
                    inner = product(group.kernels, group.expansions, group.attentions)
                    before = (given,) if i else ()
                    own = [
                        (self._entry(i, (*before, k, e, channels, a))[quantity], (k, e, channels, a))
                        for k, e, a in inner
                    ]
                    step, choice = best(own, key=itemgetter(0))
                    options.append((cost + step, {**values, **dict(zip(names, choice, strict=True))}))
                after[channels] = best(options, key=itemgetter(0))
            reached = after
        ends = [(cost + self._last(channels)[quantity], values) for channels, (cost, values) in reached.items()]
        cost, values = best(ends, key=itemgetter(0))
        return cost, Arch(values)
