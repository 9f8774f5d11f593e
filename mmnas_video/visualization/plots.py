"""Plots whose points can be hovered, clicked, and walked through with the arrow keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from matplotlib.figure import Figure

from . import page
from .album import Album
from .comparison import inherited
from .evaluated import PANELS, Evaluated, Panel, cost_of, front_of, shown
from .networks import Networks
from .pareto import pareto_figure, positions
from .recorded import RecordedSearch

#: Most points of all searches together that open in a plot, beside their fronts, where scores compare and where they do
#: not: each one's network is drawn, and all that within 20 s. The others are dots.
POINTS, UNRANKED_POINTS = 120, 60


@dataclass
class Plot:
    """What is drawn of one panel.

    Attributes:
        points: of each search, those that can be opened.
        others: of each search, those that are dots.
        cost: against which they are drawn, see :func:`~.evaluated.cost_of`.
    """

    panel: Panel
    points: list[list[Evaluated]] = field(default_factory=list)
    others: list[list[Evaluated]] = field(default_factory=list)
    cost: str = 'macs'


def read_plots(records: Sequence[RecordedSearch], share: int = 1) -> list[Plot]:
    """The panels that have anything to show; ``share``: as in :func:`pareto`."""
    plots = []
    for panel in PANELS:
        if panel.name == 'trained' and any(inherited(record.rows) for record in records):
            panel = replace(panel, title='Tested, inherited weights')
        found, most = [panel.read(record) for record in records], (POINTS if panel.ranked else UNRANKED_POINTS) // share
        plot = Plot(panel, cost=cost_of(records, [*chain.from_iterable(found)]))
        for every in found:
            opened = set(shown(panel, every, most, plot.cost))
            plot.points.append([point for i, point in enumerate(every) if i in opened])
            plot.others.append([point for i, point in enumerate(every) if i not in opened])
        if any(plot.points):
            plots.append(plot)
    return plots


def pareto(records: Sequence[RecordedSearch], album: Album, networks: Networks, share: int = 1) -> str:
    """Score against cost, of one search or of several; empty where nothing was evaluated.

    Args:
        share: how many searches the page has: each gets that part of the points, in all its plots the same ones.
    """
    html = ''
    for plot in read_plots(records, share):
        figure = pareto_figure(plot.panel, records, plot.points, plot.others, plot.cost)
        overlay = _Overlay(plot, records, networks)
        html += album.add(plot.panel.name, figure, _caption(plot), over=overlay.html)
    if not html:
        return ''
    return (
        '<p class="soft small">Every point is a network. Point at one to see it; click it, or press Enter on it, for '
        'its drawing and its JSON. The arrow keys go from point to point: left and right by cost, up and down by '
        f'score.</p><div class="explore"><div class="grid">{html}</div>{_DETAIL}</div>'
    )


#: Filled by the script when a point is chosen.
_DETAIL = (
    '<div class="detail" role="region" aria-label="The network of a point" tabindex="-1" hidden>'
    '<h3></h3><div class="scroll"><div class="plot"></div></div><p class="words soft"></p><p class="differs"></p>'
    '<p><button type="button" class="copy">Copy JSON</button> '
    '<button type="button" class="close">Close</button> <span class="said soft" role="status"></span></p>'
    '<p class="soft small">Saved as a file it is an architecture for tools/cost.py, tools/extract.py and '
    'model.backbone.arch.</p><details><summary>JSON</summary><pre></pre></details></div>'
)


def _caption(plot: Plot) -> str:
    opened, dots = (sum(map(len, networks)) for networks in (plot.points, plot.others))
    text = (
        f'{opened + dots:,} networks, of which {opened} can be opened; the others are the small dots. ' if dots else ''
    )
    if plot.panel.name == 'trained':
        return f'{text}Star: searched. Square: by hand. Circle: random. Line: those that no other beats in both.'
    if plot.panel.ranked:
        return f'{text}Line: those that no other beats in both. Not comparable with networks trained alone.'
    return f'{text}Each score is of another batch, so they compare only roughly; there is no front.'


class _Overlay:
    """The points of a plot as elements over its picture."""

    def __init__(self, plot: Plot, records: Sequence[RecordedSearch], networks: Networks) -> None:
        self.plot, self.records, self.networks = plot, records, networks

    def html(self, figure: Figure) -> str:
        """An ``<svg>`` to lie over the finished figure's; its points from the cheapest to the dearest."""
        circles = [circle for index in range(len(self.records)) for circle in self._circles(figure, index)]
        circles.sort(key=lambda pair: pair[0])
        width, height = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
        label = page.text(f'{self.plot.panel.title}: {len(circles)} networks. Arrow keys move, Enter opens.')
        return (
            f'<svg class="points" viewBox="0 0 {width:g} {height:g}" role="group" aria-label="{label}">'
            f'{"".join(html for _, html in circles)}</svg>'
        )

    def _circles(self, figure: Figure, index: int) -> list[tuple[float, str]]:
        points, record = self.plot.points[index], self.records[index]
        front, cost = set(front_of(self.plot.panel, points, self.plot.cost)), self.plot.cost
        several = len(self.records) > 1
        circles = []
        for i, (point, (x, y)) in enumerate(zip(points, positions(figure, points, cost), strict=True)):
            key = self.networks.add(record, point, first=i in front or self.plot.panel.name == 'trained')
            label = page.text(_label(point, self.plot.panel, record.name if several else '', i in front))
            name = f' data-n="{key}"' if key else ''
            circle = f'<circle cx="{x:.2f}" cy="{y:.2f}" r="5" role="button" aria-label="{label}"{name}/>'
            circles.append((getattr(point, cost), circle))
        return circles


def _label(point: Evaluated, panel: Panel, search: str, front: bool) -> str:
    score = f'{point.score:.1f} % top-1' if panel.name == 'trained' else f'score {point.score:.4g}'
    costs: Mapping[str, float | None] = {
        f'{page.mega(point.macs)} M MACs': point.macs,
        f'{page.mega(point.params, 3)} M parameters': point.params,
        f'{page.plain(point.latency_ms)} ms': point.latency_ms,
    }
    known = [text for text, value in costs.items() if value is not None]
    who = f'{point.name} of {search}' if search else point.name
    return f'{who}: {", ".join([score, *known])}{" – no other beats it in both" if front else ""}'
