"""What each family's networks are timed by: their blocks, and what the time of each grows with.

Names of modules are those of the network that is built for the architecture, which has the same modules as the
supernet. A kind of block stands for one clip shape, so amounts are per position where all blocks of a kind have the
same positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmnas_video.cost import Block
from mmnas_video.space import KERNELS, ZERO, Value, read_edge

from .blocks import BlockWindows, FusionWindows, JoinedInput, MBConv3D
from .blocks.group import ATTENTION_MODULES

if TYPE_CHECKING:
    from .backbones import SuperMBConv3D, SuperP3D, SuperViT


def chain_blocks(
    chain: SuperMBConv3D,
    arch: Mapping[str, Value],
    prefix: str = '',
    joined: Mapping[str, JoinedInput] | None = None,
) -> Iterator[Block]:
    """Blocks and attentions of a chain of groups.

    Args:
        chain: the supernet.
        arch: by the names that the chain itself uses.
        prefix: of its modules, where it is a stream of a larger network.
        joined: what another stream joins, see :meth:`SuperMBConv3D.walk`.
    """
    for i, (group, at) in enumerate(chain.walk(arch, joined)):
        stage = prefix + group.spec.stage
        for b, block in enumerate(group.blocks):
            yield _mbconv(f'{prefix}groups.{i}.blocks.{b}', stage, block, at.rest if b else at.first)
        if at.attention != 'none':
            module = f'{prefix}groups.{i}.{ATTENTION_MODULES[at.attention]}'
            yield Block(module, f'{stage} {at.attention}', (1.0, at.rest.out.length))


def _mbconv(module: str, stage: str, block: MBConv3D, at: BlockWindows) -> Block:
    """Three convolutions, of which the depthwise one's speed is each kernel's own, and perhaps one on the shortcut."""
    inp, mid, out = at.inp.length, at.mid.length, at.out.length
    kind = f'{stage} block, stride {block.stride}{"" if block.se is None else ", se"}'
    depthwise = (mid if at.kernel == kernel else 0 for kernel in KERNELS.values())
    shortcut = 0 if block.identity(at) else inp * out
    return Block(module, kind, (1.0, out, inp * mid, mid * out, shortcut, *depthwise))


def fusion_block(number: int, at: FusionWindows) -> Block | None:
    """What joins the streams at a site; None where nothing does."""
    if not at.fused:
        return None
    ((fusion, _, window),) = at.fused
    dense, sparse = at.dense.length, at.sparse.length
    return Block(
        f'fusion.sites.{number}', f'fusion {number} {fusion}', (1.0, sparse, window.length, dense * window.length)
    )


def vit_blocks(vit: SuperViT, arch: Mapping[str, Value], shape: Sequence[int]) -> Iterator[Block]:
    """Tubes, layers (their attention grows with the square of the tokens), and the rest (positions, norm, head)."""
    at, size = vit.windows.sampled(arch), tuple(shape[1:])
    embed, tokens = at.embed.window.length, 1
    for i, (tube,) in enumerate(at.tubes if size[0] > 1 else at.tubes[:1]):
        found, taps = vit.tokenizer.counts(i, tube.at, size), math.prod(tube.at.kernel)
        tokens += found
        work = (1.0, found, found * embed, found * taps, found * taps * embed)
        yield Block(f'tokenizer.tubes.{i}', 'tube', work)
    for i, layer in enumerate(at.layers):
        heads, hidden = layer.heads.heads.length, layer.hidden.length
        qkv = heads * layer.heads.dim.length
        linear = (tokens * embed, tokens * qkv, tokens * hidden, tokens * embed * qkv, tokens * embed * hidden)
        yield Block(f'layers.{i}', 'layer', (1.0, *linear, tokens**2 * heads, tokens**2 * qkv))
    yield Block('', f'rest, {size[0]} frames', (1.0, embed, tokens * embed))


def cell_blocks(net: SuperP3D, arch: Mapping[str, Value]) -> Iterator[Block]:
    """Every operator of every cell, and the rest: stem, adaptations, sums (as many as connections), head."""
    connections = 0
    for number, cell in enumerate(net.cells):
        for name in (name for names in cell.names for name in names):
            op: Any = arch[name]
            if op == ZERO:
                continue
            connections += 1
            stride = cell.stride if read_edge(name)[1] < 2 else 1
            yield Block(f'cells.{number}.edges.{cell.key(name)}.{op}', f'cell {number} {op}, stride {stride}', (1.0,))
    yield Block('', 'rest', (1.0, connections))
