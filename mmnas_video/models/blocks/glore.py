"""GloRe: global reasoning over a few nodes.

Source: Chen et al., "Graph-Based Global Reasoning Networks", CVPR 2019; chosen by AutoX3D (Sec. 3.4) and Auto-TSNet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mmnas_video.cost import Cost
from mmnas_video.entangle import MixedWindow, Slice, SuperBatchNorm3d, SuperConv3d, Window, whole


class SuperGloRe(nn.Module):
    """Project positions to M nodes with 2M states, reason by two 1-D convolutions, project back, add.

    ``V = S P^T / L``; ``V' = W relu(V + A V)``; ``y = x + bn(extend(V' P))`` with L = T·H·W. The division by L keeps
    the nodes' scale when the clip size changes. The last BN starts at zero: a new block is the identity. Inner sizes
    are fixed; only the channels of the features are a window. Parameters: 5CM + 5M² + 4M + 2C.

    Args:
        channels: largest width C.
        nodes: M.
    """

    def __init__(self, channels: int, nodes: int) -> None:
        super().__init__()
        self.nodes = nodes
        self.state = SuperConv3d(channels, 2 * nodes, bias=True)
        self.projection = SuperConv3d(channels, nodes, bias=True)
        self.node_conv = nn.Conv1d(nodes, nodes, 1)
        self.state_conv = nn.Conv1d(2 * nodes, 2 * nodes, 1, bias=False)
        self.extend = SuperConv3d(2 * nodes, channels)
        self.extend_norm = SuperBatchNorm3d(channels, eps=1e-4)
        nn.init.zeros_(self.extend_norm.weight)

    def forward(self, x: Tensor, channels: Window | MixedWindow) -> Tensor:
        """``(B, C, T, H, W)`` with ``C = channels.length``.

        Mixed in weight space: states and projection are those of all channels by their weights, and the product of the
        two is not the mean of the widths' products.
        """
        inner, states = whole(self.nodes), whole(2 * self.nodes)
        state = self.state(x, states, channels).flatten(2)  # (B, 2M, L)
        projection = self.projection(x, inner, channels).flatten(2)  # (B, M, L)
        graph = state @ projection.mT / projection.shape[-1]  # (B, 2M, M)
        graph = graph + self.node_conv(graph.mT).mT
        graph = self.state_conv(torch.relu(graph))
        y = (graph @ projection).view(x.shape[0], -1, *x.shape[2:])
        return self.extend_norm(self.extend(y, channels, states), channels, residual=x)

    def slices(self, prefix: str, channels: Window) -> Iterator[Slice]:
        """The parts of parameters and buffers that :meth:`forward` uses."""
        inner, states = whole(self.nodes), whole(2 * self.nodes)
        yield from self.state.slices(f'{prefix}state.', states, channels)
        yield from self.projection.slices(f'{prefix}projection.', inner, channels)
        yield Slice(f'{prefix}node_conv.weight')
        yield Slice(f'{prefix}node_conv.bias')
        yield Slice(f'{prefix}state_conv.weight')
        yield from self.extend.slices(f'{prefix}extend.', channels, states)
        yield from self.extend_norm.slices(f'{prefix}extend_norm.', channels)

    def cost(self, channels: int, size: tuple[int, int, int]) -> Cost:
        """MACs and parameters on features of ``size`` (T, H, W)."""
        m, length = self.nodes, math.prod(size)
        convs = self.state.cost(2 * m, channels, size) + self.projection.cost(m, channels, size)
        convs += self.extend.cost(channels, 2 * m, size) + SuperBatchNorm3d.cost(channels)
        products = 2 * (2 * m * m * length)  # to the nodes and back
        graph = 2 * m * m * m + 4 * m * m * m  # over the nodes, over the states
        return convs + Cost(products + graph, m * m + m + 4 * m * m)
