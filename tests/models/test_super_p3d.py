"""SuperP3D: the law of entanglement over all operators, the published sizes, and what it refuses."""

import random
from functools import partial

import pytest
import torch

from mmnas_video.cost import Cost, count
from mmnas_video.entangle import Mixture
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperP3D
from mmnas_video.models.blocks.p3d_cell import P3DCell
from mmnas_video.registry import MODELS
from mmnas_video.space import OPERATORS, Genotype, arch_to_json, genotype_arch, genotype_to_json, read_cell
from mmnas_video.testing import check_mixture, check_searchable
from mmnas_video.testing.compare import randomise

SMALL = dict(nodes=2, channels=3, reductions=(0, 1), stem_channels=5, stem_stride=2)
SHAPE = (3, 5, 13, 11)
TRAINED = dict(cells=6, channels=8)
CLIP = (3, 8, 112, 112)
GENOTYPE = Genotype((((0, 'spe_conv_3'), (1, 'skip')), ((1, 'max_pool_3'), (2, 'dil_conv_3'))))


def inputs(batch=2):
    return torch.randn(batch, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def covering(space, more=3):
    """Archs that together use every operator on every edge, and some random ones."""
    rng = random.Random(1)
    shifted = [space.decode([(k + 3 * e) % len(c) for e, c in enumerate(space)]) for k in range(len(OPERATORS))]
    return [*shifted, *(space.sample(rng) for _ in range(more))]


def built(seed=0, **changes):
    torch.manual_seed(seed)
    model = SuperP3D(**{**SMALL, **changes}).double().eval()
    randomise(model, seed)
    return model


def on_meta(**cfg):
    with torch.device('meta'):
        return SuperP3D(**cfg)


# ---------------------------------------------------------------------------- the laws
@pytest.mark.parametrize('cfg', [{}, dict(norm_affine=False, pool_norm=True)], ids=['trained', 'searched'])
def test_at_an_arch_it_is_the_extracted_network(cfg):
    """Rejects an operator that runs beside the sampled one, one that is built for an edge that is zero, parts that
    slices forget, a closed-form cost that is off by one edge or one stride, and extremes that are none."""
    make = partial(SuperP3D, **SMALL, **cfg)
    check_searchable(make, inputs(), covering(make().space))


@pytest.mark.parametrize('cfg', [{}, dict(norm_affine=False, pool_norm=True)], ids=['trained', 'searched'])
def test_mixed_it_is_the_sum_of_the_operators(cfg):
    """Rejects weights that are normalised anew (zero's share lost), that act before the operator, or whose gradient is
    not that of the outputs."""
    make = partial(SuperP3D, **SMALL, **cfg)
    check_mixture(make, inputs(), covering(make().space, 0)[:3])


def test_a_mixed_edge_by_hand():
    """Rejects an edge that mixes inputs, or sums the operators of another edge: one edge's output, added up here."""
    model, weights = built(), {}
    for choice in model.space:
        weights[choice.name] = torch.rand(len(choice), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    cell, x = model.cells[2], torch.randn(2, 24, 5, 3, 2, dtype=torch.float64)
    mixture = Mixture(model.space, weights)
    terms = {name: mixture.terms(name) for name in model.space.names}
    older, newer = torch.randn(2, 12, 5, 6, 4, dtype=torch.float64), x
    states = [cell.adapt_older(older), cell.adapt_newer(newer)]
    for n in range(2):
        total = 0.0
        for i in range(n + 2):
            ops = cell.edges[f'n{n}_e{i}']
            for k, op in enumerate(OPERATORS):
                total = total + (0 if op == 'zero' else weights[f'cell.n{n}.e{i}'][k] * ops[op](states[i]))
        states.append(total)
    torch.testing.assert_close(cell(older, newer, terms), torch.cat(states[2:], 1), rtol=1e-12, atol=1e-12)


def test_a_node_without_connections_is_zeros():
    """Rejects one that passes an input on; beside it the other node is as it was."""
    model = SuperP3D(nodes=2, cells=1, channels=3, reductions=(0,)).double().eval()
    arch = dict.fromkeys(model.space.names, 'conv_1')
    x = torch.randn(2, 3, 5, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cut = {name: 'zero' if name.startswith('cell.n0.') or name == 'cell.n1.e2' else op for name, op in arch.items()}
    with torch.no_grad(), model.use(cut):
        y = model(x)
    assert y.shape == (2, 2 * 6, 5, 4, 3) and not y[:, :6].any() and y[:, 6:].any()


def test_an_operator_of_weight_zero_is_not_run():
    """Rejects a mixture that pays for what has been taken out."""
    model, ran = built(), []
    for cell in model.cells:
        for edge in cell.edges.values():
            for op, module in edge.items():
                module.register_forward_hook(lambda *_, op=op: ran.append(op))
    weights = {c.name: torch.tensor([0.5, 0, 0, 0.5, 0, 0, 0, 0], dtype=torch.float64) for c in model.space}
    with model.use(Mixture(model.space, weights)):
        model(inputs())
    assert ran == ['max_pool_3'] * 15


@pytest.mark.parametrize('training', [False, True])
def test_gradient_of_alpha_through_softmax(training):
    """Rejects weights that are cut from their softmax, or shared by two edges: every entry of α against central
    differences of the loss, in fp64."""
    model = built().train(training)
    x, alpha = inputs(), {}
    for e, choice in enumerate(model.space):
        generator = torch.Generator().manual_seed(e)
        alpha[choice.name] = torch.randn(len(choice), generator=generator, dtype=torch.float64) / 2
    upstream = torch.randn(2, model.out_channels, dtype=torch.float64, generator=torch.Generator().manual_seed(7))

    def loss(rows):
        with model.use(Mixture(model.space, {name: row.softmax(0) for name, row in rows.items()})):
            return (model(x).mean((2, 3, 4)) * upstream).sum()

    leaves = {name: row.clone().requires_grad_() for name, row in alpha.items()}
    loss(leaves).backward()
    step, checked = 1e-6, 0
    with torch.no_grad():
        for name in ('cell.n0.e0', 'cell.n1.e2'):
            for k in range(len(OPERATORS)):
                ends = []
                for sign in (1, -1):
                    moved = {n: row.clone() for n, row in alpha.items()}
                    moved[name][k] += sign * step
                    ends.append(float(loss(moved)))
                expected = (ends[0] - ends[1]) / (2 * step)
                assert float(leaves[name].grad[k]) == pytest.approx(expected, rel=1e-5, abs=1e-8), (name, k)
                checked += abs(expected) > 1e-5
    assert checked > 8


# ---------------------------------------------------------------------------- the published network
def test_the_two_networks_have_one_space():
    """Rejects a hash that depends on cells or channels: the arch.json of a search would be refused in training."""
    search, trained = on_meta(), on_meta(**TRAINED)
    assert search.space == trained.space and search.space.hash == trained.space.hash
    assert [c.channels for c in search.cells] == [4, 8, 8] and search.out_channels == 32
    assert [c.channels for c in trained.cells] == [8, 16, 16, 32, 32, 64] and trained.out_channels == 256
    assert [c.stride for c in trained.cells] == [1, 2, 1, 2, 1, 2]


def test_resolution_is_halved_in_space_and_never_in_time():
    """Rejects a stride in time, one on edges between nodes too (a quarter), and sizes that differ by one pixel between
    the two inputs of a cell."""
    model = SuperP3D(**{**SMALL, 'cells': 5, 'stem_stride': 1}).eval()
    shapes = []
    for cell in model.cells:
        cell.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
    with torch.no_grad(), model.use(model.space.sample(random.Random(3))):
        model(torch.zeros(1, 3, 7, 13, 11))
    assert shapes == [(12, 7, 7, 6), (24, 7, 4, 3), (24, 7, 4, 3), (24, 7, 4, 3), (24, 7, 4, 3)]


def by_hand(operators, channels, inputs, halves, older_larger):
    """Parameters of one derived cell: Σ over operators, and both adaptations."""
    taps = {'conv_1': 1, 'spe_conv_3': 9, 'conv_3': 12, 'dil_conv_3': 12}
    total = 0
    for source, op in operators:
        if op in taps:
            total += taps[op] * channels**2 + 2 * channels
        elif op == 'skip' and halves and source < 2:
            total += channels**2 + 2 * channels
    return total + sum(inp * channels + 2 * channels for inp in inputs)


def test_parameters_of_a_derived_network_by_hand():
    """Rejects operators with other kernels, BNs without parameters, adaptation to another width, and reductions or
    doublings at other cells than 1, 3 and 5: stem 3·9·24 + 48, then six cells."""
    nodes = [
        [[0, 'dil_conv_3'], [1, 'conv_3']],
        [[1, 'spe_conv_3'], [2, 'skip']],
        [[0, 'skip'], [3, 'conv_1']],
        [[2, 'max_pool_3'], [4, 'dil_conv_3']],
    ]
    model = on_meta(**TRAINED, genotype=dict(nodes=nodes))
    operators = [(source, op) for node in nodes for source, op in node]
    expected, before = 3 * 9 * 24 + 2 * 24, (24, 24)
    for k, channels in enumerate((8, 16, 16, 32, 32, 64)):
        cell = by_hand(operators, channels, before, k % 2 == 1, k % 2 == 0)
        assert sum(p.numel() for p in model.cells[k].parameters()) == cell, k
        expected, before = expected + cell, (before[1], 4 * channels)
    assert expected == sum(p.numel() for p in model.parameters()) == model.cost(model.arch, CLIP).params


def test_derived_networks_reach_the_paper_s_parameters():
    """Rejects reductions after two cells each (2, 4), with which no cell of two inputs has more than 0.29 M: with 101
    classes the paper's network has 0.67 M, and prefers operators with a larger field."""

    def parameters(nodes, **cfg):
        model = on_meta(**TRAINED, genotype=dict(nodes=nodes), **cfg)
        return model.cost(model.arch, CLIP).params + 101 * (model.out_channels + 1)

    def cell(*operators):
        return [[[0, operators[2 * n]], [1, operators[2 * n + 1]]] for n in range(4)]

    assert parameters(cell(*['dil_conv_3'] * 8)) == 704_573
    assert parameters(cell(*['max_pool_3'] * 8)) == 56_765
    assert round(parameters(cell(*['dil_conv_3'] * 6, *['spe_conv_3'] * 2)) / 1e6, 2) == 0.66
    assert round(parameters(cell(*['dil_conv_3'] * 7, 'spe_conv_3')) / 1e6, 2) == 0.68
    assert parameters(cell(*['dil_conv_3'] * 8), reductions=(2, 4)) == 287_645


@pytest.mark.parametrize('shape', [CLIP, (3, 5, 61, 47)])
def test_cost_is_what_torch_counts(shape):
    """Rejects agreement by smallness: sampled and derived cells of the trained network at full size, and at odd
    sizes."""
    model, rng = on_meta(**TRAINED), random.Random(5)
    weights = {c.name: [rng.random() for _ in c.values] for c in model.space}
    for arch in (model.space.sample(rng), model.derive(weights), model.space.smallest):
        pinned = on_meta(**TRAINED, arch=arch)
        assert model.cost(arch, shape) == count(pinned, torch.zeros(1, *shape, device='meta'))[0]


def test_cost_range_by_enumeration():
    """Rejects extremes over archs that were sampled only: all 36 of a one-node cell."""
    model = SuperP3D(
        **{**SMALL, 'nodes': 1}, operators=('zero', 'skip', 'max_pool_3', 'conv_1', 'spe_conv_3', 'conv_3')
    )
    choice = model.space.choices[0]
    archs = [model.space.decode((i, j)) for i in range(len(choice)) for j in range(len(choice))]
    costs = [model.cost(arch, SHAPE) for arch in archs]
    for q, ((low, _), (high, _)) in model.cost_range(SHAPE).items():
        assert (low, high) == (min(getattr(c, q) for c in costs), max(getattr(c, q) for c in costs))
    assert isinstance(costs[0], Cost) and len(costs) == 36


# ---------------------------------------------------------------------------- as a part of a config
def test_arch_and_genotype_build_the_same_network(tmp_path):
    """Rejects a genotype whose dropped edges are built, and files that are read otherwise than values."""
    space = built().space
    arch = genotype_arch(GENOTYPE, space)
    arch_file, genotype_file = tmp_path / 'arch.json', tmp_path / 'genotype.json'
    arch_file.write_text(arch_to_json(arch, space.identity))
    genotype_file.write_text(genotype_to_json(GENOTYPE))
    models = [
        MODELS.build(dict(type='SuperP3D', **SMALL, **pin))
        for pin in (dict(arch=dict(arch)), dict(arch=str(arch_file)), dict(genotype=GENOTYPE),
                    dict(genotype=str(genotype_file)), dict(genotype=dict(nodes=[list(p) for p in GENOTYPE.nodes])))
    ]  # fmt: skip
    for model in models:
        assert model.arch == arch and model.space.size == 1 and read_cell(model.arch) == GENOTYPE
        assert [list(edge) for edge in model.cells[0].edges.values()] == [
            ['spe_conv_3'], ['skip'], [], ['max_pool_3'], ['dil_conv_3'],
        ]  # fmt: skip


def test_derive_keeps_as_many_inputs_as_asked_for():
    """Rejects an option that is taken and ignored."""
    for kept in (1, 2):
        model = on_meta(kept_inputs=kept)
        derived = model.derive({c.name: [1 / 8] * 8 for c in model.space})
        assert [len(pairs) for pairs in read_cell(derived).nodes] == [kept] * 4


def test_fixed_edges():
    """Rejects operators that are built although a pattern pins the edge."""
    model = SuperP3D(**SMALL, fixed={'cell.n1.*': 'skip'})
    assert [c.name for c in model.space.open] == ['cell.n0.e0', 'cell.n0.e1']
    assert all(list(cell.edges['n1_e1']) == ['skip'] for cell in model.cells)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(nodes=0), ['nodes', '0']),
        (dict(operators=()), ['operators', 'at least one']),
        (dict(cells=0), ['backbone.cells', '0', 'from 1']),
        (dict(channels=1), ['backbone.channels', '1', 'from 2']),
        (dict(kept_inputs=0), ['backbone.kept_inputs']),
        (dict(genotype=dict(nodes=[[[0, 'conv_7']], []])), ['backbone.genotype', 'conv_7', 'dil_conv_3']),
        (dict(genotype=dict(nodes=[[[2, 'skip']], []])), ['backbone.genotype', 'node 0', 'input 2']),
        (dict(genotype='no/such.json'), ['backbone.genotype', 'no/such.json', 'not found']),
        (dict(arch='no/such.json'), ['no/such.json', 'not found']),
        (dict(arch={'cell.n0.e0': 'skip'}), ['backbone.arch', 'cell.n0.e1']),
        (dict(arch={}, genotype={}), ['backbone.genotype', 'one of them']),
        (dict(fixed={'cell.n9.*': 'skip'}), ['backbone.fixed', 'cell.n9.*']),
    ],
)
def test_a_wrong_config_is_one_clear_error(change, words):
    """Rejects an error from the middle of the construction; the message names the key and what is expected."""
    with pytest.raises(ConfigError) as error:
        SuperP3D(**{**SMALL, **change})
    for word in words:
        assert word in str(error.value)


def test_a_wrong_shape_is_one_clear_error():
    """Rejects costs of a clip without its channels."""
    with pytest.raises(ConfigError, match=r'cost_shape: found \(8, 112, 112\)'):
        on_meta().cost(on_meta().space.smallest, CLIP[1:])


def test_keys_of_edges():
    """Rejects names that a ModuleDict cannot have, or that two edges share."""
    names = on_meta().space.names
    assert len({P3DCell.key(name) for name in names}) == 14 and P3DCell.key('cell.n1.e0') == 'n1_e0'
