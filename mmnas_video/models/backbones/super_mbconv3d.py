"""SuperMBConv3D: the AutoX3D backbone, as a supernet or pinned to one architecture."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmnas_video.cost import Block, ChainCost, Cost
from mmnas_video.entangle import (
    Mixture,
    Searchable,
    Slice,
    SuperBatchNorm3d,
    SuperConv3d,
    Window,
    add_local_weights,
    mixtures_uncompiled,
    whole,
)
from mmnas_video.errors import ConfigError
from mmnas_video.kernels import use_triton
from mmnas_video.registry import MODELS
from mmnas_video.space import (
    ATTENTIONS,
    AUTOX3D_STAGES,
    EXPANSIONS,
    KERNELS,
    Value,
    mbconv3d_groups,
    mbconv3d_space,
    narrowed,
)

from ..blocks import GroupWindows, JoinedInput, MBConv3DGroup, Stem
from ..latency_blocks import chain_blocks
from .clip_shape import clip_shape
from .norm_eval import NormEval


@MODELS.register_module()
class SuperMBConv3D(NormEval, Searchable, BaseModule):
    """Chain of MBConv3D groups whose kernel, width, expansion and attention are choices.

    Source: AutoX3D (Jiang et al., WACV 2022), Sec. 3 and Table 2; blocks as in X3D (Feichtenhofer, CVPR 2020), of which
    X3D-S/M/L are points. Without ``arch`` it is the supernet; with it, it has exactly the layers and widths of that
    architecture and nothing else.

    Args:
        stages: table of channels and blocks, see :func:`~mmnas_video.space.mbconv3d_groups`.
        kernels, expansions, attentions: values offered to every group.
        attention_sites: groups that offer the attentions, e.g. ``('s2.g1', 's3.g4')``; None for all.
        fixed: choices to pin in a supernet, by name or pattern (``{'*.kernel': 't3_s3'}``).
        arch: path of an arch file, or its values; None for the supernet.
        space_name: name of the space in arch files.
        in_channels: 3 for RGB.
        stem_channels, stem_temporal_kernel, stem_stride: see :class:`~mmnas_video.models.blocks.Stem`.
        spatial_strides: of the first block of each stage.
        depth_scale: factor on every group's number of blocks (AutoX3D-L: 2); not part of the arch.
        out_channels: width of the last 1x1x1 convolution (432 in Table 2).
        se_ratio: squeeze-and-excitation in every other block of a stage, from its first; None for none.
        sharing: ``'fair'`` (Sec. 4.2) or ``'prefix'`` channel windows.
        glore_nodes: M of GloRe, per stage. Not in the paper: these reproduce the MACs of its Table 3.
        nonlocal_widths: inner width of the non-local block, per stage.
        drop_path: stochastic depth of the last block, growing linearly from 0.
        zero_init_residual: start every block as its shortcut.
        norm_eval: keep BatchNorm in eval mode while training.
        with_cp: recompute blocks in the backward pass to save memory.
        joined_channels: what a backbone of several streams joins to a group's input: per group, by name, the largest
            width. Not for configs.
        local_weights: ``dict(groups=2, names=('*norm*',))``: parameters of which an architecture has its own mixture of
            offsets, see :class:`~mmnas_video.entangle.LocalWeights`; None for none.
        init_cfg: as everywhere in MMEngine, e.g. ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ConfigError: a malformed table, or an arch that is not of the space.
    """

    any_frames = True

    def __init__(
        self,
        stages: Sequence[Sequence] = AUTOX3D_STAGES,
        kernels: Sequence[str] = tuple(KERNELS),
        expansions: Sequence[float] = EXPANSIONS,
        attentions: Sequence[str] = ATTENTIONS,
        attention_sites: Sequence[str] | None = None,
        fixed: Mapping[str, Value] | None = None,
        arch: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        space_name: str = 'autox3d',
        in_channels: int = 3,
        stem_channels: int = 24,
        stem_temporal_kernel: int | None = None,
        stem_stride: int = 2,
        spatial_strides: Sequence[int] = (2, 2, 2, 2),
        depth_scale: float = 1.0,
        out_channels: int = 432,
        se_ratio: float | None = 1 / 16,
        sharing: str = 'fair',
        glore_nodes: Sequence[int] = (34, 93, 144, 209),
        nonlocal_widths: Sequence[int] = (12, 24, 48, 96),
        drop_path: float = 0.0,
        zero_init_residual: bool = True,
        norm_eval: bool = False,
        with_cp: bool = False,
        joined_channels: Mapping[str, Mapping[str, int]] | None = None,
        local_weights: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        groups = mbconv3d_groups(
            stages,
            spatial_strides=spatial_strides,
            expansions=expansions,
            kernels=kernels,
            attentions=attentions,
            attention_sites=attention_sites,
            depth_scale=depth_scale,
        )
        space = mbconv3d_space(groups, space_name)
        space = space.fix(space.match(fixed or {}, 'backbone.fixed'))
        if arch is not None:
            space = space.fix(space.read(arch, 'backbone.arch'))
        Searchable.__init__(self, space)
        self.in_channels, self.stem_channels, self.norm_eval = in_channels, stem_channels, norm_eval

        self.total_stride = stem_stride * math.prod(spatial_strides[: len(stages)])
        self.stem = Stem(in_channels, stem_channels, stem_temporal_kernel, stem_stride)
        self.group_specs = narrowed(groups, space)
        sites = (_per_stage('glore_nodes', glore_nodes, stages), _per_stage('nonlocal_widths', nonlocal_widths, stages))
        self.groups = self._make_groups(se_ratio, sharing, sites, drop_path, with_cp, joined_channels or {})
        last = self.groups[-1].outputs
        self.last = SuperConv3d(max(last), out_channels)
        self.last_norm = SuperBatchNorm3d(out_channels)
        if zero_init_residual:
            for group in self.groups:
                for block in group.blocks:
                    nn.init.zeros_(block.project_norm.weight)
        add_local_weights(self, local_weights)

    def _make_groups(
        self,
        se_ratio: float | None,
        sharing: str,
        sites: tuple[Sequence[int], Sequence[int]],
        drop_path: float,
        with_cp: bool,
        joined_channels: Mapping[str, Mapping[str, int]],
    ) -> nn.ModuleList:
        total = sum(group.blocks for group in self.group_specs)
        inputs: Mapping[int, Window] = {self.stem_channels: whole(self.stem_channels)}
        groups, done, in_stage, stage = nn.ModuleList(), 0, 0, ''
        for group in self.group_specs:
            if group.stage != stage:
                stage, in_stage = group.stage, 0
            numbers = range(done, done + group.blocks)
            nodes, width = (site[int(stage[1:]) - 1] for site in sites)
            groups.append(
                MBConv3DGroup(
                    group,
                    inputs,
                    se_ratio,
                    tuple((in_stage + b) % 2 == 0 for b in range(group.blocks)),
                    sharing,
                    nodes,
                    width,
                    tuple(drop_path * n / max(total - 1, 1) for n in numbers),
                    with_cp,
                    joined_channels.get(group.name),
                )
            )
            inputs, done, in_stage = groups[-1].outputs, done + group.blocks, in_stage + group.blocks
        return groups

    # ------------------------------------------------------------------ running
    def walk(
        self, arch: Mapping[str, Value] | Mixture, joined: Mapping[str, JoinedInput] | None = None
    ) -> Iterator[tuple[MBConv3DGroup, GroupWindows]]:
        """Each group with its windows.

        Args:
            arch: an architecture or a mixture.
            joined: what another stream joins to the first blocks, by the names of their groups.
        """
        source: Value = self.stem_channels
        for group in self.groups:
            at, more = group.at(arch, source), (joined or {}).get(group.spec.name)
            yield group, at.joined_by(more) if more else at
            source = f'{group.spec.name}.channels'

    @mixtures_uncompiled
    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` to ``(B, out_channels, T, H / 32, W / 32)`` with the active architecture or mixture."""
        x = self.enter(x)
        for group, at in self.walk(self.arch):
            x = group(x, at)
        return self.leave(x, at)

    def enter(self, x: Tensor) -> Tensor:
        """What the first group is given: ``(B, 3, T, H, W)`` to ``(B, stem_channels, T, H / 2, W / 2)``."""
        self.check_clip(tuple(x.shape[-3:]))
        if x.device.type == 'cpu' or use_triton(x):
            # Our kernels want it, and so do oneDNN's depthwise ones: for some sizes the backward pass in the default
            # layout takes 50 x longer.
            x = x.contiguous(memory_format=torch.channels_last_3d)
        return self.stem(x)

    def leave(self, x: Tensor, at: GroupWindows) -> Tensor:
        """The last convolution, on what the last group (with windows ``at``) gives."""
        out = whole(self.last.weight.shape[0])
        return self.last_norm(self.last(x, out, at.rest.out), out, 'relu')

    # ------------------------------------------------------------------ as data
    def slices(self, arch: Mapping[str, Value], joined: Mapping[str, JoinedInput] | None = None) -> Iterator[Slice]:
        """Which part of which parameter and buffer ``arch`` uses; ``joined`` as in :meth:`walk`."""
        yield from self.stem.slices('stem.')
        for i, (group, at) in enumerate(self.walk(arch, joined)):
            yield from group.slices(f'groups.{i}.', at)
        out = whole(self.last.weight.shape[0])
        yield from self.last.slices('last.', out, at.rest.out)
        yield from self.last_norm.slices('last_norm.', out)

    def describe(self) -> dict[str, Any]:
        """Blocks per group."""
        return {'blocks': {group.name: group.blocks for group in self.group_specs}}

    def sizes(self, shape: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
        """(T, H, W) that each group is given, and at last that of the output, for a clip of ``shape`` (C, T, H, W)."""
        sizes = [self.stem.size_after(clip_shape(shape, self)[1:])]
        for group in self.groups:
            sizes.append(group.size_after(sizes[-1]))
        return tuple(sizes)

    def check_clip(self, size: tuple[int, int, int]) -> None:
        """Demand that something is left of height and width after stem and stages."""
        if min(size[1:]) < self.total_stride:
            raise ConfigError(
                f'crop size: found {size[1]}x{size[2]} pixels, expected at least {self.total_stride} on each '
                'side: stem and stages halve it down to nothing (backbone.spatial_strides)'
            )

    def closed_form(self, shape: Sequence[int], prefix: str = '') -> ChainCost:
        """See :meth:`Searchable.closed_form`; ``prefix`` stands before the names of the choices in the archs."""
        shape = clip_shape(shape, self)
        sizes, out = self.sizes(shape), self.last.weight.shape[0]
        choices = [group.choices() for group in self.group_specs]

        def group_cost(i: int, *values: Value) -> Cost:
            for choice, value in zip(choices[i], values[1:], strict=True):
                choice.index(value)  # refuses what is not offered: some of it has windows and weights all the same
            return self.groups[i].cost(self.groups[i].windows(*values), sizes[i])

        last = {c: self.last.cost(out, c, sizes[-1]) + SuperBatchNorm3d.cost(out) for c in self.groups[-1].outputs}
        return ChainCost(
            [replace(group, name=prefix + group.name) for group in self.group_specs],
            self.stem_channels,
            self.stem.cost(shape[1:]),
            group_cost,
            last.__getitem__,
        )

    def latency_blocks(self, arch: Mapping[str, Value], shape: Sequence[int]) -> Iterator[Block]:
        """Blocks and attentions, and the rest: stem, last convolution, head."""
        yield from chain_blocks(self, arch)
        yield Block('', 'rest', (1.0, arch[f'{self.group_specs[-1].name}.channels']))


def _per_stage(key: str, values: Sequence[int], stages: Sequence) -> tuple[int, ...]:
    if len(values) < len(stages):
        raise ConfigError(
            f'backbone.{key}: found {len(values)} values, expected one for each of the {len(stages)} stages'
        )
    return tuple(values)
