"""The cell space of P3D-DARTS as a table: one operator for every edge of a cell that the whole network repeats.

Source: Peng et al., "Video Action Recognition Via Neural Architecture Searching" (ICIP 2019), Table 1 (operators),
Sec. 2.1 (connections) and Sec. 3 (what is kept of α).

Input 0 of a node is C{t-2}, the cell before the previous one, input 1 is C{t-1}, and input 2 + i is node i.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mmnas_video.errors import ConfigError, shown

from .arch import Arch
from .choice import Choice, Value
from .space import SearchSpace

#: Table 1, ordered by parameters, so that the first is the cheapest: name -> what it is (C channels, space then time).
OPERATORS: dict[str, str] = {
    'zero': 'no connection',
    'skip': 'skip connection',
    'avg_pool_3': 'average pooling 3 x 3, then 3 frames',
    'max_pool_3': 'max pooling 3 x 3, then 3 frames',
    'conv_1': 'ReLU-conv-BN with kernel size 1',
    'spe_conv_3': 'separable: three 1-D filters of 3, along H, W and T',
    'conv_3': 'ReLU-conv-BN with 3 x 3, then 3 frames',
    'dil_conv_3': '3 x 3 dilated to a field of 5 x 5, then 3 frames',
}
#: The operator that is no connection: an edge with it is not there.
ZERO = 'zero'
#: Sec. 3: connections that each node keeps.
KEPT_INPUTS = 2
_EDGE = re.compile(r'cell\.n(\d+)\.e(\d+)')


def edge_name(node: int, source: int) -> str:
    """Name of the choice on the edge from input ``source`` to ``node``: ``'cell.n1.e0'``."""
    return f'cell.n{node}.e{source}'


def read_edge(name: str) -> tuple[int, int] | None:
    """Inverse of :func:`edge_name`; None for any other name."""
    match = _EDGE.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def edge_count(nodes: int) -> int:
    """M = (n + 1)(n + 2)/2 - 1 connections of a cell of n nodes (Sec. 2.1): 14 for n = 4."""
    return (nodes + 1) * (nodes + 2) // 2 - 1


def cell_edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """All ``(node, input)`` of a cell: each node is fed by both previous cells and by every node before it."""
    return tuple((node, source) for node in range(nodes) for source in range(node + 2))


def input_label(source: int) -> str:
    """How the paper calls an input: ``'C{t-2}'``, ``'C{t-1}'``, or the node's number."""
    return ('C{t-2}', 'C{t-1}')[source] if source < 2 else f'node {source - 2}'


def cell_space(nodes: int = 4, operators: Sequence[str] = tuple(OPERATORS), name: str = 'p3d') -> SearchSpace:
    """One choice for each edge, with the operators as its values in the order of :data:`OPERATORS`.

    Raises:
        ConfigError: fewer than one node, no operator, an unknown or repeated one, or nothing but ``'zero'``.
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        raise ConfigError(f'nodes: found {nodes!r}, expected a positive number of nodes in a cell')
    unknown = [op for op in operators if op not in OPERATORS]
    if unknown or len(set(operators)) != len(operators) or not set(operators) - {ZERO}:
        raise ConfigError(
            f'operators: found {shown(list(operators))}, expected some of {list(OPERATORS)}, each once, and at '
            f'least one beside {ZERO!r}'
        )
    ordered = tuple(op for op in OPERATORS if op in operators)
    return SearchSpace(name, [Choice(edge_name(*edge), ordered) for edge in cell_edges(nodes)])


def derive_cell(space: SearchSpace, weights: Mapping[str, Sequence[float]], inputs: int = KEPT_INPUTS) -> Arch:
    """The cell that weights over the operators stand for (Sec. 3): each edge is as strong as its strongest operator
    beside ``'zero'``, every node keeps its strongest inputs, and each of these its strongest operator.

    Args:
        space: of a cell, also narrowed. An edge that does not offer ``'zero'`` cannot be dropped, and is kept beyond
            ``inputs``.
        weights: per open edge softmax(α) over its operators, ``'zero'`` included: α itself does not compare between
            edges. Of equals the earlier input and the cheaper operator are kept.
        inputs: connections kept per node.

    Raises:
        ConfigError: weights are missing, or not one for each operator.
    """
    found: dict[str, Value] = dict.fromkeys(space.names, ZERO)
    strengths: dict[int, list[tuple[float, str, Value]]] = {}
    for choice in space:
        row = zip(choice.weights(weights), choice.values, strict=True)
        options = [(weight, -i) for i, (weight, op) in enumerate(row) if op != ZERO]
        if not options:
            continue
        strength, position = max(options)
        if ZERO not in choice.values:
            found[choice.name] = choice.values[-position]
        node, _ = read_edge(choice.name)
        strengths.setdefault(node, []).append((strength, choice.name, choice.values[-position]))
    for edges in strengths.values():
        kept = sorted(edges, key=lambda edge: -edge[0])[:inputs]  # stable: of equals the earlier input
        found.update({name: op for _, name, op in kept})
    return space.check(found, 'derive')
