"""Cost of two chains of groups of which the second joins the first between groups: exact, from tables.

What a fusion costs depends on its kind, on both streams' channels at its site, and on the first block after it. So it
has a table of its own, and the chains keep theirs: the total is two chains and one entry a site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from operator import itemgetter

from mmnas_video.space import Arch, Value

from .chain import ChainCost, CostTable, total
from .closed_form import ClosedForm
from .cost import Cost

#: (site, fusion, dense channels, sparse channels there, expansion and channels of the next sparse group) to cost.
FusionCost = Callable[[int, Value, Value, Value, Value, Value], Cost]
#: Cost and the values that have it.
Found = tuple[int, dict[str, Value]]


class TwoStreamCost(ClosedForm):
    """Closed-form cost of every architecture of two streams, for one input shape.

    Args:
        sparse, dense: the chains as if nothing joined, by the names that the archs have (``'sparse.s1.g1.kernel'``).
        fusions: per site the name of its choice and the values offered.
        fusion_cost: what a fusion adds to both: its own layers, and the channels that the next sparse group reads more.
    """

    def __init__(
        self,
        sparse: ChainCost,
        dense: ChainCost,
        fusions: Sequence[tuple[str, Sequence[Value]]],
        fusion_cost: FusionCost,
    ) -> None:
        self._sparse, self._dense, self._fusions = sparse, dense, tuple(fusions)
        keys = [
            itemgetter(name, f'{d.name}.channels', f'{s.name}.channels', f'{s1.name}.expansion', f'{s1.name}.channels')
            for (name, _), d, s, s1 in zip(fusions, dense.groups, sparse.groups, sparse.groups[1:], strict=False)
        ]
        self._tables = [CostTable(partial(fusion_cost, i)) for i in range(len(keys))]
        self._terms = (*sparse.terms, *dense.terms, *zip(self._tables, keys, strict=True))

    def __call__(self, arch: Mapping[str, Value]) -> Cost:
        """MACs and parameters of ``arch``."""
        return total(self._terms, arch)

    def _extreme(self, quantity: int, best: Callable) -> tuple[int, Arch]:
        # Dynamic programming over both streams' channels after each group: on them alone depends what follows.
        start = {(self._sparse.stem, self._dense.stem): (0, {})}
        reached: dict[tuple[Value, Value], Found] = start
        for i in range(len(self._sparse.groups)):
            given = sorted(reached, key=str)
            slow = _steps(self._sparse, i, {s for s, _ in given}, quantity, best, by=('expansion', 'channels'))
            fast = _steps(self._dense, i, {d for _, d in given}, quantity, best, by=('channels',))
            after: dict[tuple[Value, Value], Found] = {}
            for (s, d), (e, c), (fused, fusion) in self._fused(i, given, quantity, best):
                cost, values = _joined(reached[s, d], slow[s][e, c], (fused, fusion))
                for (c_dense,), step in fast[d].items():
                    found = _joined((cost, values), step)
                    after[c, c_dense] = best(after.get((c, c_dense), found), found, key=itemgetter(0))
            reached = after
        ends = [
            (cost + self._sparse.ends(s)[quantity] + self._dense.ends(d)[quantity], values)
            for (s, d), (cost, values) in reached.items()
        ]
        cost, values = best(ends, key=itemgetter(0))
        return cost, Arch(values)

    def _fused(self, i: int, given: Iterable, quantity: int, best: Callable) -> Iterator:
        """Per pair of channels given, and per (expansion, channels) of sparse group i, the best fusion before it."""
        group = self._sparse.groups[i]
        for (s, d), own in product(given, product(group.expansions, group.channels)):
            if i == 0:
                yield (s, d), own, (0, {})
                continue
            name, offered = self._fusions[i - 1]
            options = [(self._tables[i - 1].at(f, d, s, *own)[quantity], {name: f}) for f in offered]
            yield (s, d), own, best(options, key=itemgetter(0))


def _steps(
    chain: ChainCost, i: int, given: Iterable[Value], quantity: int, best: Callable, by: Sequence[str]
) -> dict[Value, dict[tuple[Value, ...], Found]]:
    """Per channels given and per values of ``by``, the best of the group's other values."""
    group = chain.groups[i]
    names = [choice.name for choice in group.choices()]
    kept = [j for j, name in enumerate(names) if name.rpartition('.')[2] in by]
    found: dict[Value, dict[tuple[Value, ...], Found]] = {}
    for channels in given:
        options = found.setdefault(channels, {})
        for own in product(*(choice.values for choice in group.choices())):
            cost = chain.tables[i].at(*((channels, *own) if i else own))[quantity]
            key, option = tuple(own[j] for j in kept), (cost, dict(zip(names, own, strict=True)))
            options[key] = best(options.get(key, option), option, key=itemgetter(0))
    return found


def _joined(*parts: Found) -> Found:
    return sum(cost for cost, _ in parts), {name: value for _, values in parts for name, value in values.items()}
