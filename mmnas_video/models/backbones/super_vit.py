"""SuperViT: a vision transformer for clips and images, as a supernet or pinned to one architecture."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmnas_video.cost import Block, Cost, ViTCost
from mmnas_video.entangle import (
    Mixture,
    Searchable,
    Slice,
    SuperLayerNorm,
    TubeAt,
    Window,
    add_local_weights,
    mixtures_uncompiled,
    recomputed,
    spread,
)
from mmnas_video.errors import ConfigError, check_one_of
from mmnas_video.registry import MODELS
from mmnas_video.space import (
    QKV_ROUNDINGS,
    Arch,
    Value,
    canonical_vit,
    extent,
    shallow,
    vit_space,
    vit_table,
    vit_tubes,
)

from ..blocks import Tokens, TubeTokenizer, ViTAt, ViTLayer, ViTWindows
from ..latency_blocks import vit_blocks
from .clip_shape import clip_shape

Extent = tuple[int, int, int]


@MODELS.register_module()
class SuperViT(Searchable, BaseModule):
    """ViT whose depth, embedding, heads, Q-K-V dimension, MLP ratio and tubes are choices.

    Source: VIM-NAS (Casarin et al.), Sec. 3.2 and Tab. 2. A clip of one frame is an image and is cut by the first, 2-D
    tube alone. Without ``arch`` it is the supernet; with it, it has exactly the layers and widths of that architecture.

    The supernet's output is as wide as the largest embedding, with zeros where the active architecture has no channels,
    so that a head of that width fits all; the network that is extracted has a head of its own width.

    Args:
        table: name of a table in :data:`~mmnas_video.space.vit.VITS`, or its fields.
        tubes: name of tubes in :data:`~mmnas_video.space.vit.TUBES`, or a list of
            ``dict(kernels=('8x8x8', ...), strides=(...), offsets=(...))``; by default those of the table.
        max_kernel_volume: kernels of more taps are not offered, and taps that no other kernel has are not kept.
        clamp_offsets: start a tube earlier where its kernel does not fit behind its offset, instead of an error.
        qkv_rounding: channels of a head where the number of heads does not divide the Q-K-V dimension: ``'floor'``,
            ``'nearest'`` or ``'ceil'`` of the quotient.
        fixed: choices to pin in a supernet, by name or pattern (``{'layer*.mlp_ratio': 4.0}``). Those of layers that
            no depth has any more are pinned with it.
        arch: path of an arch file, or its values; None for the supernet.
        space_name: name of the space in arch files; by default the table's.
        in_channels: 3 for RGB.
        sharing: ``'prefix'`` (as AutoFormer) or ``'fair'`` (cyclic, as ViTAS) windows.
        patch_grid: (rows, columns) of learned positions for the 2-D tube's tokens beside the fixed ones; what
            :func:`~mmnas_video.models.vit_state_dict` needs to start exactly from a network that has learned them.
        pool: ``'cls'`` for the class token, ``'mean'`` for the mean of the others.
        drop_path: stochastic depth of the last layer, growing linearly from 0.
        with_cp: recompute layers in the backward pass to save memory.
        local_weights: ``dict(groups=2, names=('*norm*',))``: parameters of which an architecture has its own mixture of
            offsets, see :class:`~mmnas_video.entangle.LocalWeights`; None for none.
        init_cfg: as everywhere in MMEngine.

    Raises:
        ConfigError: a malformed table, or an arch that is not of the space; in the forward pass a clip in which the
            largest tube of the space does not fit.
    """

    def __init__(
        self,
        table: str | Mapping[str, Any] = 'vimnas-tiny',
        tubes: str | Sequence[Any] | None = None,
        max_kernel_volume: int | None = None,
        clamp_offsets: bool = False,
        qkv_rounding: str = 'floor',
        fixed: Mapping[str, Value] | None = None,
        arch: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        space_name: str | None = None,
        in_channels: int = 3,
        sharing: str = 'prefix',
        patch_grid: tuple[int, int] | None = None,
        pool: str = 'cls',
        drop_path: float = 0.0,
        with_cp: bool = False,
        local_weights: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        check_one_of('backbone.qkv_rounding', qkv_rounding, QKV_ROUNDINGS)
        check_one_of('backbone.pool', pool, ('cls', 'mean'))
        name = space_name or (table if isinstance(table, str) else 'vit')
        table = vit_table(table)
        space = vit_space(table, vit_tubes(table.tubes if tubes is None else tubes, max_kernel_volume), name)
        space = space.fix(space.match(fixed or {}, 'backbone.fixed'))
        if arch is not None:
            space = space.fix(space.read(arch, 'backbone.arch'))
        space = shallow(space)
        Searchable.__init__(self, space)
        self.in_channels, self.pool, self.with_cp, self.qkv_rounding = in_channels, pool, with_cp, qkv_rounding
        self.windows = ViTWindows(space, table, qkv_rounding, sharing)
        self.head_dim = table.head_dim
        self._fitting: set[Extent] = set()

        self.embed_dim = max(space['embed_dim'].values)
        kernels = [list(tube['kernel'].values()) for tube in self.windows.tubes]
        self.tokenizer = TubeTokenizer(in_channels, self.embed_dim, kernels, clamp_offsets, patch_grid)
        last = max(len(self.windows.layers) - 1, 1)
        self.layers = nn.ModuleList(
            ViTLayer(self.embed_dim, *windows.largest, drop_path * i / last)
            for i, windows in enumerate(self.windows.layers)
        )
        self.norm = SuperLayerNorm(self.embed_dim)
        add_local_weights(self, local_weights)

    # ------------------------------------------------------------------ running
    @mixtures_uncompiled
    def forward(self, x: Tensor) -> Tensor:
        """Clips ``(B, C, T, H, W)`` or images ``(B, C, H, W)`` to features ``(B, largest embedding)``."""
        if x.dim() == 4:
            x = x.unsqueeze(2)
        self.check_clip(tuple(x.shape[2:]))
        arch = self.arch
        at = self.windows.mixed(arch) if isinstance(arch, Mixture) else self.windows.sampled(arch)
        tokens = self.tokenizer(x, at.embed, at.tubes)
        y = self._run(tokens, at)
        y = self.norm(y[:, :1] if self.pool == 'cls' else y, at.embed.window)  # of the others nothing is read
        y = self._pooled(y, tokens.weight)
        return spread(y, at.embed.window) if isinstance(at.embed.window, Window) else y

    def _run(self, tokens: Tokens, at: ViTAt) -> Tensor:
        """All tokens after the last layer; in a mixture the weighed sum over the depths."""
        x, out = tokens.x, None
        bias = None if tokens.weight is None else tokens.weight.log()
        ends = dict(at.depths)
        for number, (layer, windows) in enumerate(zip(self.layers, at.layers, strict=False), 1):
            if self.with_cp and torch.is_grad_enabled():
                x = recomputed(layer, x, windows, bias)
            else:
                x = layer(x, windows, bias)
            weight = ends.get(number)
            if weight is not None:
                out = x * weight if out is None else out + x * weight
        return x if out is None else out

    def _pooled(self, x: Tensor, weight: Tensor | None) -> Tensor:
        if self.pool == 'cls':
            return x[:, 0]
        if weight is None:
            return x[:, 1:].mean(1)
        return (x[:, 1:] * weight[1:, None]).sum(1) / weight[1:].sum()

    # ------------------------------------------------------------------ what fits
    def check_clip(self, size: Extent) -> None:
        """Demand that every tube of the space fits, so that a search fails in its first step and not in some later."""
        # Not while torch.compile looks: another size met in between would be a reason for it to begin anew.
        remember = not torch.compiler.is_compiling()
        if remember and size in self._fitting:
            return
        for number, tube in enumerate(self.windows.tubes if size[0] > 1 else self.windows.tubes[:1], 1):
            kernel = tuple(map(max, zip(*tube['kernel'].values(), strict=True)))
            offset = tuple(map(max, zip(*tube['offset'].values(), strict=True)))
            if self.tokenizer.clamp_offsets:
                offset = (0, 0, 0)
            for axis, unit in enumerate(('frames', 'rows', 'columns')):
                needed = kernel[axis] + offset[axis]
                if size[axis] < needed and not (axis == 0 and size[0] == 1):
                    raise ConfigError(
                        f'clip: found {size[0]} frames of {size[1]}x{size[2]} pixels, expected at least {needed} '
                        f'{unit}: the largest kernel of tube {number} has {kernel[axis]} and starts as late as at '
                        f'{offset[axis]} (backbone.tubes, backbone.max_kernel_volume, backbone.clamp_offsets)'
                    )
        if remember:
            self._fitting.add(size)

    # ------------------------------------------------------------------ as data
    def output(self, arch: Mapping[str, Value]) -> Window:
        """Channels of the supernet's output that ``arch`` has."""
        return self.windows.embeds[arch['embed_dim']]

    def canonical(self, arch: Mapping[str, Value], source: str = 'arch') -> Arch:
        """One arch for all that are the same network; see :func:`~mmnas_video.space.vit.canonical_vit`."""
        return canonical_vit(self.space, arch, self.qkv_rounding, source)

    def occurrence(self, mixture: Mixture) -> Mapping[str, Tensor]:
        """Weights over the values of each choice as they count: of a layer's, as often as there is the layer."""
        return self.windows.occurrence(mixture)

    def alike(self, size: Extent) -> Mapping[str, Sequence[Hashable]]:
        """An image is cut by the first tube alone, and by that without its temporal stride and offset."""
        return self.windows.alike_on_images() if size[0] == 1 else {}

    def describe(self) -> dict[str, Any]:
        """How a picture must read heads and tubes, and what the head is given."""
        return {
            'head_dim': self.head_dim,
            'qkv_rounding': self.qkv_rounding,
            'clamp_offsets': self.tokenizer.clamp_offsets,
            'pool': self.pool,
        }

    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """Which part of which parameter ``arch`` uses."""
        at = self.windows.sampled(arch)
        embed = at.embed.window
        yield from self.tokenizer.slices('tokenizer.', embed, [options[0].at for options in at.tubes])
        for i, windows in enumerate(at.layers):
            yield from self.layers[i].slices(f'layers.{i}.', windows)
        yield from self.norm.slices('norm.', embed)

    def closed_form(self, shape: Sequence[int]) -> ViTCost:
        """See :meth:`Searchable.closed_form`; of an image T = 1."""
        size = clip_shape(shape, self)[1:]
        learned = self.tokenizer.patch_position
        places = 1 if learned is None else 1 + learned.shape[1] * learned.shape[2]

        def tokens(i: int, *values: str) -> int:
            return self.tokenizer.counts(i, TubeAt(*map(extent, values)), size)

        def fixed(embed: Value) -> Cost:
            return SuperLayerNorm.cost(embed) + Cost(0, places * embed)  # class token, learned positions

        return ViTCost(self.space, tokens, self.in_channels, fixed, self._layer_cost)

    def _layer_cost(self, embed: Value, heads: Value, qkv: Value, ratio: Value, tokens: int) -> Cost:
        """Of any layer that offers these values: equal values cost the same."""
        for i, windows in enumerate(self.windows.layers):
            if (heads, qkv) in windows.heads and (embed, ratio) in windows.hidden:
                return self.layers[i].cost(self.windows.layer(i, embed, heads, qkv, ratio), tokens)
        raise KeyError((embed, heads, qkv, ratio))

    def latency_blocks(self, arch: Mapping[str, Value], shape: Sequence[int]) -> Iterator[Block]:
        """Tubes, layers, and the rest."""
        return vit_blocks(self, arch, shape)
