"""The front against its definition."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnas_video.visualization.comparison import summary_rows
from mmnas_video.visualization.pareto import candidate_points, pareto_figure, pareto_front, row_points
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


def test_inherited_scores_and_accuracies_have_their_own_axes(make_search):
    """Rejects: candidates and trained networks on one axis, top-1 as a share beside per cent."""
    work_dir, _, _ = make_search(candidates=19)
    record = read_search(work_dir)
    figure = pareto_figure([record])
    assert len(figure.axes) == 2
    candidates, trained = (
        {tuple(p) for line in axes.lines for p in zip(*line.get_data(), strict=True)} for axes in figure.axes
    )
    assert {(macs / 1e6, score) for macs, score in candidate_points(record)} <= candidates
    assert {(macs / 1e6, 100 * top1) for _, macs, top1 in row_points(record)} <= trained
    assert len(candidate_points(record)) == 19 and len(row_points(record)) == 7


def test_a_panel_without_points_is_left_out(make_search):
    """Rejects: an empty panel beside the full one."""
    work_dir, _, _ = make_search(candidates=0)
    assert [axes.get_title(loc='left') for axes in pareto_figure([read_search(work_dir)]).axes] == [
        'Trained alone, each the same way'
    ]


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
