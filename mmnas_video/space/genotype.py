"""Genotype: a cell as its connections, and its file format.

The same cell as an :class:`~.arch.Arch` names every edge, ``'zero'`` where there is none; a genotype names what is
there. Either builds a network; a person reads and writes the genotype.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmnas_video.errors import ConfigError, shown

from .arch import Arch, parse_json
from .choice import Value
from .files import read_text
from .p3d import OPERATORS, ZERO, cell_edges, edge_count, edge_name, input_label, read_edge
from .space import SearchSpace

FORMAT = 'mmnas-video/genotype@1'


@dataclass(frozen=True)
class Genotype:
    """A cell as its connections: for every node the ``(input, operator)`` pairs that are added up in it.

    A derived cell has two pairs a node (:data:`KEPT_INPUTS`); a sampled one any number. Operators are never ``'zero'``.
    """

    nodes: tuple[tuple[tuple[int, str], ...], ...]


def read_cell(arch: Mapping[str, Value]) -> Genotype | None:
    """The cell that an arch describes; None where its names are not those of a cell space."""
    values: dict[tuple[int, int], Value] = {}
    for name, value in arch.items():
        edge = read_edge(name)
        if edge is None or value not in OPERATORS:
            return None
        values[edge] = value
    nodes = 1 + max((node for node, _ in values), default=-1)
    # The number first: a name from a file may ask for any number of nodes.
    if not values or len(values) != edge_count(nodes) or set(values) != set(cell_edges(nodes)):
        return None
    return Genotype(
        tuple(tuple((i, str(values[n, i])) for i in range(n + 2) if values[n, i] != ZERO) for n in range(nodes))
    )


def genotype_arch(genotype: Genotype, space: SearchSpace, source: str = 'genotype') -> Arch:
    """The arch of ``space`` in which the edges of the genotype carry its operators, and all others ``'zero'``.

    Raises:
        ConfigError: another number of nodes, an input that a node does not have or takes twice, an operator that is
            not offered.
    """
    nodes = 1 + max(read_edge(name)[0] for name in space.names)
    if len(genotype.nodes) != nodes:
        raise ConfigError(f'{source}: found {len(genotype.nodes)} nodes, expected {nodes}')
    arch: dict[str, Value] = dict.fromkeys(space.names, ZERO)
    for node, pairs in enumerate(genotype.nodes):
        taken = [i for i, _ in pairs]
        for i, op in pairs:
            place = f'{source}: node {node}'
            if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < node + 2:
                known = ', '.join(f'{k} ({input_label(k)})' for k in range(node + 2))
                raise ConfigError(
                    f'{place} takes the input {shown(i)}, which it does not have; expected one of {known}'
                )
            if taken.count(i) > 1:
                raise ConfigError(f'{place} takes the input {i} ({input_label(i)}) twice, expected each once')
            offered = [value for value in space[edge_name(node, i)].values if value != ZERO]
            if op not in offered:
                raise ConfigError(f'{place}: found the operator {shown(op)} on input {i}, expected one of {offered}')
            arch[edge_name(node, i)] = op
    return space.check(arch, source)


def genotype_to_json(genotype: Genotype) -> str:
    """The text of a genotype file: ``nodes`` holds a list of ``[input, operator]`` for each node."""
    nodes = [[list(pair) for pair in pairs] for pairs in genotype.nodes]
    lines = ',\n'.join(f'  {json.dumps(pairs)}' for pairs in nodes)
    return f'{{\n "format": {json.dumps(FORMAT)},\n "nodes": [\n{lines}\n ]\n}}\n'


def read_genotype(
    genotype: str | os.PathLike[str] | Mapping[str, Any] | Genotype, source: str = 'genotype'
) -> Genotype:
    """A genotype from what a config may hold: a path, a file's content, or the value itself.

    Only the form is checked here; whether its inputs and operators exist, :func:`genotype_arch` says.

    Raises:
        ConfigError: a file that cannot be read, or content that is not of this form.
    """
    if isinstance(genotype, Genotype):
        return genotype
    if isinstance(genotype, (str, os.PathLike)):
        source = f'{source}={str(genotype)!r}'
        genotype = parse_json(read_text(genotype, source), source, 'a genotype file')
    nodes = genotype.get('nodes') if isinstance(genotype, Mapping) else None
    if not isinstance(nodes, (list, tuple)) or genotype.get('format', FORMAT) != FORMAT:
        raise ConfigError(f'{source}: found {shown(genotype)}, expected a list of nodes, and the format {FORMAT!r}')
    for node, pairs in enumerate(nodes):
        if not isinstance(pairs, (list, tuple)) or not all(
            isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs
        ):
            raise ConfigError(
                f'{source}: node {node}: found {shown(pairs)}, expected a list of [input, operator] pairs'
            )
    return Genotype(tuple(tuple((i, op) for i, op in pairs) for pairs in nodes))
