"""Curves and maps hold the figures of the file, not figures like them."""

import json
import math

import numpy as np
import pytest

from mmnas_video.space import AUTOX3D_STAGES
from mmnas_video.visualization import entropy_map, recorded
from mmnas_video.visualization.entropy_map import entropy_map_figure, entropy_table, settled_on
from mmnas_video.visualization.figure_io import svg_text
from mmnas_video.visualization.pareto import pareto_figure
from mmnas_video.visualization.plots import read_plots
from mmnas_video.visualization.recorded import read_search, with_labels
from mmnas_video.visualization.search_curves import (
    bin_means,
    certainty_figure,
    changed_choices,
    collapse_figure,
    cost_figure,
    cost_figures,
    epoch_series,
    sampled_range,
    score_figure,
    step_positions,
    step_series,
    thin,
)


def _lines(work_dir, kind):
    text = (work_dir / 'search' / 'history.jsonl').read_text()
    return [line for line in map(json.loads, text.splitlines()) if line['kind'] == kind]


def test_entropy_map_shows_the_entropies_of_the_file(make_search):
    """Rejects: rows in another order than their labels, bits for nats, epochs shifted by one, smoothing."""
    work_dir, space, _ = make_search(epochs=13)
    record = read_search(work_dir)
    names, epochs, table = entropy_table(record)
    lines = _lines(work_dir, 'epoch')
    assert epochs.tolist() == [line['epoch'] for line in lines] and sorted(names) == sorted(space.names)
    expected = np.array([[line['entropies'][name] for line in lines] for name in names])
    np.testing.assert_array_equal(table, expected)
    figure = entropy_map_figure(record)
    axes = figure.axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == names
    largest = np.array([[math.log(len(space[name]))] for name in labels])
    np.testing.assert_allclose(drawn * largest, expected, atol=1e-12)
    assert axes.images[0].get_extent() == [0.5, 13.5, len(names) - 0.5, -0.5]


def test_lines_at_the_ends_of_a_scale_are_seen_whole(make_search):
    """Rejects: a line along the upper edge, of which half is cut off: all choices at their smallest, all undecided; one
    that lies under the frame: no choice changes any more."""
    work_dir, _, _ = make_search(epochs=3, steps=1, candidates=0)
    file = work_dir / 'search' / 'history.jsonl'
    lines = [{**json.loads(line), 'smallest_share': 1.0, 'entropy': 15.89} for line in file.read_text().splitlines()]
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    record = read_search(work_dir)
    for figure, top in ((collapse_figure(record), 100.0), (certainty_figure(record), 15.89)):
        assert figure.axes[0].get_ylim() == pytest.approx((0, 1.06 * top))
    assert collapse_figure(record).axes[1].get_ylim() == pytest.approx((-0.06, 1.1))


def test_long_names_leave_room_for_the_plot(make_search):
    """Rejects: a legend that is wider than its figure, beside axes that shrink to nothing."""
    names = [f'autox3d_parsec_kinetics200_budget_2gmacs_run_of_november_29_seed_{seed}_again' for seed in 'ab']
    records = [read_search(make_search(name=name, epochs=2, steps=1)[0]) for name in names]
    plot = read_plots(records)[0]
    for figure in cost_figure(records), pareto_figure(plot.panel, records, plot.points):
        svg_text(figure)  # finds the layout
        axes, whole = figure.axes[0], figure.bbox
        legend, words = axes.get_legend().get_window_extent(), axes.get_legend().get_texts()
        assert axes.bbox.width > 0.75 * whole.width and legend.x0 >= 0 and legend.x1 <= whole.x1
        assert words[0].get_text() != words[1].get_text() and max(len(word.get_text()) for word in words) <= 36


def test_no_curve_lies_under_a_legend(make_search):
    """Rejects: a legend over the end of a search in which all choices are at their smallest, or one network decides."""
    record = read_search(make_search(epochs=3, steps=2, candidates=0)[0])
    for figure, at in ((collapse_figure(record), 0), (certainty_figure(record), 1)):
        svg_text(figure)  # finds the layout
        axes = figure.axes[at]
        box = axes.get_legend().get_window_extent()
        assert box.y0 >= axes.bbox.y1 - 1 and box.x1 <= axes.bbox.x1 + 1 and box.y1 <= figure.bbox.y1
        assert not box.overlaps(figure.axes[0].title.get_window_extent())


def test_what_has_no_point_is_not_drawn(make_search):
    """Rejects: empty axes with a scale, under words about what is not there: effective samples of a search by
    gradients, and all but the score of an evolution."""
    work_dir, _, _ = make_search(epochs=3, steps=2, candidates=0)
    file, keys = work_dir / 'search' / 'history.jsonl', ('ess', 'weights', 'entropy', 'smallest_share', 'most_probable')

    def drawn(*left_out):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [{k: v for k, v in line.items() if k not in left_out} for line in lines]
        file.write_text(''.join(json.dumps(line) + '\n' for line in lines))
        figures = certainty_figure(record := read_search(work_dir)), collapse_figure(record), score_figure(record)
        return [figure and [axes.get_ylabel() for axes in figure.axes] for figure in figures]

    assert drawn(*keys[:2]) == [['entropy [nats]'], ['smallest [%]', 'choices changed'], ['score', 'loss']]
    assert drawn(*keys, 'loss', 'scores') == [None, None, ['score']]


def test_entropy_map_groups_by_what_is_chosen(make_search):
    """Rejects: the space's own order, in which the four kinds alternate and no pattern is seen."""
    work_dir, _, _ = make_search(epochs=2, stages=AUTOX3D_STAGES)
    kinds = [name.rpartition('.')[2] for name in entropy_table(read_search(work_dir))[0]]
    assert kinds == ['kernel'] * 11 + ['expansion'] * 11 + ['channels'] * 11 + ['attention'] * 11


def test_entropy_map_of_a_long_search_keeps_epochs_and_averages_none(make_search, monkeypatch):
    """Rejects: a picture per epoch without a bound; averaged columns (a value that no epoch had)."""
    monkeypatch.setattr(entropy_map, 'MAX_COLUMNS', 7)
    work_dir, space, _ = make_search(epochs=31, steps=1)
    record = read_search(work_dir)
    names, _, table = entropy_table(record)
    drawn = np.asarray(entropy_map_figure(record).axes[0].images[0].get_array())
    largest = np.array([[math.log(len(space[name]))] for name in names])
    assert drawn.shape == (12, 7)
    columns = [int(np.argmin(np.abs(table / largest - column[:, None]).sum(0))) for column in drawn.T]
    assert columns[0] == 0 and columns[-1] == 30
    np.testing.assert_allclose((table / largest)[:, columns], drawn, atol=1e-12)


def test_settled_on_names_the_most_probable_value(make_search):
    """Rejects: the index instead of the value, the first epoch instead of the last."""
    work_dir, space, arch = make_search(epochs=23)
    record = read_search(work_dir)
    last = _lines(work_dir, 'epoch')[-1]['probs']
    for name, text in zip(space.names, settled_on(record, space.names), strict=True):
        assert text == f'{arch[name]} {max(last[name]):.2f}'


def test_macs_curve_is_in_millions_beside_the_target(make_search):
    """Rejects: raw MACs beside a target in millions, the mean of the samples, and a band of theirs in another unit."""
    work_dir, _, _ = make_search(target=53_000_000)
    record = read_search(work_dir)
    axes = cost_figure([record]).axes[0]
    curve, target = axes.lines
    lines = _lines(work_dir, 'epoch')
    np.testing.assert_allclose(curve.get_ydata(), [line['macs'] / 1e6 for line in lines])
    np.testing.assert_allclose(curve.get_xdata(), [line['epoch'] for line in lines])
    np.testing.assert_allclose(target.get_ydata(), 53.0)
    (band,), (_, low, high) = axes.collections, sampled_range(record)
    edges = band.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((low.min() / 1e6, high.max() / 1e6))


def test_what_is_undecided_and_what_collapses_is_in_the_units_of_its_axis(make_search):
    """Rejects: a share on an axis of per cent, chance as the mean number of values, the curve of another figure of the
    steps, and another number of networks than each step has sampled."""
    work_dir, space, _ = make_search(epochs=3, steps=5, arms=7, candidates=0)
    record = read_search(work_dir)
    (entropy, sampled), (smallest, _) = certainty_figure(record).axes, collapse_figure(record).axes
    expected = [line['entropy'] for line in _lines(work_dir, 'epoch')]
    np.testing.assert_allclose(entropy.lines[0].get_ydata(), expected)
    expected = [1 / sum(w * w for w in line['weights']) for line in _lines(work_dir, 'step')]
    np.testing.assert_allclose(sampled.lines[0].get_ydata(), expected)
    assert [(line.get_label(), line.get_ydata()[0]) for line in sampled.lines[1:]] == [('K = 7 sampled', 7)]
    chance = 100 * np.mean([1 / len(choice) for choice in space.open])
    for line, height in zip(smallest.lines, (11.0, chance), strict=True):
        np.testing.assert_allclose(line.get_ydata(), height)


def test_latency_curve_is_in_ms_beside_its_bound(make_search):
    """Rejects: MACs under the name of ms, ms taken for millions, the lower bound or that of the MACs as target, and a
    curve of ms where there is no latency."""
    work_dir, _, _ = make_search()
    assert [*cost_figures([read_search(work_dir)])] == ['macs']
    arch, history = (work_dir / 'search' / name for name in ('arch.json', 'history.jsonl'))
    about = json.loads(arch.read_text())
    about['search']['budget'] = {'latency_ms': [3.5, 7.25], 'macs': [None, 1e6]}
    arch.write_text(json.dumps(about))
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    for i, line in enumerate(lines):
        line.update({'latency_ms': 7 + 1 / (1 + i)} if line['kind'] == 'epoch' else {})
    history.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    figures = cost_figures([read_search(work_dir)])
    assert [*figures] == ['macs', 'latency']
    curve, target = figures['latency'].axes[0].lines
    np.testing.assert_allclose(curve.get_ydata(), [line['latency_ms'] for line in lines if line['kind'] == 'epoch'])
    np.testing.assert_allclose(target.get_ydata(), 7.25)
    other = read_search(make_search('other', epochs=3)[0])
    beside = cost_figure(with_labels([read_search(work_dir), other]), 'latency_ms').axes[0]
    assert [text.get_text() for text in beside.get_legend().get_texts()] == ['a', 'target 7.25 ms']


def test_sampled_range_is_that_of_the_epoch(make_search):
    """Rejects: percentiles over the whole search, or over the means of the steps."""
    work_dir, _, _ = make_search(epochs=3, steps=5, arms=7)
    epochs, low, high = sampled_range(read_search(work_dir))
    macs = [m for line in _lines(work_dir, 'step') if line['epoch'] == 2 for m in line['macs']]
    assert epochs.tolist() == [1, 2, 3] and len(macs) == 35
    assert (low[1], high[1]) == (np.percentile(macs, 10), np.percentile(macs, 90))


@pytest.mark.parametrize('first_epoch', [0, 1])
def test_steps_stand_before_the_epoch_that_they_lead_to(make_search, first_epoch):
    """Rejects: steps drawn behind their epoch; an epoch under way stretched to look finished."""
    work_dir, _, _ = make_search(epochs=1)
    lines = [{'kind': 'step', 'step': s, 'epoch': first_epoch + s // 5} for s in range(13)]
    (work_dir / 'search' / 'history.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    positions = step_positions(read_search(work_dir)) - first_epoch
    np.testing.assert_allclose(positions, np.arange(1, 14) / 5 - 1)


def test_binning_keeps_the_mean_and_thinning_keeps_the_points():
    """Rejects: every k-th loss (noise looks like signal), means of epochs that nobody measured."""
    y = np.random.default_rng(3).normal(size=1009)
    x = np.arange(1009.0)
    bx, by = bin_means(x, y, 17)
    counts = np.diff(np.linspace(0, 1009, 18).astype(int))
    assert by.shape == (17,) and np.isclose((by * counts).sum(), y.sum()) and np.all(np.diff(bx) > 0)
    tx, ty = thin(x, y, 17)
    assert tx[0] == 0 and tx[-1] == 1008 and set(ty) <= set(y) and ty.shape == (17,)


def test_without_a_loss_the_sampled_scores_are_drawn(make_search):
    """Rejects: an empty panel for a method that records no loss; the best score instead of the mean."""
    work_dir, _, _ = make_search(epochs=3, steps=5)
    path = work_dir / 'search' / 'history.jsonl'
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(''.join(json.dumps({k: v for k, v in line.items() if k != 'loss'}) + '\n' for line in lines))
    lower = score_figure(read_search(work_dir)).axes[1]
    assert lower.get_ylabel() == 'sampled score'
    expected = [np.mean(line['scores']) for line in lines if line['kind'] == 'step']
    np.testing.assert_allclose(lower.lines[0].get_ydata(), expected)


def test_changed_choices_counts_differences():
    """Rejects: counting epochs with any change, comparing with the first epoch."""
    epochs = tuple({'epoch': e, 'most_probable': b} for e, b in ((3, [1, 2, 3]), (5, [1, 0, 0]), (7, [1, 0, 1])))
    x, y = changed_choices(recorded.RecordedSearch(work_dir=None, epochs=epochs))
    assert (x.tolist(), y.tolist()) == ([5, 7], [2, 1])


def test_non_finite_figures_are_left_out():
    """Rejects: one NaN loss that empties the whole curve, None drawn as 0, True drawn as 1."""
    values = [3.0, float('nan'), None, True, float('inf'), '7', 5]
    epochs = tuple({'epoch': i, 'score': value} for i, value in enumerate(values))
    x, y = epoch_series(recorded.RecordedSearch(work_dir=None, epochs=epochs), 'score')
    assert (x.tolist(), y.tolist()) == ([0, 6], [3, 5])


def test_long_histories_are_thinned_evenly(make_search, monkeypatch):
    """Rejects: the first lines only (the end is lost), a last step that is lost, a wrong total."""
    monkeypatch.setattr(recorded, 'MAX_STEPS', 11)
    work_dir, _, _ = make_search(epochs=29, steps=7, arms=2)
    record = read_search(work_dir)
    steps = [line['step'] for line in record.steps]
    assert record.steps_total == 203 and len(record.epochs) == 29 and len(record.candidates) == 23
    assert steps[0] == 0 and steps[-1] == 202 and 11 <= len(steps) <= 23
    assert len(set(np.diff(steps[:-1]))) == 1
    assert step_series(record, 'loss')[1].size == len(steps)


def test_history_of_a_killed_search(make_search):
    """Rejects: an error on the half line that is being written, silence on a broken one, an epoch twice, and the target
    of another epoch than the last."""
    work_dir, _, _ = make_search(epochs=3, steps=2, candidates=0)
    path = work_dir / 'search' / 'history.jsonl'
    again = json.loads(path.read_text().splitlines()[-1])
    again.update(macs=97, target=89)
    path.write_text(f'{path.read_text()}{json.dumps(again)}\n{{"kind":"epo\n{{"kind":"epoch","epoch":4,"entr')
    record = read_search(work_dir)
    assert [line['epoch'] for line in record.epochs] == [1, 2, 3] and record.epochs[-1]['macs'] == 97
    assert record.target() == 89
    assert [note for note in record.notes if 'line' in note] == [
        'history.jsonl: left out 1 line(s) that cannot be read, the first is line 11.'
    ]
