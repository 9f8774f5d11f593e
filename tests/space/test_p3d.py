"""The cell space: edges, operators, genotypes, and the cell that weights stand for."""

import math
import random

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.space import (
    OPERATORS,
    Genotype,
    cell_edges,
    cell_space,
    derive_cell,
    edge_count,
    edge_name,
    genotype_arch,
    genotype_to_json,
    read_cell,
    read_genotype,
)
from mmnas_video.testing import check_space

SPACE = cell_space(nodes=3)


def softmax(alpha):
    """Of one edge."""
    total = sum(math.exp(a) for a in alpha)
    return [math.exp(a) / total for a in alpha]


@pytest.mark.parametrize('nodes', range(1, 7))
def test_number_of_edges(nodes):
    """Rejects cells in which a node sees itself or only one of the two previous cells: M = (n+1)(n+2)/2 - 1."""
    expected = {1: 2, 2: 5, 3: 9, 4: 14, 5: 20, 6: 27}[nodes]
    assert len(cell_edges(nodes)) == expected == edge_count(nodes) == len(cell_space(nodes))
    assert all(0 <= source < node + 2 for node, source in cell_edges(nodes))


def test_the_published_space():
    """Rejects another operator set than Table 1's eight, or another n than four."""
    space = cell_space()
    assert space.size == 8**14 and {c.values for c in space} == {tuple(OPERATORS)} and space.name == 'p3d'
    assert set(OPERATORS) == {
        'zero', 'skip', 'avg_pool_3', 'max_pool_3', 'conv_1', 'conv_3', 'spe_conv_3', 'dil_conv_3',
    }  # fmt: skip
    assert space.names[:6] == ('cell.n0.e0', 'cell.n0.e1', 'cell.n1.e0', 'cell.n1.e1', 'cell.n1.e2', 'cell.n2.e0')
    check_space(cell_space(1)), check_space(cell_space(2, ('zero', 'conv_3', 'skip')))


def test_operators_keep_the_order_of_the_table():
    """Rejects a space whose hash depends on the order in which a config lists the operators."""
    assert cell_space(2, ('conv_3', 'zero', 'skip')).hash == cell_space(2, ('zero', 'skip', 'conv_3')).hash
    assert cell_space(2, ('conv_3', 'zero')).smallest == dict.fromkeys(cell_space(2).names, 'zero')


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (dict(nodes=0), ['nodes', '0', 'positive']),
        (dict(nodes=True), ['nodes', 'True']),
        (dict(nodes=2.0), ['nodes', '2.0']),
        (dict(operators=()), ['operators', r'\[\]', 'at least one']),
        (dict(operators=('zero',)), ['operators', "beside 'zero'"]),
        (dict(operators=('zero', 'conv_5')), ['conv_5', 'dil_conv_3']),
        (dict(operators=('skip', 'skip')), ['operators', 'each once']),
    ],
)
def test_a_wrong_space_is_one_clear_error(given, words):
    """Rejects a space without edges or operators that fails somewhere in the network."""
    for word in words:
        with pytest.raises(ConfigError, match=word):
            cell_space(**given)


# ---------------------------------------------------------------------------- genotypes
GENOTYPE = Genotype(
    (((0, 'conv_1'), (1, 'skip')), ((1, 'max_pool_3'), (2, 'conv_3')), ((0, 'skip'), (3, 'dil_conv_3')))
)


def test_a_genotype_is_an_arch_with_zeros():
    """Rejects an input that is counted from another end (0 is C{t-2}, 2 + i is node i), and edges left open."""
    arch = genotype_arch(GENOTYPE, SPACE)
    there = {name: op for name, op in arch.items() if op != 'zero'}
    assert there == {
        'cell.n0.e0': 'conv_1', 'cell.n0.e1': 'skip', 'cell.n1.e1': 'max_pool_3', 'cell.n1.e2': 'conv_3',
        'cell.n2.e0': 'skip', 'cell.n2.e3': 'dil_conv_3',
    }  # fmt: skip
    assert len(arch) == 9 and read_cell(arch) == GENOTYPE


def test_a_genotype_goes_to_a_file_and_back(tmp_path):
    """Rejects inputs that come back as text, and operators that lose their node."""
    path = tmp_path / 'genotype.json'
    rng = random.Random(1)
    for arch in [SPACE.smallest, SPACE.largest, *(SPACE.sample(rng) for _ in range(10))]:
        genotype = read_cell(arch)
        path.write_text(genotype_to_json(genotype))
        for found in (read_genotype(path), read_genotype(str(path)), read_genotype(genotype)):
            assert found == genotype and genotype_arch(found, SPACE) == arch
    assert read_genotype(dict(nodes=[[[0, 'skip']], [], []])) == Genotype((((0, 'skip'),), (), ()))


@pytest.mark.parametrize(
    ('nodes', 'words'),
    [
        ([[[0, 'conv_5']], [], []], ['node 0', "'conv_5'", 'dil_conv_3']),
        ([[[0, 'zero']], [], []], ['node 0', "'zero'", 'expected one of']),
        ([[], [[3, 'skip']], []], ['node 1', 'input 3', r'2 \(node 0\)']),
        ([[], [], [[-1, 'skip']]], ['node 2', 'input -1', r'0 \(C\{t-2\}\)']),
        ([[], [], [['1', 'skip']]], ['node 2', "'1'"]),
        ([[[0, 'skip'], [0, 'conv_1']], [], []], ['node 0', 'twice']),
        ([[], []], ['2 nodes', 'expected 3']),
    ],
)
def test_a_wrong_genotype_is_one_clear_error(nodes, words):
    """Rejects a KeyError for an input that is not there, and a network built from half of the genotype."""
    for word in words:
        with pytest.raises(ConfigError, match=word):
            genotype_arch(read_genotype(dict(nodes=nodes)), SPACE, 'backbone.genotype')


@pytest.mark.parametrize(
    'text',
    ['', '[]', '{}', '{"nodes": 3}', '{"nodes": [3]}', '{"nodes": [[[0]]]}', '{"nodes": [], "format": "x"}',
     '{"nodes": [], "nodes": []}', '{"nodes": [[[NaN, "skip"]]]}'],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_error(text, tmp_path):
    """Rejects a traceback from the parser; the message names the file."""
    path = tmp_path / 'broken.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match=r'broken\.json'):
        read_genotype(path, 'backbone.genotype')
    with pytest.raises(ConfigError, match='nowhere'):
        read_genotype(tmp_path / 'nowhere.json')


def test_what_is_no_cell_is_not_read_as_one():
    """Rejects a report that draws a cell for any arch, and one that counts to a number from a file."""
    arch = dict(SPACE.smallest)
    assert read_cell({}) is None and read_cell({'s1.g1.kernel': 't3_s3'}) is None
    assert read_cell({**arch, 'cell.n0.e0': 'conv_5'}) is None and read_cell({**arch, 'more': 1}) is None
    assert read_cell({n: op for n, op in arch.items() if n != 'cell.n1.e1'}) is None
    assert read_cell({'cell.n99999999999.e0': 'skip'}) is None


# ---------------------------------------------------------------------------- derivation
def alphas(**rows):
    """Weights of SPACE: softmax of α that is 0 but for what is named, e.g. n2e3={'conv_3': 1.0}."""
    values = tuple(OPERATORS)
    table = {name: [0.0] * len(values) for name in SPACE.names}
    for key, row in rows.items():
        name = edge_name(int(key[1]), int(key[3]))
        for op, alpha in row.items():
            table[name][values.index(op)] = alpha
    return {name: softmax(alpha) for name, alpha in table.items()}


def test_a_derived_cell_by_hand():
    """Rejects strength by α in the place of softmax(α), zero that wins an edge or counts for it, the mean over the
    operators as strength, more or fewer than two inputs, and one choice of inputs for all nodes."""
    weights = alphas(
        n0e0={'conv_3': 1.0},
        n0e1={'zero': 9.0, 'skip': 0.5},  # kept: there are two inputs only
        n1e0={'zero': 5.0, 'conv_1': 2.0},  # large α of conv_1, but softmax gives it all to zero
        n1e1={'conv_1': 1.0},
        n1e2={'dil_conv_3': 1.5},
        n2e0={'conv_1': 1.0, 'conv_3': 1.0, 'spe_conv_3': 1.0, 'dil_conv_3': 1.0},  # strong together, none alone
        n2e1={'avg_pool_3': 1.0},
        n2e2={'max_pool_3': 1.1},
        n2e3={'zero': -9.0},  # all others share: 1/7 each, less than e^1 / (7 + e^1)
    )
    assert read_cell(derive_cell(SPACE, weights)).nodes == (
        ((0, 'conv_3'), (1, 'skip')),
        ((1, 'conv_1'), (2, 'dil_conv_3')),
        ((1, 'avg_pool_3'), (2, 'max_pool_3')),
    )


def test_equal_weights_keep_the_first_inputs_and_the_cheapest_operator():
    """Rejects a derivation that depends on the order of a dict or of a set."""
    derived = derive_cell(SPACE, dict(reversed(alphas().items())))
    assert read_cell(derived).nodes == (((0, 'skip'), (1, 'skip')),) * 3


@pytest.mark.parametrize('inputs', [1, 2, 3])
def test_number_of_kept_inputs(inputs):
    """Rejects a fixed two."""
    kept = read_cell(derive_cell(SPACE, alphas(n2e3={'conv_1': 1.0}), inputs)).nodes
    assert [len(pairs) for pairs in kept] == [min(inputs, n + 2) for n in range(3)]
    assert kept[2][-1] == (3, 'conv_1')


def test_derivation_in_a_narrowed_space():
    """Rejects a fixed edge that is derived away, an edge without zero that is set to it, and values counted from
    another list."""
    fixed = SPACE.fix({'cell.n1.e0': 'zero', 'cell.n2.e0': 'conv_1'})
    weights = {n: row for n, row in alphas(n2e1={'conv_3': 3.0}, n2e2={'conv_3': 2.0}).items() if n in
               {c.name for c in fixed.open}}  # fmt: skip
    derived = derive_cell(fixed, weights)
    assert derived in fixed and derived['cell.n2.e0'] == 'conv_1'
    assert read_cell(derived).nodes[1] == ((1, 'skip'), (2, 'skip'))
    without = cell_space(2, ('skip', 'conv_3'))
    heavy = {c.name: [0.2, 0.8] for c in without}
    assert derive_cell(without, heavy, 1) == without.largest
    with pytest.raises(ConfigError, match=r'cell\.n0\.e1: found 3 weights, expected 2'):
        derive_cell(without, {**heavy, 'cell.n0.e1': [0.2, 0.3, 0.5]})
    with pytest.raises(ConfigError, match='found 0 weights, expected 2'):
        derive_cell(without, {})
