"""Cost of a chain of groups from tables: exact, without a forward pass, and cheap enough for every sampled arch.

A group's cost depends on its own values and on the channels that it is given. So a table per group, filled as it is
asked, answers any architecture; and the cheapest and the dearest one follow by dynamic programming over the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from operator import itemgetter

from mmnas_video.space import Arch, Group, Value

from .closed_form import ClosedForm
from .cost import Cost

#: A cost as one number, multiply-adds above and parameters in the low bits: sums of costs are then sums of integers.
_BITS = 48


class CostTable(dict[tuple[Value, ...], int]):
    """Packed costs by what they depend on, filled as they are asked for; a look-up then does not leave C.

    Args:
        cost: from the parts of a key to its cost.
    """

    def __init__(self, cost: Callable[..., Cost]) -> None:
        super().__init__()
        self._cost = cost

    def __missing__(self, key: tuple[Value, ...]) -> int:
        packed = self[key] = pack(self._cost(*key))
        return packed

    def at(self, *key: Value) -> Cost:
        """The cost for a key."""
        return unpack(self[key])


def pack(cost: Cost) -> int:
    """A cost as one number."""
    return (cost.macs << _BITS) + cost.params


def unpack(packed: int) -> Cost:
    """The cost, or the sum of costs, that a number stands for."""
    return Cost(packed >> _BITS, packed & ((1 << _BITS) - 1))


#: (group number, channels given, kernel, expansion, channels, attention) to cost.
GroupCost = Callable[[int, Value, Value, Value, Value, Value], Cost]


#: A table, and what picks its key from an architecture's values.
Term = tuple[CostTable, Callable[[Mapping[str, Value]], tuple[Value, ...]]]


def total(terms: Iterable[Term], arch: Mapping[str, Value]) -> Cost:
    """Sum over the terms for ``arch``."""
    values = arch.raw if isinstance(arch, Arch) else arch  # a plain dict: the look-ups below stay in C
    return unpack(sum([table[key_of(values)] for table, key_of in terms]))


def _single(name: str) -> Callable[[Mapping[str, Value]], tuple[Value, ...]]:
    return lambda values: (values[name],)


class ChainCost(ClosedForm):
    """Closed-form cost of every architecture of a chain, for one input shape.

    Attributes:
        groups, stem: as given.
        tables: per group the cost by the channels of the group before (the first has none) and its own four values.

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
        self.groups, self.stem, self._last, self._fixed = tuple(groups), stem_channels, last, fixed
        names = [[choice.name for choice in group.choices()] for group in groups]
        #: Per group its table, and what that is asked by: the channels of the group before, then its own four values.
        self.tables = [
            CostTable(partial(group_cost, i) if i else partial(group_cost, 0, stem_channels))
            for i in range(len(groups))
        ]
        keys = [
            itemgetter(*own) if i == 0 else itemgetter(f'{groups[i - 1].name}.channels', *own)
            for i, own in enumerate(names)
        ]
        ends = CostTable(self.ends)
        #: All that an architecture's cost is the sum of.
        self.terms = (*zip(self.tables, keys, strict=True), (ends, _single(f'{groups[-1].name}.channels')))

    def __call__(self, arch: Mapping[str, Value]) -> Cost:
        """MACs and parameters of ``arch``."""
        return total(self.terms, arch)

    def ends(self, channels: Value) -> Cost:
        """Cost of what does not vary, and of what follows a last group of that many channels."""
        return self._fixed + self._last(channels)

    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        # Dynamic programming: channels reached -> (cost so far, values so far)
        reached: dict[Value, tuple[int, dict[str, Value]]] = {self.stem: (0, {})}
        for i, group in enumerate(self.groups):
            names = [choice.name for choice in group.choices()]
            after: dict[Value, tuple[int, dict[str, Value]]] = {}
            for channels in group.channels:
                options = []
                for given, (cost, values) in reached.items():
                    inner = product(group.kernels, group.expansions, group.attentions)
                    before = (given,) if i else ()
                    own = [
                        (self.tables[i].at(*before, k, e, channels, a)[quantity], (k, e, channels, a))
                        for k, e, a in inner
                    ]
                    step, choice = best(own, key=itemgetter(0))
                    options.append((cost + step, {**values, **dict(zip(names, choice, strict=True))}))
                after[channels] = best(options, key=itemgetter(0))
            reached = after
        ends = [(cost + self.ends(channels)[quantity], values) for channels, (cost, values) in reached.items()]
        cost, values = best(ends, key=itemgetter(0))
        return cost, Arch(values)
