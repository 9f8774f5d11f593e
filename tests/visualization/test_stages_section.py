"""What the report says of a search in stages."""

import json

import pytest

from mmnas_video.visualization import album, write_report
from mmnas_video.visualization.recorded import read_search

STAGES = [
    {
        'name': 'sparse',
        'folder': '1_sparse',
        'opened': ['a', 'b', 'c'],
        'size': 3306 * 10**21,
        'budget': {'macs': [None, 1.4e9]},
        'macs': 1_391_000_017,
        'entropy': 7.125,
        'note': 'paper: 8e24 <i>',
    },
    {'name': 'dense', 'folder': '2_dense', 'opened': ['d'], 'size': 7, 'budget': None, 'macs': 11, 'entropy': 4.0},
]


@pytest.fixture
def report(make_search, monkeypatch):
    """The report's text beside given stages; figures are not drawn."""
    monkeypatch.setattr(album, 'svg_text', lambda figure: '<svg></svg>')
    monkeypatch.setattr(album, 'save_figure', lambda figure, path: path)

    def make(stages, name='a'):
        work_dir, *_ = make_search(name, epochs=2, steps=1, candidates=0)
        if stages is not None:
            (work_dir / 'search' / 'stages.json').write_text(stages if isinstance(stages, str) else json.dumps(stages))
        return write_report(work_dir, png=False).read_text(), read_search(work_dir)

    return make


def test_the_stages_stand_in_the_report(report):
    """Rejects a report of the last stage that does not say so, links that lead nowhere, a note taken for HTML, and a
    mean over choices in the place of one over stages."""
    html, _ = report({'stages': STAGES})
    for expected in (
        'href="../1_sparse/search/report.html">sparse</a>',
        '3.3\u00a0×\u00a010²⁴',
        'MACs ≤ 1,400',
        '<td>1,391.00</td>',
        '<td>7.12</td>',
        'paper: 8e24 &lt;i&gt;',
        'nats: 11.12 in all, 5.56 on average over the stages',
    ):
        assert expected in html, expected


def test_stages_with_a_latency_table_say_theirs(report):
    """Rejects: MACs alone of a search whose stages are bounded in ms, and a column of dashes where none has one."""
    timed = {**STAGES[0], 'latency_ms': 17.253, 'budget': {'latency_ms': [None, 18]}}
    html, _ = report({'stages': [timed, STAGES[1]]})
    assert '<th>latency [ms]</th>' in html and '<td>17.25</td>' in html and '<td>–</td>' in html
    assert 'latency ≤ 18\u00a0ms' in html
    assert '<th>latency [ms]</th>' not in report({'stages': STAGES}, 'b')[0]


def test_a_method_without_entropy_has_no_sum(report):
    """Rejects a zero, and an error, where a stage has none."""
    html, _ = report({'stages': [STAGES[0], {**STAGES[1], 'entropy': None}]})
    assert 'on average over the stages' not in html and '2_dense' in html


@pytest.mark.parametrize('stages', [None, {}, {'stages': 3}, {'stages': [3, {}]}, '{'])
def test_a_search_without_stages_says_nothing_of_them(stages, report):
    """Rejects a note that every ordinary report would carry, and a report that a broken file prevents."""
    html, record = report(stages)
    assert 'The stages of the search' not in html and record.stages == ()
    assert any('stages.json' in note for note in record.notes) == (stages == '{')
