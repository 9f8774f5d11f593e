"""When did which choice settle: the entropy of every choice over the epochs, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .recorded import RecordedSearch, number
from .style import INK, MUTED, drawing, dress, new_figure

#: Most columns (epochs) and rows (choices) drawn. Columns are left out, never averaged: each is one epoch's
#: own figures.
MAX_COLUMNS, MAX_ROWS = 200, 120


def entropy_table(record: RecordedSearch) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Entropies as they stand in the history.

    Returns:
        names of the choices (V), grouped by what they choose (all kernels, then all expansions...) and in
        the space's order within; epochs (E,); entropies in nats (V, E), NaN where the history has none.
    """
    lines = [line for line in record.epochs if isinstance(line.get('entropies'), dict)]
    if record.space is not None:
        names = [choice.name for choice in record.space.open]
    else:
        names = list(dict.fromkeys(name for line in lines for name in line['entropies']))
    kinds = list(dict.fromkeys(name.rpartition('.')[2] for name in names))
    names.sort(key=lambda name: kinds.index(name.rpartition('.')[2]))  # stable: the order within a kind stays
    table = np.full((len(names), len(lines)), np.nan)
    for column, line in enumerate(lines):
        for row, name in enumerate(names):
            value = number(line['entropies'], name)
            table[row, column] = np.nan if value is None else value
    return names, np.array([line['epoch'] for line in lines], dtype=float), table


def entropy_map_figure(record: RecordedSearch) -> Figure:
    """Draw one row per choice and one column per epoch; beside each row what it settled on, and how surely.

    The colour is the entropy over its largest possible value, ln(number of values): 1 undecided, 0 settled.
    So a choice of two and a choice of eight can be compared.
    """
    names, epochs, table = entropy_table(record)
    names, table = names[:MAX_ROWS], table[:MAX_ROWS]
    keep = np.unique(np.linspace(0, max(epochs.size - 1, 0), min(epochs.size, MAX_COLUMNS)).round().astype(int))
    share = relative_entropy(record, names, table)[:, keep]
    with drawing():
        figure = new_figure(10.6, 1.1 + 0.135 * max(len(names), 3))
        axes = dress(figure.add_subplot(), 'When each choice settled', 'epoch')
        axes.grid(False)
        if share.size:
            low, high = epochs[keep[0]] - 0.5, epochs[keep[-1]] + 0.5
            image = axes.imshow(
                share,
                aspect='auto',
                interpolation='nearest',
                cmap='cividis',
                vmin=0,
                vmax=1,
                extent=(low, high, len(names) - 0.5, -0.5),
            )
            bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.5, 1])
            bar.ax.set_yticklabels(['settled', 'half', 'open'], color=INK, fontsize=7)
            bar.outline.set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.set_yticks(range(len(names)), names, fontsize=6.5)
        axes.tick_params(axis='y', length=0)
        right = axes.secondary_yaxis('right')
        right.set_yticks(range(len(names)), settled_on(record, names), fontsize=6.5, color=INK)
        right.tick_params(length=0)
        right.spines['right'].set_visible(False)
        for row in range(1, len(names)):
            if names[row].rpartition('.')[2] != names[row - 1].rpartition('.')[2]:
                axes.axhline(row - 0.5, color=MUTED, linewidth=1.2)
    return figure


def relative_entropy(record: RecordedSearch, names: Sequence[str], table: np.ndarray) -> np.ndarray:
    """Entropies (V, E) over ln(number of values) of each choice (over the row's maximum if unknown)."""
    largest = np.ones((len(names), 1))
    for row, name in enumerate(names):
        if record.space is not None and name in record.space.names:
            largest[row] = math.log(max(len(record.space[name]), 2))
        elif np.isfinite(table[row]).any():
            largest[row] = max(float(np.nanmax(table[row])), 1e-12)
    return table / largest


def settled_on(record: RecordedSearch, names: Sequence[str]) -> list[str]:
    """Per choice its most probable value in the last epoch and that value's probability: ``'t3_s5 0.93'``."""
    probs = record.epochs[-1].get('probs') if record.epochs else None
    texts = []
    for name in names:
        values = probs.get(name) if isinstance(probs, dict) else None
        if not isinstance(values, list) or not values or record.space is None or name not in record.space.names:
            texts.append('')
            continue
        best = int(np.argmax(values))
        offered = record.space[name].values
        texts.append(f'{offered[best]} {values[best]:.2f}' if len(offered) == len(values) else '')
    return texts
