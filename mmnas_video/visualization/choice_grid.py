"""Every choice with its values in a row: which one was chosen, and how sure the search was.

Works for any space. It is what is drawn for spaces that have no diagram of their own, and beside the diagram
it shows the probabilities that the diagram hides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmnas_video.errors import ConfigError
from mmnas_video.space import Choice, Value

from .style import INK, MUTED, SHADES, draw_words, drawing, new_drawing, shade, text_on

#: Most rows in one panel, inches of a row and of a cell, most cells that are labelled.
PANEL_ROWS, ROW, CELL, MAX_LABELS = 24, 0.21, 0.5, 12
#: Grids beyond this are cut, and the cut is said: a picture of a thousand rows is no picture.
MAX_ROWS = 144


def choices_figure(
    choices: Sequence[Choice],
    arch: Mapping[str, Value],
    probs: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw one row per choice, one cell per value, the chosen cell framed.

    Args:
        choices: the choices in order.
        arch: choice name -> chosen value; names that are missing get no frame.
        probs: choice name -> probability of each value; cells are shaded by it. Without it the chosen cell
            is filled.

    Returns:
        A figure; the cell of value ``i`` of choice ``c`` has the gid ``cell:<c>:<i>``, the frame
        ``chosen:<c>``.
    """
    shown = list(choices)[:MAX_ROWS]
    panels = max(1, math.ceil(len(shown) / PANEL_ROWS))
    per_panel = math.ceil(len(shown) / panels) if shown else 1
    cells = min(max((len(c) for c in shown), default=1), MAX_LABELS)
    names = 0.075 * max((len(c.name) for c in shown), default=1) + 0.2
    panel_width = names + CELL * cells + (0.6 if any(len(c) > MAX_LABELS for c in shown) else 0.25)
    top = 0.05
    height, width = top + ROW * per_panel + 0.25, max(panels * panel_width, 3.5)
    with drawing():
        figure, axes = new_drawing(width, height)
        for i, choice in enumerate(shown):
            x, y = (i // per_panel) * panel_width + names, height - top - ROW * (i % per_panel + 1)
            draw_words(axes, x - 0.07, y + ROW / 2, choice.name, 7.5, ha='right')
            _draw_choice(axes, choice, arch, (probs or {}).get(choice.name), x, y, CELL * cells)
        if len(shown) < len(choices):
            axes.text(
                0.08,
                0.12,
                f'{len(choices) - len(shown)} more choices are not shown',
                color=MUTED,
                fontsize=7.5,
            )
    return figure


def _draw_choice(
    axes: Axes,
    choice: Choice,
    arch: Mapping[str, Value],
    probs: Sequence[float] | None,
    x: float,
    y: float,
    room: float,
) -> None:
    chosen = _chosen_index(choice, arch)
    width = room / len(choice) if len(choice) > MAX_LABELS else CELL
    if probs is not None and len(probs) != len(choice):
        probs = None
    for i, value in enumerate(choice.values):
        share = float(probs[i]) if probs is not None else float(i == chosen)
        colour = shade(SHADES, share)
        cell = Rectangle(
            (x + i * width, y + 0.02),
            width * 0.96,
            ROW - 0.04,
            facecolor=colour,
            edgecolor=MUTED,
            linewidth=0.4,
        )
        cell.set_gid(f'cell:{choice.name}:{i}')
        axes.add_patch(cell)
        if len(choice) <= MAX_LABELS:
            draw_words(
                axes,
                x + (i + 0.48) * width,
                y + ROW / 2,
                _short(value),
                6.5,
                color=text_on(colour),
                fontweight='bold' if i == chosen else 'normal',
                ha='center',
            )
    if chosen is not None:
        if len(choice) > MAX_LABELS:  # no room in the cells: the chosen value stands behind them
            draw_words(axes, x + room + 0.06, y + ROW / 2, _short(choice.values[chosen]), 6.5)
        frame = Rectangle(
            (x + chosen * width, y + 0.02), width * 0.96, ROW - 0.04, fill=False, edgecolor=INK, linewidth=1.3
        )
        frame.set_gid(f'chosen:{choice.name}')
        axes.add_patch(frame)


def _chosen_index(choice: Choice, arch: Mapping[str, Value]) -> int | None:
    try:
        return choice.index(arch[choice.name]) if choice.name in arch else None
    except ConfigError:  # an arch of a wider space: nothing of this row was chosen
        return None


def _short(value: Value) -> str:
    text = f'{value:g}' if isinstance(value, float) else str(value)
    return text if len(text) <= 8 else text[:7] + '…'
