"""SuperP3D: the P3D-DARTS network, as a supernet or pinned to one cell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmnas_video.cost import AdditiveCost, Block, Cost
from mmnas_video.entangle import Mixture, Searchable, Slice, add_local_weights, mixtures_uncompiled
from mmnas_video.errors import ConfigError, check_number
from mmnas_video.registry import MODELS
from mmnas_video.space import (
    KEPT_INPUTS,
    OPERATORS,
    Arch,
    Genotype,
    SearchSpace,
    Value,
    cell_space,
    derive_cell,
    genotype_arch,
    read_genotype,
)

from ..blocks import OpOptions, P3DCell, Stem
from ..blocks.p3d_cell import Terms
from ..latency_blocks import cell_blocks
from .clip_shape import clip_shape


@MODELS.register_module()
class SuperP3D(Searchable, BaseModule):
    """A stack of one cell, repeated, whose every edge is a choice of pseudo-3D operators.

    Source: P3D-DARTS (Peng et al., ICIP 2019), Sec. 2.1 and 3. Without ``arch`` or ``genotype`` it is the search
    network, in which an edge has all operators; with one of them it has the operators of that cell and nothing else.
    An edge that the cell leaves out is ``'zero'``, so a derived cell is an architecture like any other.

    The defaults are the search network: 3 cells, the first with 4 channels. The network that is trained has 6 cells,
    the first with 8.

    Args:
        nodes: n of a cell.
        operators: names in :data:`~mmnas_video.space.OPERATORS` offered to every edge.
        cells: how often the cell is repeated.
        channels: of a node in the first cell; at least 2.
        reductions: numbers of the cells (from 0) that halve height and width and double the channels; those beyond
            the last cell do not count.
        kept_inputs: connections that a derived cell keeps per node.
        fixed: choices to pin in a supernet, by name or pattern (``{'cell.n0.*': 'conv_3'}``).
        arch: path of an arch file, or its values; None for the supernet.
        genotype: the same as connections: path of a genotype file, or ``dict(nodes=[[[input, operator], ...], ...])``.
        space_name: name of the space in arch files.
        in_channels: 3 for RGB.
        stem_channels, stem_temporal_kernel, stem_stride: see :class:`~mmnas_video.models.blocks.Stem`; None for
            three times ``channels``, as in DARTS.
        norm_affine, pool_norm: see :class:`~mmnas_video.models.blocks.OpOptions`.
        local_weights: ``dict(groups=2, names=('*norm*',))``: parameters of which an architecture has its own mixture of
            offsets, see :class:`~mmnas_video.entangle.LocalWeights`; None for none.
        init_cfg: as everywhere in MMEngine, e.g. ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ConfigError: a number that is none, unknown operators, or an arch or genotype that is not of the space.
    """

    any_frames = True

    def __init__(
        self,
        nodes: int = 4,
        operators: Sequence[str] = tuple(OPERATORS),
        cells: int = 3,
        channels: int = 4,
        reductions: Sequence[int] = (1, 3, 5),
        kept_inputs: int = KEPT_INPUTS,
        fixed: Mapping[str, Value] | None = None,
        arch: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        genotype: str | os.PathLike[str] | Mapping[str, Any] | Genotype | None = None,
        space_name: str = 'p3d',
        in_channels: int = 3,
        stem_channels: int | None = None,
        stem_temporal_kernel: int | None = None,
        stem_stride: int = 1,
        norm_affine: bool = True,
        pool_norm: bool = False,
        local_weights: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        for key, value, least in (('cells', cells, 1), ('channels', channels, 2), ('kept_inputs', kept_inputs, 1)):
            check_number(f'backbone.{key}', value, least)
        space = cell_space(nodes, operators, space_name)
        Searchable.__init__(self, _pinned(space, fixed, arch, genotype))
        self.in_channels, self.kept_inputs = in_channels, kept_inputs
        self.stem = Stem(in_channels, stem_channels or 3 * channels, stem_temporal_kernel, stem_stride)
        self.cells = self._make_cells(cells, channels, set(reductions), OpOptions(norm_affine, pool_norm))
        #: Channels of the output, which the head must take.
        self.out_channels = nodes * self.cells[-1].channels
        add_local_weights(self, local_weights)

    def _make_cells(self, cells: int, channels: int, reductions: set[int], options: OpOptions) -> nn.ModuleList:
        made = nn.ModuleList()
        inputs = (self.stem.spatial.out_channels,) * 2
        for number in range(cells):
            halves = number in reductions
            channels *= 2 if halves else 1
            stride, older_larger = 2 if halves else 1, number > 0 and number - 1 in reductions
            made.append(P3DCell(self.space, inputs, channels, stride, older_larger, options))
            inputs = (inputs[1], len(made[-1].names) * channels)
        return made

    # ------------------------------------------------------------------ running
    @mixtures_uncompiled
    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` to ``(B, out_channels, T, H', W')``, halved by stem and reductions."""
        terms = self._terms(self.arch)
        x = self.stem(x)
        older, newer = x, x
        for cell in self.cells:
            older, newer = newer, cell(older, newer, terms)
        return newer

    def _terms(self, arch: Arch | Mixture) -> Terms:
        if isinstance(arch, Mixture):
            return {name: arch.terms(name) for name in self.space.names}
        return {name: {arch[name]: None} for name in self.space.names}

    # ------------------------------------------------------------------ as data
    def derive(self, weights: Mapping[str, Sequence[float]]) -> Arch:
        """The cell that softmax(α) stands for, ``kept_inputs`` connections a node; see
        :func:`~mmnas_video.space.derive_cell`."""
        return derive_cell(self.space, weights, self.kept_inputs)

    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """Which parameters and buffers ``arch`` uses: stem and adaptation always, of each edge its operator."""
        used = {(P3DCell.key(name), arch[name]) for name in self.space.names}
        for name in self.state_dict():
            parts = name.split('.')  # cells.<number>.edges.<edge>.<operator>.<rest>
            if parts[0] == 'local_weights':
                continue
            if parts[0] != 'cells' or parts[2] != 'edges' or (parts[3], parts[4]) in used:
                yield Slice(name)

    def closed_form(self, shape: Sequence[int]) -> AdditiveCost:
        """See :meth:`Searchable.closed_form`: a sum over the edges of all cells."""
        shape = clip_shape(shape, self)
        fixed, size = self.stem.cost(shape[1:]), self.stem.size_after(shape[1:])
        table: dict[str, dict[Value, Cost]] = {
            choice.name: dict.fromkeys(choice.values, Cost()) for choice in self.space
        }
        older = size
        for cell in self.cells:
            fixed += cell.fixed_cost(older, size)
            for name, costs in cell.edge_costs(size).items():
                for op, cost in costs.items():
                    table[name][op] += cost
            older, size = size, cell.size_after(size)
        return AdditiveCost(fixed, table)

    def latency_blocks(self, arch: Mapping[str, Value], shape: Sequence[int]) -> Iterator[Block]:
        """The operators of all cells, and the rest."""
        return cell_blocks(self, arch)


def _pinned(space: SearchSpace, fixed: Mapping | None, arch: Any, genotype: Any) -> SearchSpace:
    """The space with what a config pins in it."""
    if arch is not None and genotype is not None:
        raise ConfigError('backbone.genotype: found it beside backbone.arch, expected one of them')
    space = space.fix(space.match(fixed or {}, 'backbone.fixed'))
    if genotype is not None:
        arch = genotype_arch(read_genotype(genotype, 'backbone.genotype'), space, 'backbone.genotype')
    return space if arch is None else space.fix(space.read(arch, 'backbone.arch'))
