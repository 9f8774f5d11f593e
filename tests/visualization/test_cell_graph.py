"""The picture of a cell says what the cell is: every connection, from where it comes to where it goes."""

import random
from itertools import pairwise

import pytest
from matplotlib.colors import to_hex

from mmnas_video.space import OPERATORS, Genotype, cell_space, read_cell
from mmnas_video.visualization import diagram
from mmnas_video.visualization.cell_graph import OPERATORS as DRAWN
from mmnas_video.visualization.cell_graph import cell_figure, describe_cell
from mmnas_video.visualization.figure_io import svg_text
from tests.visualization.artists import by_gid

CELL = Genotype(
    (
        ((0, 'dil_conv_3'), (1, 'spe_conv_3')),
        ((0, 'skip'), (2, 'conv_3')),
        ((1, 'max_pool_3'), (3, 'conv_1')),
    )
)
CELLS = [CELL, Genotype(((),)), *(read_cell(cell_space(n).sample(random.Random(n))) for n in (1, 2, 3, 4, 6))]


def box(artist):
    """(left, bottom, right, top) in inches."""
    bounds = artist.get_bbox()
    return bounds.x0, bounds.y0, bounds.x1, bounds.y1


@pytest.mark.parametrize('cell', CELLS)
def test_every_connection_goes_from_its_source_into_its_node(cell):
    """Rejects a picture with the neighbour's operator, an arrow that starts on another row or ends beside its node, and
    connections that are left out."""
    figure = cell_figure(cell)
    sources, edges, operators = (by_gid(figure, f'{kind}:') for kind in ('source', 'edge', 'op'))
    expected = {f'{n}:{i}': op for n, pairs in enumerate(cell.nodes) for i, op in pairs}
    assert set(edges) == set(operators) == set(expected) and len(sources) == len(cell.nodes) + 2
    for name, op in expected.items():
        node, source = (int(part) for part in name.split(':'))
        places = edges[name]._path_original.vertices
        (left, bottom, right, top), row = box(sources[str(node + 2)]), box(sources[str(source)])
        assert places[0][1] == pytest.approx((row[1] + row[3]) / 2) and places[0][0] > row[2]
        assert left < places[-1][0] < right and places[-1][1] == pytest.approx(top) and bottom < top
        assert to_hex(operators[name].get_facecolor()) == DRAWN[op][1]
        label = box(operators[name])
        on_the_way = [y for (a, y), (b, z) in pairwise(places) if y == z and a < label[0] and b > label[2]]
        assert on_the_way == [pytest.approx((label[1] + label[3]) / 2)], 'the connection goes through its operator'


@pytest.mark.parametrize('cell', CELLS)
def test_nothing_lies_on_anything_else(cell):
    """Rejects labels and boxes that overlap, or reach out of the figure; two arrows into one place of a node."""
    figure = cell_figure(cell, 'a cell')
    width, height = figure.get_size_inches()
    boxes = [box(a) for kind in ('source:', 'op:', 'output') for a in by_gid(figure, kind).values()]
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert left >= 0 and bottom >= 0 and right <= width and top <= height
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom
    ends = [tuple(edge._path_original.vertices[-1]) for edge in by_gid(figure, 'edge:').values()]
    assert len(set(ends)) == len(ends)


def test_all_nodes_are_the_output():
    """Rejects the last node taken for the output."""
    figure = cell_figure(CELL)
    assert list(by_gid(figure, 'join:')) == ['0', '1', '2'] and len(by_gid(figure, 'output')) == 1


def test_operators_are_told_apart_and_named_as_in_the_paper():
    """Rejects two operators of one colour or name, and one of the space that cannot be drawn."""
    assert set(DRAWN) == set(OPERATORS) - {'zero'}
    assert len({name for name, _ in DRAWN.values()}) == len({colour for _, colour in DRAWN.values()}) == 7
    written = {text.get_text() for text in cell_figure(CELL).axes[0].texts}
    assert {'DilConv 3', 'SpeConv 3', 'Skip Con', 'MPool 3', 'C{t-2}', 'C{t-1}', 'C{t}', '0', '1', '2'} <= written


def test_the_cell_in_words():
    """Rejects counts of another cell, and inputs called by their numbers."""
    words = describe_cell(CELL)
    assert words.startswith('6 connections: ') and 'DilConv 3 1' in words
    assert 'Node 1 = Skip Con of C{t-2} + Conv 3 of node 0.' in words
    assert 'Node 0 = nothing.' in describe_cell(Genotype(((),)))


def test_the_report_draws_a_cell_for_a_cell_space_only():
    """Rejects a cell drawn for groups, groups for a cell, and a figure that differs between two runs."""
    space = cell_space(2)
    figure, words = diagram(space.sample(random.Random(1)), {}, 'random 1')
    assert by_gid(figure, 'output') and 'connections' in words
    assert svg_text(figure) == svg_text(diagram(space.sample(random.Random(1)), {}, 'random 1')[0])
    assert diagram({'scale': 1.0, 'width': 3}) is None
    assert not by_gid(diagram({'s1.g1.kernel': 't3_s3'})[0], 'output')
