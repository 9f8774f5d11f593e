"""A vision transformer drawn with the tubes that feed it (VIM-NAS, Casarin et al., Sec. 3.2 and Fig. 1).

Above, the tubes in a clip and the one that cuts images; below, the layers from left to right along the tokens' way.
A layer's bar above the way is its attention, cut into its heads, in channels; the one below is its MLP, in ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle

from .style import INK, MUTED, draw_words, drawing, new_drawing
from .tube_boxes import PANEL, PANEL_HEIGHT, draw_tube, tube_colour
from .vit_glyphs import LayerGlyph, ViTGlyph

#: Most panels and most layers in one row.
PANELS, LAYERS = 5, 26
#: Inches: the longest bar, one layer's share of a row (at most, and of all layers together), room for the tokens, for
#: the head, at the edges, for the legend, above bars (their figures) and below them (ratio, number).
BAR, PITCH, ROW, TOKENS, END, MARGIN, LEGEND, ABOVE, BELOW = 0.9, 0.52, 10.0, 0.95, 0.95, 0.08, 0.62, 0.2, 0.42
#: Share of a layer's pitch that its bar takes; between the way of the tokens and a bar, in inches.
FILLED, AIR = 0.62, 0.05
#: Attention and MLP. Tubes have the colours; these are greys that read on both page colours.
ATTENTION, MLP = '#5f6872', '#b9c0c8'


def vit_figure(vit: ViTGlyph, title: str = '') -> Figure:
    """Draw a vision transformer.

    Args:
        vit: what :func:`.vit_glyphs.read_vit` reads out of an arch.
        title: written above.

    Returns:
        A figure. Gids: of the panels ``tube<n>`` and ``image`` see :func:`.tube_boxes.draw_tube`; ``attention:<layer>``
        and ``mlp:<layer>`` for the bars, ``heads:<layer>`` for the cuts between heads, ``embedding:<layer>`` for the
        line at the height of that many channels, from that layer on; ``tokens:<tube>`` for a tube's tokens and
        ``tokens:class`` for the class token.
    """
    panels = len(vit.tubes) + (vit.image is not None)
    panel_rows, layer_rows = ceil(panels / PANELS), ceil(len(vit.layers) / LAYERS)
    pitch = min(PITCH, ROW / min(len(vit.layers), LAYERS))
    layers_height = ABOVE + 2 * (BAR + AIR) + BELOW
    top = 0.3 if title else 0.05
    tubes_width = PANEL * min(panels, PANELS)
    width = max(tubes_width, TOKENS + pitch * min(len(vit.layers), LAYERS) + END, 8.0) + 2 * MARGIN
    height = top + PANEL_HEIGHT * panel_rows + LEGEND + layers_height * layer_rows + MARGIN
    with drawing():
        figure, axes = new_drawing(width, height, title)
        _draw_tubes(axes, vit, height - top)
        legend = height - top - PANEL_HEIGHT * panel_rows - LEGEND + 0.16
        _draw_legend(axes, vit, legend)
        for row in range(layer_rows):
            layers = list(enumerate(vit.layers, 1))[row * LAYERS : (row + 1) * LAYERS]
            y = legend - 0.16 - layers_height * row - ABOVE - BAR - AIR
            _draw_layers(axes, vit, layers, y, pitch, last=row + 1 == layer_rows)
            if row == 0:
                _draw_tokens(axes, vit, y)
    return figure


def _draw_tubes(axes: Axes, vit: ViTGlyph, top: float) -> None:
    panels = [
        (tube, f'tube{tube.number}', f'tube {tube.number}' + (' (2-D)' if tube.at.kernel[0] == 1 else ''))
        for tube in vit.tubes
    ]
    if vit.image is not None:
        panels.append((vit.image, 'image', 'an image: tube 1 alone'))
    for i, (tube, name, title) in enumerate(panels):
        x, y = MARGIN + PANEL * (i % PANELS), top - PANEL_HEIGHT * (i // PANELS)
        draw_tube(axes, tube, x, y, name, title, vit.sized)


def _draw_legend(axes: Axes, vit: ViTGlyph, y: float) -> None:
    """How to read the boxes; then embedding and depth, and how to read the bars."""
    boxes = (
        'solid: the first kernel; faint: its places in those frames; outlined: one stride on; ticks: centres of tokens'
    )
    if not vit.sized:
        boxes += '; the size of a clip is not known'
    draw_words(axes, MARGIN, y + 0.3, boxes, 7, color=MUTED)
    text = f'{vit.embed_dim} channels, {len(vit.layers)} layers'
    draw_words(axes, MARGIN, y, text, 9, fontweight='bold')
    known = all(layer.head_dim for layer in vit.layers)
    entries = (
        (2.0, ATTENTION, 'attention: heads' + (' × channels of each' if known else '')),
        (4.6, MLP, f'MLP: ratio to the {vit.embed_dim} channels'),
    )
    for x, colour, words in entries:
        axes.add_patch(Rectangle((x, y - 0.07), 0.18, 0.14, facecolor=colour, edgecolor=INK, linewidth=0.5))
        draw_words(axes, x + 0.24, y, words, 7.5)
    if known:
        axes.plot([7.0, 7.18], [y, y], color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
        draw_words(axes, 7.24, y, 'embedding', 7.5)


def _widths(layers: Sequence[LayerGlyph]) -> list[int]:
    """Q-K-V channels of each layer, or its heads where those are not known."""
    if all(layer.head_dim for layer in layers):
        return [layer.heads * (layer.head_dim or 0) for layer in layers]
    return [layer.heads for layer in layers]


def _draw_layers(
    axes: Axes, vit: ViTGlyph, layers: Sequence[tuple[int, LayerGlyph]], y: float, pitch: float, last: bool
) -> None:
    """A row of layers along the line at ``y``."""
    known = all(layer.head_dim for layer in vit.layers)
    widths = _widths(vit.layers)
    channel = BAR / max(*widths, vit.embed_dim if known else 0)
    unit = BAR / max(layer.ratio for layer in vit.layers)
    left = MARGIN + TOKENS
    right = left + pitch * len(layers)
    arrow = FancyArrowPatch(
        (left - 0.16, y), (right + 0.12, y), arrowstyle='-|>', mutation_scale=8, shrinkA=0, shrinkB=0,
        color=MUTED, linewidth=1.2, zorder=1,
    )  # fmt: skip
    axes.add_patch(arrow)
    if known:
        line = Line2D(
            [left, right], [y + AIR + channel * vit.embed_dim] * 2, color=INK, linewidth=0.9, linestyle=(0, (3, 2))
        )
        line.set_gid(f'embedding:{layers[0][0]}')
        axes.add_line(line)
    for i, (number, layer) in enumerate(layers):
        x = left + pitch * (i + (1 - FILLED) / 2)
        _draw_attention(axes, layer, number, x, y + AIR, pitch * FILLED, channel * widths[number - 1])
        _draw_mlp(axes, layer, number, x, y - AIR, pitch * FILLED, unit * layer.ratio)
    if last:
        words = {'cls': 'class token\nto the head', 'mean': 'mean of tokens\nto the head'}.get(vit.pool, 'to the head')
        draw_words(axes, right + 0.17, y, words, 7)


def _draw_attention(
    axes: Axes, layer: LayerGlyph, number: int, x: float, bottom: float, width: float, height: float
) -> None:
    _draw_bar(axes, f'attention:{number}', (x, bottom), width, height, ATTENTION)
    cuts = [bottom + height * head / layer.heads for head in range(1, layer.heads)]
    xs, ys = [x, x + width, nan] * len(cuts), [y for cut in cuts for y in (cut, cut, nan)]
    lines = Line2D(xs, ys, color='#ffffff', linewidth=0.7, zorder=3)
    lines.set_gid(f'heads:{number}')
    axes.add_line(lines)
    words = f'{layer.heads}×{layer.head_dim}' if layer.head_dim else f'{layer.heads}'
    # Above the longest bar, not above its own: figures in a row are compared at a glance.
    draw_words(axes, x + width / 2, bottom + BAR + 0.1, words, 6.5, ha='center')


def _draw_mlp(axes: Axes, layer: LayerGlyph, number: int, x: float, top: float, width: float, height: float) -> None:
    _draw_bar(axes, f'mlp:{number}', (x, top - height), width, height, MLP)
    centre = x + width / 2
    draw_words(axes, centre, top - BAR - 0.1, f'{layer.ratio:g}', 6.5, ha='center')
    draw_words(axes, centre, top - BAR - 0.27, f'{number}', 6.5, color=MUTED, ha='center')


def _draw_bar(axes: Axes, gid: str, corner: tuple[float, float], width: float, height: float, colour: str) -> None:
    bar = Rectangle(corner, width, height, facecolor=colour, edgecolor=INK, linewidth=0.6, zorder=2)
    bar.set_gid(gid)
    axes.add_patch(bar)


def _draw_tokens(axes: Axes, vit: ViTGlyph, y: float) -> None:
    """What enters the first layer: the class token, and each tube's tokens."""
    entries = [('class', 'none', 'class')]
    entries += [
        (f'{tube.number}', tube_colour(tube.number), f'{tube.tokens:,}' if vit.sized else '') for tube in vit.tubes
    ]
    step = min(0.2, 2 * BAR / len(entries))
    reach = step * len(entries) / 2
    axes.plot([MARGIN + TOKENS - 0.16] * 2, [y - reach, y + reach], color=MUTED, linewidth=1.2, zorder=1)
    for i, (name, colour, words) in enumerate(entries):
        middle = y + step * ((len(entries) - 1) / 2 - i)
        box = Rectangle(
            (MARGIN + TOKENS - 0.34, middle - 0.06),
            0.12,
            0.12,
            facecolor=colour,
            edgecolor=INK,
            linewidth=0.7,
            zorder=2,
        )
        box.set_gid(f'tokens:{name}')
        axes.add_patch(box)
        draw_words(axes, MARGIN + TOKENS - 0.4, middle, words, 7, ha='right')
