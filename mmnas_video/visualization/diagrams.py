"""Which picture an architecture has: every kind of space is recognised by the names of its choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from mmnas_video.space import Value, read_cell

from .arch_diagram import arch_figure, describe_arch, read_groups
from .cell_graph import cell_figure, describe_cell
from .two_streams import describe_streams, read_streams, streams_figure
from .vit_diagram import vit_figure
from .vit_glyphs import describe_vit, read_vit


def diagram(
    arch: Mapping[str, Value], described: Mapping[str, Any] | None = None, title: str = ''
) -> tuple[Figure, str] | None:
    """The diagram of an architecture and what it shows in words; None for a space that has no diagram of its own.

    Args:
        arch: choice name -> value.
        described: what ``space.json`` says beside the choices, and ``shape``, the (C, T, H, W) of a clip. All of it may
            be missing: then less is drawn.
        title: written above.
    """
    described = described or {}
    blocks, frames = (_counts(described.get(key)) for key in ('blocks', 'frames'))
    if groups := read_groups(arch, blocks):
        return arch_figure(arch, blocks, title), describe_arch(groups)
    if columns := read_streams(arch, blocks):
        return streams_figure(columns, frames, title), describe_streams(columns)
    if vit := read_vit(arch, described):
        return vit_figure(vit, title), describe_vit(vit)
    if cell := read_cell(arch):
        return cell_figure(cell, title), describe_cell(cell)
    return None


def _counts(found: object) -> dict[str, int]:
    """The positive integers of a JSON object."""
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: n for name, n in pairs if isinstance(n, int) and not isinstance(n, bool) and n > 0}
