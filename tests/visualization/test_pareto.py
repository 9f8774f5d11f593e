"""The front against its definition."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnas_video.space import Arch
from mmnas_video.visualization import evaluated
from mmnas_video.visualization.comparison import summary_rows
from mmnas_video.visualization.evaluated import PANELS, Evaluated, pareto_front, shown
from mmnas_video.visualization.figure_io import svg_text
from mmnas_video.visualization.networks import Networks
from mmnas_video.visualization.pareto import pareto_figure, positions
from mmnas_video.visualization.plots import _caption, _label, _Overlay, read_plots
from mmnas_video.visualization.recorded import read_search


def _brute_force(points):
    """O(n²), from the definition alone."""

    def dominated(i):
        cost, score = points[i]
        return any(c <= cost and s >= score and (c < cost or s > score) for c, s in points)

    return {i for i in range(len(points)) if not any(map(math.isnan, points[i])) and not dominated(i)}


# Few different values, so that ties in one axis, in both, and in none all occur.
GRID = st.lists(
    st.tuples(st.integers(-2, 3), st.integers(-3, 2)).map(lambda p: (float(p[0]), float(p[1]))), max_size=13
)


@given(GRID)
def test_front_is_that_of_the_definition(points):
    """Rejects: >= for > (equal points), sorting by cost alone (ties in cost), minimising the score."""
    front = pareto_front(points)
    assert set(front) == _brute_force(points) and len(front) == len(set(front))
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_front_of_many_points():
    """Rejects: a front that is right on grids only."""
    points = [tuple(p) for p in np.random.default_rng(5).normal(size=(307, 2))]
    assert set(pareto_front(points)) == _brute_force(points)


def test_nan_is_no_network():
    """Rejects: NaN first in the order, which then hides everything behind it."""
    assert pareto_front([(math.nan, 9.0), (1.0, math.nan), (2.0, 3.0), (5.0, 7.0)]) == [2, 3]


def test_each_kind_of_score_has_its_own_plot(make_search):
    """Rejects: candidates and trained networks on one axis, top-1 as a share beside per cent, samples of the steps left
    out, an architecture with another's score."""
    work_dir, space, _ = make_search(candidates=19, epochs=3, steps=2, arms=5)
    record = read_search(work_dir)
    plots = {plot.panel.name: plot for plot in read_plots([record])}
    drawn = {}
    for name, plot in plots.items():
        axes = pareto_figure(plot.panel, [record], plot.points).axes
        assert len(axes) == 1
        drawn[name] = {tuple(p) for line in axes[0].lines for p in zip(*line.get_data(), strict=True)}
    lines = [json.loads(line) for line in (work_dir / 'search' / 'history.jsonl').read_text().splitlines()]
    rows = json.loads((work_dir / 'search' / 'table.json').read_text())['rows']
    expected = {
        'trained': {(row['macs'], 100 * row['top1'], Arch(row['arch'])) for row in rows},
        'candidates': {(x['macs'], x['score'], space.decode(x['arch'])) for x in lines if x['kind'] == 'candidate'},
        'sampled': {
            (macs, score, space.decode(arch))
            for x in lines
            if x['kind'] == 'step'
            for arch, macs, score in zip(x['archs'], x['macs'], x['scores'], strict=True)
        },
    }
    assert [len(points) for points in expected.values()] == [7, 19, 30]
    for name, points in expected.items():
        assert {(p.macs, p.score, p.arch) for p in plots[name].points[0]} == points
        assert {(macs / 1e6, score) for macs, score, _ in points} <= drawn[name]


def test_everything_evaluated_is_drawn(make_search):
    """What cannot be opened is a dot. Rejects: a plot of 120 networks out of all that were evaluated, a dot behind each
    point too, a front that the dots are in, and an order that is not that of cost."""
    work_dir, _, _ = make_search(candidates=211, epochs=2, steps=1)
    record = read_search(work_dir)
    plot = next(plot for plot in read_plots([record]) if plot.panel.name == 'candidates')
    every = sorted((p.macs / 1e6, p.score) for p in plot.panel.read(record))
    axes = pareto_figure(plot.panel, [record], plot.points, plot.others).axes[0]
    sets = [[*zip(*line.get_data(), strict=True)] for line in axes.lines if line.get_linestyle() == 'None']
    points, dots = (next(found for found in sets if len(found) == size) for size in (120, 91))
    assert sorted(points + dots) == every
    assert _caption(plot).startswith('211 networks, of which 120 can be opened; ')
    html = _Overlay(plot, [record], Networks(0)).html(axes.figure)
    assert (found := [float(x) for x in re.findall(r'cx="([\d.]+)"', html)]) == sorted(found) and len(found) == 120


def test_samples_of_a_long_search_are_spread_over_it(make_search, monkeypatch):
    """Rejects: those of its first steps alone."""
    monkeypatch.setattr(evaluated, 'MAX_LINES', 5)
    record = read_search(make_search(epochs=4, steps=7, arms=2, candidates=0)[0])
    names = [point.name for point in evaluated.sampled(record)]
    assert names == [f'step {step}' for step in (0, 5, 10, 15, 20, 25) for _ in range(2)]


def test_every_target_is_drawn_once(make_search):
    """Rejects: the first search's budget beside the points of three, of which two share one."""
    records = [
        read_search(make_search(name=name, target=target, candidates=7, epochs=2, steps=1)[0])
        for name, target in (('a', 53_000_000), ('b', 31_000_000), ('c', 53_000_000))
    ]
    plot = next(plot for plot in read_plots(records) if plot.panel.name == 'candidates')
    for some, labels in ((records, {'target 53 M': 53.0, 'target 31 M': 31.0}), (records[:1], {'target': 53.0})):
        lines = pareto_figure(plot.panel, some, plot.points[: len(some)]).axes[0].lines
        drawn = [(line.get_label(), line.get_xdata()[0]) for line in lines if 'target' in str(line.get_label())]
        assert len(drawn) == len(labels) and dict(drawn) == labels


def test_a_panel_without_points_is_left_out(make_search):
    """Rejects: an empty plot beside the full one."""
    work_dir, _, _ = make_search(candidates=0, steps=0)
    assert [plot.panel.name for plot in read_plots([read_search(work_dir)])] == ['trained']


def test_what_is_left_out_is_never_on_the_front():
    """Rejects: thinning that drops members of the front, or that keeps the first so many of the others."""
    rng = np.random.default_rng(3)
    networks = [Evaluated(str(i), *pair) for i, pair in enumerate(rng.normal(size=(307, 2)))]
    front = set(pareto_front([(n.macs, n.score) for n in networks]))
    kept = shown(PANELS[1], networks, 53)
    assert len(kept) == 53 and front <= set(kept)
    others = np.array([i for i in kept if i not in front])
    assert np.diff(others).max() <= 2 * 307 / (53 - len(front)) and others[-1] > 290
    assert set(shown(PANELS[1], networks, 2)) == front


def test_no_point_lies_under_the_legend(make_search):
    """Rejects: a legend among the points, of which it hides some and whose marks are taken for others."""
    record = read_search(make_search(epochs=1)[0])
    for plot in read_plots([record]):
        figure = pareto_figure(plot.panel, [record], plot.points, plot.others)
        svg_text(figure)  # finds the layout
        axes = figure.axes[0]
        legend, words = axes.get_legend().get_window_extent(), axes.xaxis.label.get_window_extent()
        assert legend.y1 <= words.y0 < axes.bbox.y0 and legend.y0 >= 0 and legend.x1 <= figure.bbox.x1


def test_a_network_on_the_front_keeps_its_mark(make_search):
    """Rejects: a dot over the circle of a random network, which is then of no kind that the legend names."""
    record = read_search(make_search(epochs=1)[0])
    plot = read_plots([record])[0]
    assert plot.panel.name == 'trained'
    axes = pareto_figure(plot.panel, [record], plot.points).axes[0]
    marks = [line.get_marker() for line in axes.lines if line.get_marker() not in (None, 'None', '')]
    assert sorted(marks) == sorted(['*', 's', *'ooooo'])


def test_positions_are_those_of_the_drawn_markers(make_search):
    """Rejects: an overlay that is upside down, in other units, or of the layout before the last."""
    work_dir, _, _ = make_search(candidates=11, epochs=2, steps=1)
    record = read_search(work_dir)
    plot = next(plot for plot in read_plots([record]) if plot.panel.name == 'candidates')
    figure = pareto_figure(plot.panel, [record], plot.points)
    svg = svg_text(figure)
    groups = [
        [(float(x), float(y)) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', part)]
        for part in re.findall(r'<g clip-path[^>]*>(.*?)</g>', svg, re.S)
    ]
    found = positions(figure, plot.points[0])
    cloud = next(points for points in groups if len(points) == 11)
    np.testing.assert_allclose(sorted(found), sorted(cloud), atol=1e-3)


@pytest.mark.parametrize(('cost', 'label'), [('params', 'parameters [M]'), ('latency_ms', 'latency [ms]')])
def test_the_front_is_against_the_cost_that_was_sought(cost, label, make_search):
    """Rejects: the front by MACs of an evolution whose files name another one, an axis or markers of MACs, a target in
    MACs on it, a line that promises a score for less than it costs, and (of searches that differ, or with a network
    whose cost is not known) anything but MACs."""
    work_dir = make_search(candidates=31, epochs=2, steps=1)[0]
    plain = read_search(work_dir)
    arch, history = (work_dir / 'search' / name for name in ('arch.json', 'history.jsonl'))
    about = json.loads(arch.read_text())
    about['search']['pareto'] = cost
    arch.write_text(json.dumps(about))
    lines, costs = [json.loads(line) for line in history.read_text().splitlines()], np.random.default_rng(7)
    lines = [{**line, 'params': 1e6 * costs.random(), 'latency_ms': 9 * costs.random()} for line in lines]
    history.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    record = read_search(work_dir)

    def plot_of(*records):
        return next(plot for plot in read_plots(records) if plot.panel.name == 'candidates')

    plot = plot_of(record)
    figure = pareto_figure(plot.panel, [record], plot.points, plot.others, plot.cost)
    axes, points = figure.axes[0], [(line[cost], line['score']) for line in lines if line['kind'] == 'candidate']
    unit = 1e6 if cost == 'params' else 1
    expected = [(points[i][0] / unit, points[i][1]) for i in pareto_front(points)]
    (step,) = (line for line in axes.lines if line.get_drawstyle() != 'default')
    assert len(expected) > 2 and step.get_drawstyle() == 'steps-post'
    np.testing.assert_allclose(np.transpose(step.get_data(orig=True)), expected)
    assert axes.get_xlabel() == label and 'target' not in [line.get_label() for line in axes.lines]
    xs = sorted(x for x, _ in positions(figure, plot.points[0], plot.cost))
    assert np.corrcoef(xs, sorted(found for found, _ in points))[0, 1] == pytest.approx(1)
    assert plot_of(record, plain).cost == plot_of(plain).cost == 'macs'
    about['search'] = {**about['search'], 'pareto': None, 'budget': {cost: [None, 4.0]}}
    arch.write_text(json.dumps(about))
    bounded = read_search(work_dir)  # no front was sought: the one cost that the budget bounds, with its bound
    plot = plot_of(bounded)
    (target,) = (
        line
        for line in pareto_figure(plot.panel, [bounded], plot.points, plot.others, plot.cost).axes[0].lines
        if line.get_label() == 'target'
    )
    assert plot.cost == cost and target.get_xdata()[0] == 4.0 / unit
    lines[next(i for i, line in enumerate(lines) if line['kind'] == 'candidate')].pop(cost)
    history.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    assert plot_of(read_search(work_dir)).cost == 'macs'


def test_a_point_says_its_figures_in_their_units():
    """Rejects: multiply-adds told as parameters, a share as per cent, and words about what is not known."""
    point = Evaluated('candidate 7', 52_345_678, 0.61803, None, 1_234_567, 17.25)
    costs = '52.35 M MACs, 1.235 M parameters, 17.25 ms'
    expected = f'candidate 7 of seed11: score 0.618, {costs} – no other beats it in both'
    assert _label(point, PANELS[1], 'seed11', True) == expected
    trained = Evaluated('searched', 52_345_678, 73.1)
    assert _label(trained, PANELS[0], '', False) == 'searched: 73.1 % top-1, 52.35 M MACs'


def _rows(*top1):
    return [
        {'name': 'searched', 'top1': 0.5},
        *({'name': f'random {i}', 'top1': t} for i, t in enumerate(top1, start=1)),
    ]


@pytest.mark.parametrize(
    ('top1', 'median', 'best'),
    [((0.3, 0.1, 0.7, 0.2, 0.5), 'random 1', 'random 3'), ((0.3, 0.1, 0.7, 0.2), 'random 4', 'random 3')],
)
def test_median_and_best_are_networks(top1, median, best):
    """Rejects: the middle by position in the file, the mean of two, the last for the best."""
    rows = summary_rows(_rows(*top1))
    assert [row.name for row in rows] == [
        'searched',
        f'median of {len(top1)} random ({median})',
        f'best of {len(top1)} random ({best})',
    ]
    by_name = {row['name']: row['top1'] for row in json.loads(json.dumps(_rows(*top1)))}
    assert [row.top1 for row in rows[1:]] == [by_name[median], by_name[best]]


def test_a_single_random_network_stays_itself():
    """Rejects: 'median of 1'."""
    assert [row.name for row in summary_rows(_rows(0.3))] == ['searched', 'random 1']
