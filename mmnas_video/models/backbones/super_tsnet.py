"""SuperTSNet: the Auto-TSNet backbone of two streams, as a supernet or pinned to one architecture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmnas_video.cost import Block, ClosedForm, Cost, TwoStreamCost
from mmnas_video.entangle import Mixture, Searchable, Slice, Window, add_local_weights, lay_windows, mixtures_uncompiled
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.space import (
    ATTENTION_SITES,
    ATTENTIONS,
    EXPANSIONS,
    FUSIONS,
    KERNELS,
    STREAMS,
    Value,
    stream_values,
    tsnet_space,
)

from ..blocks import FusionWindows, JoinedInput
from ..latency_blocks import chain_blocks, fusion_block
from ..necks.ts_fusion import FusionSite
from .clip_shape import clip_shape
from .norm_eval import NormEval
from .stream_config import (
    FUSION_KEYS,
    STREAM_DEFAULTS,
    STREAM_KEYS,
    checked,
    frame_ratio,
    named,
    stream_groups,
    stream_names,
)
from .super_mbconv3d import SuperMBConv3D


@MODELS.register_module()
class SuperTSNet(NormEval, Searchable, BaseModule):
    """A sparse and a dense chain of MBConv3D groups on frames of one clip, the dense one joining the sparse one.

    Source: Auto-TSNet (Gong et al., ICCV 2021), Sec. 3 and Table 1. Each stream is a :class:`SuperMBConv3D`
    (``self.sparse``, ``self.dense``) with choices ``sparse.s1.g1.kernel``, ``dense.s1.g1.channels``, ...; after every
    group but the last, ``fusion.s1.g1`` says what joins the sparse stream. A clip has the dense stream's frames; the
    sparse stream sees the first of every ``dense_frames / sparse_frames``, which is also where the fusions look.

    Args:
        streams: ``('sparse', 'dense')``, or one of them for a network of that stream alone, whose parameters and
            choices have the names that they have in the two-stream network.
        sparse, dense: arguments of :class:`SuperMBConv3D` for that stream alone, in the place of those in
            :data:`~.stream_config.STREAM_DEFAULTS`.
        fusion: config of the fusion module.
        fusions: fusions offered at every site, names in :data:`~mmnas_video.space.FUSIONS`.
        sparse_frames, dense_frames: T of each stream.
        kernels, expansions, attentions, attention_sites: values offered to every group of both streams.
        arch: path of an arch file, or its values; None for the supernet.
        replaced: values that take the place of those of ``arch``, by name or pattern: ``{'*.attention': 'none'}`` is
            Auto-TSNet-S, M, L without attention.
        fixed: choices to pin in a supernet, by name or pattern (``{'dense.*.kernel': 't3_s3'}``).
        space_name: name of the space in arch files.
        pooled: return both streams' features averaged over (T, H, W) and joined, for one head over both; else the pair
            (sparse, dense) of feature maps, for a neck.
        in_channels: 3 for RGB.
        stem_temporal_kernel: of the depthwise convolution in both stems (3x1x1 in Table 1).
        spatial_strides, depth_scale, se_ratio, sharing, drop_path, zero_init_residual, with_cp: of both streams, see
            :class:`SuperMBConv3D`.
        norm_eval: keep BatchNorm of the streams and the fusions in eval mode while training.
        local_weights: ``dict(groups=2, names=('*norm*',))``: parameters of which an architecture has its own mixture of
            offsets, see :class:`~mmnas_video.entangle.LocalWeights`; None for none.
        init_cfg: as everywhere in MMEngine.

    Raises:
        ConfigError: dense frames that are no multiple of the sparse ones, unknown streams or keys, a malformed table,
            streams whose groups differ, or an arch that is not of the space.
    """

    def __init__(
        self,
        streams: Sequence[str] = STREAMS,
        sparse: Mapping[str, Any] | None = None,
        dense: Mapping[str, Any] | None = None,
        fusion: Mapping[str, Any] | None = None,
        fusions: Sequence[str] = tuple(FUSIONS),
        sparse_frames: int = 4,
        dense_frames: int = 32,
        kernels: Sequence[str] = tuple(KERNELS),
        expansions: Sequence[float] = EXPANSIONS,
        attentions: Sequence[str] = ATTENTIONS,
        attention_sites: Sequence[str] | None = ATTENTION_SITES,
        fixed: Mapping[str, Value] | None = None,
        arch: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        space_name: str = 'tsnet',
        pooled: bool = True,
        in_channels: int = 3,
        stem_temporal_kernel: int | None = 3,
        spatial_strides: Sequence[int] = (2, 2, 2, 2),
        depth_scale: float = 1.0,
        se_ratio: float | None = 1 / 16,
        sharing: str = 'fair',
        drop_path: float = 0.0,
        zero_init_residual: bool = True,
        norm_eval: bool = False,
        with_cp: bool = False,
        local_weights: Mapping[str, Any] | None = None,
        replaced: Mapping[str, Value] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        self.streams = stream_names(streams)
        self.in_channels, self.pooled, self.norm_eval = in_channels, pooled, norm_eval
        self.sparse_frames, self.dense_frames = sparse_frames, dense_frames
        self.ratio = frame_ratio(sparse_frames, dense_frames)
        both = dict(
            kernels=kernels, expansions=expansions, attentions=attentions, attention_sites=attention_sites,
            stem_temporal_kernel=stem_temporal_kernel, depth_scale=depth_scale, se_ratio=se_ratio, drop_path=drop_path,
        )  # fmt: skip
        rest = dict(
            in_channels=in_channels, spatial_strides=spatial_strides, sharing=sharing,
            zero_init_residual=zero_init_residual, norm_eval=norm_eval, with_cp=with_cp,
        )  # fmt: skip
        given = dict(sparse=sparse, dense=dense)
        own = {n: {**both, **STREAM_DEFAULTS[n], **checked(n, given[n], STREAM_KEYS)} for n in self.streams}
        groups = {name: stream_groups(name, cfg, spatial_strides) for name, cfg in own.items()}
        self._names = [group.name for group in groups[self.streams[0]]]
        space = tsnet_space(groups, fusions, space_name)
        space = space.fix(space.match(fixed or {}, 'backbone.fixed'))
        if replaced and arch is None:
            raise ConfigError('backbone.replaced: found it without backbone.arch, expected fixed in a supernet')
        if arch is not None:
            values = space.read(arch, 'backbone.arch').replace(space.match(replaced or {}, 'backbone.replaced'))
            space = space.fix(values)
        Searchable.__init__(self, space)
        self.fusion = self._make_fusion(fusion or {}, sharing) if len(groups) == 2 else None
        for name, cfg in own.items():
            setattr(self, name, self._make_stream(name, {**cfg, **rest}))
        add_local_weights(self, local_weights)

    def _make_fusion(self, cfg: Mapping[str, Any], sharing: str) -> BaseModule:
        """The fusion module, with a site after every group but the last."""
        cfg = {'type': 'TSFusion', **cfg}
        if cfg['type'] == 'TSFusion':
            checked('fusion', cfg, FUSION_KEYS)

        def windows(stream: str, name: str) -> dict[Value, Window]:
            widths = self.space[f'{stream}.{name}.channels'].values
            return dict(zip(widths, lay_windows(widths, sharing), strict=True))

        sites = [
            FusionSite(windows('sparse', name), windows('dense', name), self.space[f'fusion.{name}'].values)
            for name in self._names[:-1]
        ]
        return MODELS.build({**cfg, 'ratio': self.ratio, 'sites': sites})

    def _make_stream(self, name: str, cfg: Mapping[str, Any]) -> SuperMBConv3D:
        joined: dict[str, Mapping[str, int]] = {}
        if name == 'sparse' and self.fusion is not None:
            sites = zip(self._names[1:], self.fusion.sites, strict=True)
            joined = {group: site.joined_channels for group, site in sites}
        pins = stream_values({choice.name: choice.values[0] for choice in self.space if choice.single}, name)
        with named(name):
            return SuperMBConv3D(**cfg, fixed=pins, joined_channels=joined)

    # ------------------------------------------------------------------ running
    def _part(self, arch: Mapping[str, Any] | Mixture, name: str) -> Mapping[str, Any] | Mixture:
        """A stream's own part of an architecture or a mixture."""
        values = stream_values(arch, name)
        if not isinstance(arch, Mixture):
            return values
        return Mixture(getattr(self, name).space, values, {key: arch.present(f'{name}.{key}') for key in values})

    def _fusion_windows(self, arch: Mapping[str, Any] | Mixture) -> list[FusionWindows]:
        """What the architecture or the mixture makes of each site."""
        found = []
        for group, site in zip(self._names, self.fusion.sites if self.fusion else (), strict=False):
            choices = f'fusion.{group}', f'sparse.{group}.channels', f'dense.{group}.channels'
            if isinstance(arch, Mixture):
                found.append(site.mixed(arch.terms(choices[0]), *(arch[name] for name in choices[1:])))
            else:
                found.append(site.at(*(arch[name] for name in choices)))
        return found

    def _joined(self, at: Sequence[FusionWindows]) -> dict[str, JoinedInput]:
        """What joins the sparse stream's groups, by the names of the groups that read it."""
        sites = zip(self._names[1:], self.fusion.sites if self.fusion else (), at, strict=False)
        found = {name: site.joined(windows) for name, site, windows in sites}
        return {name: joined for name, joined in found.items() if joined}

    @mixtures_uncompiled
    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """A clip of the dense stream's frames, with the active architecture or mixture.

        Args:
            x: ``(B, 3, T, H, W)`` with T = ``dense_frames``; a sparse stream alone also takes ``sparse_frames``.

        Returns:
            ``(B, C_sparse + C_dense, 1, 1, 1)``, or the features of each stream where not ``pooled``: a pair, or a
            single one of a single stream.
        """
        arch, clips = self.arch, self._clips(x)
        fusions = self._fusion_windows(arch)
        joined = {'sparse': self._joined(fusions)}
        features = {name: getattr(self, name).enter(clip) for name, clip in clips.items()}
        walks = [getattr(self, name).walk(self._part(arch, name), joined.get(name)) for name in clips]
        for i, steps in enumerate(zip(*walks, strict=True)):
            for name, (group, at) in zip(clips, steps, strict=True):
                features[name] = group(features[name], at)
            if i < len(fusions):
                features['sparse'] = self.fusion.sites[i](features['sparse'], features['dense'], fusions[i])
        ends = [getattr(self, name).leave(features[name], at) for name, (_, at) in zip(clips, steps, strict=True)]
        if self.pooled:
            return torch.cat([y.mean((2, 3, 4), keepdim=True) for y in ends], 1)
        return tuple(ends) if len(ends) == 2 else ends[0]

    def _clips(self, x: Tensor) -> dict[str, Tensor]:
        """Each stream's frames of a clip: all for the dense one, the first of every ``ratio`` for the sparse one."""
        self.check_clip(tuple(x.shape[2:]))
        sparse = x if x.shape[2] == self.sparse_frames else x[:, :, :: self.ratio]
        return {name: sparse if name == 'sparse' else x for name in self.streams}

    def check_clip(self, size: tuple[int, int, int]) -> None:
        """Demand the dense stream's frames (of a sparse one alone, also its own) and the pixels that a stream needs."""
        allowed = [self.dense_frames] + [self.sparse_frames] * (self.streams == ('sparse',))
        if size[0] not in allowed:
            raise ConfigError(
                f'clip: found {size[0]} frames, expected {" or ".join(map(str, allowed))} '
                '(backbone.dense_frames, backbone.sparse_frames; clip_len in the pipeline)'
            )
        for name in self.streams:
            getattr(self, name).check_clip(size)

    # ------------------------------------------------------------------ as data
    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """Which part of which parameter and buffer ``arch`` uses."""
        fusions = self._fusion_windows(arch)
        for name in self.streams:
            joined = self._joined(fusions) if name == 'sparse' else None
            for part in getattr(self, name).slices(self._part(arch, name), joined):
                yield part._replace(name=f'{name}.{part.name}')
        for i, at in enumerate(fusions):
            yield from self.fusion.sites[i].slices(f'fusion.sites.{i}.', at)

    def describe(self) -> dict[str, Any]:
        """Blocks per group, by the groups' names in the choices, and the frames that each stream sees."""
        specs = [(name, group) for name in self.streams for group in getattr(self, name).group_specs]
        frames = {'sparse': self.sparse_frames, 'dense': self.dense_frames}
        return {
            'blocks': {f'{name}.{group.name}': group.blocks for name, group in specs},
            'frames': {name: frames[name] for name in self.streams},
        }

    def closed_form(self, shape: Sequence[int]) -> ClosedForm:
        """See :meth:`Searchable.closed_form`: of one chain or of two."""
        c, _, h, w = shape = clip_shape(shape, self)
        shapes = {'sparse': (c, self.sparse_frames, h, w), 'dense': shape}
        chains = [getattr(self, name).closed_form(shapes[name], f'{name}.') for name in self.streams]
        if len(chains) == 1:
            return chains[0]
        sizes = self.sparse.sizes(shapes['sparse']), self.dense.sizes(shape)
        offered = [(f'fusion.{name}', self.space[f'fusion.{name}'].values) for name in self._names[:-1]]
        return TwoStreamCost(*chains, offered, self._fusion_cost(*sizes))

    def _fusion_cost(self, sparse_sizes: Sequence, dense_sizes: Sequence) -> Callable[..., Cost]:
        """What a fusion adds: its own layers, and the channels that the next block reads more."""

        def cost(i: int, fusion: Value, dense: Value, sparse: Value, expansion: Value, channels: Value) -> Cost:
            site, group = self.fusion.sites[i], self.sparse.groups[i + 1]
            self.space[f'fusion.{self._names[i]}'].index(fusion)  # refuses what is not offered
            at = site.at(fusion, sparse, dense)
            own = site.cost(at, dense_sizes[i + 1])
            joined = site.joined(at)
            if joined is None:
                return own
            spec = group.spec
            before = group.windows(sparse, spec.kernels[0], expansion, channels, spec.attentions[0])
            size = sparse_sizes[i + 1]
            without, with_it = (group.blocks[0].cost(w.first, size) for w in (before, before.joined_by(joined)))
            return own + Cost(with_it.macs - without.macs, with_it.params - without.params)

        return cost

    def latency_blocks(self, arch: Mapping[str, Value], shape: Sequence[int]) -> Iterator[Block]:
        """Each stream's blocks, the fusions, and the rest: stems, last convolutions, head."""
        fusions = self._fusion_windows(arch)
        for name in self.streams:
            joined = self._joined(fusions) if name == 'sparse' else None
            yield from chain_blocks(getattr(self, name), self._part(arch, name), f'{name}.', joined)
        yield from filter(None, (fusion_block(i, at) for i, at in enumerate(fusions)))
        last = [arch[f'{name}.{self._names[-1]}.channels'] for name in self.streams]
        yield Block('', f'rest, {" and ".join(self.streams)}', (1.0, *last))
