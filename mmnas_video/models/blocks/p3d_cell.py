"""The cell of P3D-DARTS: nodes that add up operators over the outputs before them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import strided, weigh
from mmnas_video.space import ZERO, SearchSpace, Value, read_edge

from .p3d_ops import BUILDERS, CONVOLUTIONS, FactorizedReduce, OpOptions, ReluConvNorm, Size

#: Edge to the operators that take part in it and their weights; None for the one operator of an architecture.
Terms = Mapping[str, Mapping[Value, Tensor | None]]


class P3DCell(nn.Module):
    """A directed acyclic graph of n nodes over the outputs of the two previous cells (Sec. 2.1, Fig. 1).

    Both inputs are adapted to the cell's channels (and the older one to the resolution of the newer); a node is the sum
    of the operators on its edges; the nodes' outputs side by side are the cell's. Where the cell halves the
    resolution, the operators on edges from the two inputs have stride 2, as in DARTS.

    Args:
        space: the operators of each edge. What is not offered is not built.
        inputs: channels of C{t-2} and C{t-1}.
        channels: C of each node.
        stride: 2 to halve height and width.
        older_larger: whether C{t-2} has twice the resolution of C{t-1}.
        options: of the operators.
    """

    def __init__(
        self,
        space: SearchSpace,
        inputs: tuple[int, int],
        channels: int,
        stride: int,
        older_larger: bool,
        options: OpOptions,
    ) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride
        pointwise = CONVOLUTIONS['conv_1']
        self.adapt_older = (
            FactorizedReduce(inputs[0], channels, options.affine)
            if older_larger
            else ReluConvNorm(inputs[0], channels, pointwise, affine=options.affine)
        )
        self.adapt_newer = ReluConvNorm(inputs[1], channels, pointwise, affine=options.affine)
        self.names: list[list[str]] = []  # of the edges into each node
        self.edges = nn.ModuleDict()
        for choice in space:
            node, source = read_edge(choice.name)
            if source == 0:
                self.names.append([])
            self.names[node].append(choice.name)
            built = {
                op: BUILDERS[op](channels, self._stride_from(source), options) for op in choice.values if op != ZERO
            }
            self.edges[self.key(choice.name)] = nn.ModuleDict(built)

    @staticmethod
    def key(name: str) -> str:
        """An edge's name where a dot may not be: ``'n1_e0'``."""
        return '_'.join(name.split('.')[1:])

    def _stride_from(self, source: int) -> int:
        return self.stride if source < 2 else 1

    def forward(self, older: Tensor, newer: Tensor, terms: Terms) -> Tensor:
        """C{t-2} ``(B, C_0, T, H or 2H, W or 2W)`` and C{t-1} ``(B, C_1, T, H, W)`` to
        ``(B, n C, T, H / stride, W / stride)``."""
        states = [self.adapt_older(older), self.adapt_newer(newer)]
        for names in self.names:
            parts = [
                part for state, name in zip(states, names, strict=True) for part in self._edge(name, state, terms[name])
            ]
            # A node without connections is zeros, made from an input so that they have its shape and its graph.
            states.append(reduce(torch.add, parts) if parts else states[0][..., :: self.stride, :: self.stride] * 0)
        return torch.cat(states[2:], 1)

    def _edge(self, name: str, x: Tensor, terms: Mapping[Value, Tensor | None]) -> list[Tensor]:
        built = self.edges[self.key(name)]
        return [
            built[op](x) if weight is None else weigh(weight, built[op](x))
            for op, weight in terms.items()
            if op != ZERO
        ]

    def size_after(self, size: Size) -> Size:
        """(T, H, W) of the output."""
        return strided(size, (1, self.stride, self.stride))

    def fixed_cost(self, older: Size, newer: Size) -> Cost:
        """Cost of the adaptation of inputs of these sizes (T, H, W)."""
        return self.adapt_older.cost(older) + self.adapt_newer.cost(newer)

    def edge_costs(self, size: Size) -> dict[str, dict[Value, Cost]]:
        """Per edge the cost of each operator that is built, where C{t-1} has ``size`` (T, H, W)."""
        found: dict[str, dict[Value, Cost]] = {}
        for names in self.names:
            for source, name in enumerate(names):
                own = size if source < 2 else self.size_after(size)
                found[name] = {op: module.cost(own) for op, module in self.edges[self.key(name)].items()}
        return found
