"""Latency: rates from timed blocks, tables of the right network, and a sum that predicts any architecture."""

import itertools
import json
import random

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmnas_video.cost import (
    Block,
    Budget,
    Cost,
    Latency,
    LatencyTable,
    Sample,
    TimedCost,
    TimedNetwork,
    fastest_runs,
    fit_rates,
    kendall_tau,
    latency_timer,
    prediction_agreement,
    read_table,
)
from mmnas_video.cost.latency_fit import nonnegative_least_squares
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.search.population import Evolution, EvolutionOptions
from mmnas_video.testing.toy import FEATURES, SPACE, ToyBackbone
from mmnas_video.timing import Bench, Setting, check_table, measure_table, spread_archs
from tests.conftest import forget_runs
from tests.search.toy import checkpoint, prepared, runner


# ---------------------------------------------------------------------- the fit
@pytest.mark.parametrize('seed', range(4))
def test_least_squares_without_negative_rates(seed):
    """Rejects rates that are clipped at 0 after an ordinary fit: of all sets of columns, tried one by one, the best
    whose own fit is positive is the answer."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(7, 5, generator=generator, dtype=torch.float64) + 0.1
    b = a @ torch.tensor([2.0, 0.0, 3.0, 0.0, 0.5], dtype=torch.float64)
    b = b + 1.5 * torch.randn(7, generator=generator, dtype=torch.float64)
    best = float(b.norm())
    for count in range(1, 6):
        for columns in map(list, itertools.combinations(range(5), count)):
            x = torch.linalg.lstsq(a[:, columns], b).solution
            if (x >= 0).all():
                best = min(best, float((a[:, columns] @ x - b).norm()))
    found = nonnegative_least_squares(a, b)
    assert (found >= 0).all() and float((a @ found - b).norm()) == pytest.approx(best, rel=1e-5)


def test_a_miss_counts_as_a_share_of_its_network():
    """Rejects a fit in which the slow networks decide, or each block's own time. One kind without widths, 1 ms of a
    network of 10 ms and 3 ms of one of 100 ms: (1/10² + 3/100²) / (1/10² + 1/100²) by hand."""
    rates = fit_rates([Sample('stem', (1.0,), 1.0, 10.0), Sample('stem', (1.0,), 3.0, 100.0)])
    assert rates['stem']['ms'] == [pytest.approx(1.03 / 1.01, rel=1e-5)]
    assert rates['stem']['samples'] == 2
    assert rates['stem']['error'] == 0.5  # |1.02 - 1| + |1.02 - 3| of 4 ms: what is missed does not cancel


def test_kendalls_tau():
    """Rejects the rank correlation of values, ties that count as agreement, and pairs counted twice: by hand, with
    one swapped pair of six, and with a tie (five of √(5 · 6))."""
    assert kendall_tau([1, 2, 3, 40], [1, 20, 21, 22]) == 1 and kendall_tau([1, 2, 3], [3, 2, 1]) == -1
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(5 / 30**0.5)
    found = prediction_agreement([9.0, 22.0], [10.0, 20.0])
    assert found == {'tau': 1.0, 'mean_error': pytest.approx(0.1), 'worst_error': pytest.approx(0.1)}


# ---------------------------------------------------------------------- timing
class Scripted(nn.Module):
    """Passes time on a fake clock: so much in each of its calls."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, list(seconds)

    def forward(self):
        self.clock[0] += self.seconds.pop(0)


def test_the_fastest_pass_counts_whole_and_warm_ups_do_not(monkeypatch):
    """Rejects the least of each block's times (they do not add up to a pass), a warm-up that counts, and networks that
    are timed one after another."""
    clock = [0.0]
    monkeypatch.setattr(latency_timer.time, 'thread_time', lambda: clock[0])
    order = []
    networks = []
    # Two warm-ups, then three passes: the second is the fastest, though the third's first block is faster.
    times = {'a': [(0, 0), (0, 0), (5, 7), (2, 3), (1, 11)], 'b': [(0, 0), (0, 0), (4, 4), (9, 9), (13, 2)]}
    for name, passes in times.items():
        first, second = (Scripted(clock, column) for column in zip(*passes, strict=True))

        def run(name=name, first=first, second=second):
            order.append(name)
            first()
            clock[0] += 0.5  # neither block's
            second()

        networks.append(TimedNetwork(run, [first, second], torch.device('cpu')))
    found = fastest_runs(networks, 3)
    assert [timed.ms for timed in found] == [5500, 8500]
    assert [timed.blocks for timed in found] == [(2000, 3000), (4000, 4000)]
    assert ''.join(order) == 'aabb' + 'ab' * 3
    assert not any(module._forward_hooks or module._forward_pre_hooks for n in networks for module in n._modules)


def test_a_block_that_is_not_run_takes_no_time():
    """Rejects a table that cannot be measured on a network with a block that this clip does not come by."""
    timed = TimedNetwork(lambda: None, [nn.Identity()], torch.device('cpu'))()
    assert timed.blocks == (0,) and timed.ms >= 0


# ---------------------------------------------------------------------- whole spaces, time being multiply-adds
STREAM = dict(stages=(((8, 16, 8), (1, 1)), ((16, 24, 8), (1,))), out_channels=19)
TWO_STREAMS = Config(
    dict(
        model=dict(
            type='Recognizer3D',
            backbone=dict(
                type='SuperTSNet', sparse=STREAM, dense=STREAM, sparse_frames=2, dense_frames=8,
                kernels=('t1_s3', 't3_s3'), expansions=(1.5, 3.0), attentions=('none',), attention_sites=(),
                spatial_strides=(2, 2),
            ),
            cls_head=dict(
                type='X3DHead', in_channels=38, num_classes=11, spatial_type='avg', dropout_ratio=0.5, fc1_bias=False
            ),
        )
    )
)  # fmt: skip


class CountedClock:
    """A clock that a network's multiply-adds move on."""

    counter = None

    def __init__(self, device):
        pass

    def now(self):
        return self.counter.get_total_flops() // 2

    def wait(self):
        pass

    @staticmethod
    def ms(start, end):
        return end - start


@pytest.fixture
def counted(monkeypatch):
    """A bench on the meta device, in which the milliseconds of a network are its multiply-adds."""
    init_default_scope('mmaction')
    monkeypatch.setattr(latency_timer, 'Clock', CountedClock)
    monkeypatch.setattr(latency_timer, 'WARM_UP', 0)
    monkeypatch.setattr('mmnas_video.timing.START_UP', 0)

    def make(name):
        setting = Setting()
        object.__setattr__(setting, 'device', 'meta')
        cfg = TWO_STREAMS if name == 'two streams' else load_config(f'configs/demo/{name}')
        bench = Bench(cfg, (3, 8, 32, 32), setting, repeats=1)
        counter = FlopCounterMode(display=False)
        monkeypatch.setattr(CountedClock, 'counter', counter)
        time = bench.time

        def counting(archs, *report):
            with counter:
                return time(archs, *report)

        monkeypatch.setattr(bench, 'time', counting)
        return bench

    return make


@pytest.mark.parametrize(
    ('name', 'networks', 'error'),
    [
        ('autox3d.py', 16, 0.04),  # its squeeze-and-excitation is the product of two widths
        ('two streams', 14, 0.04),
        ('vimnas_evolution.py', 8, 1e-3),
        ('p3d_darts.py', 8, 1e-3),
    ],
)
def test_every_family_is_predicted_block_by_block(name, networks, error, counted, tmp_path):
    """Rejects a block that is another module than its name says, that is timed twice or not at all, work that is not
    what its time grows with, and a rest that is forgotten: with multiply-adds for milliseconds, the prediction of
    architectures that were not timed is their multiply-adds."""
    bench = counted(name)
    table = measure_table(bench, tmp_path / 'table.json', networks, seed=0)
    found = check_table(bench, table, 3, seed=0)
    assert found['worst_error'] < error
    arch = bench.space.sample(random.Random(3))
    blocks = [block.module for block in bench.searchable.latency_blocks(arch, bench.shape)]
    assert blocks.count('') == 1 and len(set(blocks)) == len(blocks)
    named = [block for block in blocks if block]
    assert not any(one != other and other.startswith(f'{one}.') for one in named for other in named)


@pytest.mark.parametrize(('room', 'together'), [(0, [4, 1]), (2**32, [5])])
def test_the_check_says_how_far_the_machine_agrees_with_itself(room, together, counted, tmp_path, monkeypatch):
    """Rejects a check that measures once, that repeats a network at once, that takes the slower time, one that
    compares the second measurement with the prediction, networks that take turns four by four where there is room for
    all, and a bar that stands still until all are done."""
    monkeypatch.setattr('mmnas_video.timing.CHECKED_BYTES', room)
    bench = counted('vimnas_evolution.py')
    table = measure_table(bench, str(tmp_path / 'table.json'), 8, seed=0)
    bench.repeats = 3
    order, sizes, timed = [], [], bench.time

    def drifting(archs, report):
        factors = [1.5 if arch in order else 1.0 for arch in archs]
        order.extend(archs)
        sizes.append(len(archs))
        return [one._replace(ms=f * one.ms) for one, f in zip(timed(archs, report), factors, strict=True)]

    monkeypatch.setattr(bench, 'time', drifting)
    counts = []
    found = check_table(bench, table, 5, seed=0, report=lambda *at: counts.append(at))
    assert order[:5] == order[5:] and sizes == 2 * together
    assert [at for at, of in counts if of == 10] == (
        [1, 2, 4, 4, 4, 5, 6, 7, 9, 9, 9, 10] if not room else [1, 3, 5, 6, 8, 10]
    )
    assert found['worst_error'] < 1e-3
    assert found['repeated'] == pytest.approx({'tau': 1, 'mean_error': 0.5, 'worst_error': 0.5})


def test_the_networks_that_are_timed(counted):
    """Rejects draws in which a value never has its turn, all of middling size, and one that is too large to wait
    for."""
    bench = counted('autox3d.py')
    cost = lambda arch: bench.searchable.cost(arch, bench.shape)  # noqa: E731
    archs = spread_archs(bench.space, 40, random.Random(0), cost)
    for choice in bench.space.open:
        assert {arch[choice.name] for arch in archs} == set(choice.values)
    drawn = sorted(cost(bench.space.sample(random.Random(seed))).macs for seed in range(40))
    timed = sorted(cost(arch).macs for arch in archs)
    assert timed[-1] - timed[0] > drawn[-1] - drawn[0]
    median = drawn[20]
    capped = spread_archs(bench.space, 40, random.Random(0), lambda a: Cost(10 * median if a == archs[0] else median))
    assert archs[0] not in capped


# ---------------------------------------------------------------------- tables
TOY = ToyBackbone()
RATES = {'network': {'ms': [0.5, 0.25, 0.0], 'samples': 9, 'error': 0.0}}


def content(**changes):
    """A table of the toy, whose latency is half a millisecond and a quarter for each multiply-add."""
    data = {
        'format': 'mmnas-video/latency@1',
        'space': SPACE.identity,
        'shape': [FEATURES],
        'network': {'macs': 50, 'params': 63},
        'setting': {'device': 'cpu', 'dtype': 'fp32', 'batch': 1, 'threads': 1, 'machine': 'a toy'},
        'measured': [],
        'rates': RATES,
        **changes,
    }
    return {key: value for key, value in data.items() if value is not None}


def test_the_range_is_that_of_all_architectures():
    """Rejects a range of the ends of the multiply-adds when the time has its ends elsewhere."""

    class Turned(ToyBackbone):
        def latency_blocks(self, arch, shape):
            yield Block('', 'network', (1.0, abs(arch['width'] - 3) + arch['scale'], 0.0))

    for toy in (TOY, Turned()):
        latency = Latency(LatencyTable(content(), 'table'), toy, (FEATURES,))
        archs = [SPACE.decode(indices) for indices in itertools.product(range(3), repeat=2)]
        every = [latency(arch) for arch in archs]
        assert latency.range() == (min(every), max(every))
    assert Latency(LatencyTable(content(), 'table'), TOY, (FEATURES,))(SPACE.smallest) == 0.5 + 0.25 * 14


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(format='mmnas-video/arch@1'), ["'mmnas-video/arch@1'", "'mmnas-video/latency@1'"]),
        (dict(rates=None), ['no rates', 'finished']),
        (dict(network=None), ['found no network']),
        (dict(rates={'network': {'ms': [1, -2, 0]}}), ['[1, -2, 0]', "'network'"]),
        (dict(rates={'network': {'ms': 3}}), ["'network'"]),
        (dict(space={'name': 'p3d', 'hash': '0'}), ["'p3d'", "'toy'"]),
        (dict(shape=[5]), ['(5,)', '(7,)']),
        (dict(shape=5), ['shape = 5', 'a list']),
        (dict(space=['toy']), ["space = ['toy']", 'an object']),
        (dict(space={'name': 'toy'}), ['space.hash = None', 'a text']),
        (dict(network=3), ['network = 3', 'an object']),
        (dict(setting='cpu'), ["setting = 'cpu'", 'an object']),
        (dict(measured=13, rates=None), ['measured = 13', 'a list']),
        (dict(measured=[3]), ['the measured network 3', 'arch, ms and blocks']),
        (dict(measured=[{'arch': [0, 1], 'ms': 2.5}]), ["{'arch': [0, 1], 'ms': 2.5}", 'blocks']),
        (dict(measured=[{'arch': [0, 1], 'ms': 'fast', 'blocks': [1.5]}]), ["'fast'", 'numbers']),
        (dict(rates=[1]), ['rates = [1]', 'an object']),
        (dict(network={'macs': 49, 'params': 63}), ["{'macs': 49", "{'macs': 50"]),
        (dict(rates={'block': {'ms': [1]}}), ["'network'", 'a block of this network']),
        (dict(rates={'network': {'ms': [0.5, 0.25]}}), ["'network'", 'a block of this network']),  # of three amounts
    ],
)
def test_a_table_of_something_else_is_refused(changes, words, tmp_path):
    """Rejects a table of another space, clip or network, one that is not finished and one that is none: each is one
    error before the search starts, that names the file. Rejects parts that are read before they are looked at."""
    file = tmp_path / 'table.json'
    file.write_text(json.dumps(content(**changes)))
    budget = dict(latency_ms=9, latency_table=str(file))
    with pytest.raises(ConfigError) as error:
        prepared(dict(type='PARSECSearchHook', num_archs=2, budget=budget))
    assert str(error.value).startswith(f"budget.latency_table='{file}'") and '\n' not in str(error.value)
    assert not [word for word in words if word not in str(error.value)], str(error.value)


@pytest.mark.parametrize(
    ('text', 'words'), [(None, 'not found'), ('{', 'not JSON'), ('[]', 'list'), ('{"format": 1e999}', '1e999')]
)
def test_a_file_that_is_no_table(text, words, tmp_path):
    """Rejects a traceback from inside JSON, and a number that is not finite."""
    file = tmp_path / 'table.json'
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=words.replace('1e999', 'inf|1e999')):
        read_table(file)


def test_a_name_that_no_file_can_have():
    """Rejects the system's own error, which names neither the key nor what makes a table."""
    with pytest.raises(ConfigError, match=r'latency_table=.*cannot be read.*tools/latency\.py'):
        read_table('x' * 300)


# ---------------------------------------------------------------------- in a search
@pytest.fixture
def table(tmp_path):
    """File of the toy's table."""
    file = tmp_path / 'table.json'
    file.write_text(json.dumps(content()))
    return str(file)


def test_a_search_under_a_latency(table):
    """Rejects a hinge that forgets the latency or takes another unit, and an arch.json that does not say it: with 35
    multiply-adds 9.25 ms, a quarter above 7.4."""
    _, hook = prepared(dict(type='PARSECSearchHook', num_archs=2, budget=dict(latency_ms=7.4, latency_table=table)))
    arch = SPACE.largest
    assert hook.cost(arch) == TimedCost(*hook.searchable.cost(arch, (FEATURES,)) + hook.costs._rest(arch), 9.25)
    assert hook.violation(arch) == pytest.approx(0.25) and hook.violation(SPACE.smallest) == 0
    assert hook.costs.reach['latency_ms'] == (4.0, 9.25)
    hook._write_arch(arch, epoch=1, final=False)
    cost = json.loads((hook.record.folder / 'arch.json').read_text())['cost']
    assert cost['latency_ms'] == 9.25 and 'ms' in cost['unit']


@pytest.mark.parametrize(
    ('budget', 'words'),
    [
        (dict(latency_ms=5), 'budget.latency_table: found none'),
        (dict(latency_ms=3.9), r'budget.latency_ms: found at most 3.9.*reachable range 4.0 to 9.25 ms'),
        (dict(latency_table=7), 'budget.latency_table: found 7'),
    ],
)
def test_a_latency_that_cannot_be_kept(budget, words, table):
    """Rejects a latency without a table (nothing would be bounded) and one below all that the space has."""
    if 'latency_ms' in budget and budget['latency_ms'] < 5:
        budget = {**budget, 'latency_table': table}
    with pytest.raises(ConfigError, match=words):
        prepared(dict(type='PARSECSearchHook', num_archs=2, budget=budget))


def test_evolution_under_a_latency_and_against_it(table):
    """Rejects a front against another cost, and architectures over the latency that are asked for all the same."""
    latency = Latency(read_table(table), TOY, (FEATURES,))

    def cost(arch):
        return TimedCost(*TOY.cost(arch, (FEATURES,)), latency(arch))

    options = EvolutionOptions(population=4, top_k=2, pareto='latency_ms')
    search = Evolution(SPACE, options, cost, Budget(latency_ms=6, latency_table=table))
    rng = random.Random(0)
    for _ in range(3):
        archs = search.ask(rng)
        search.tell(archs, [arch['width'] + arch['scale'] for arch in archs])
    assert {arch['width'] for arch in search.seen} == {2, 3}  # 4, 5.75 and 9.25 ms
    assert [found.cost.latency_ms for found in search.front] == [4.0, 5.75]
    with pytest.raises(ConfigError, match='pareto'):
        EvolutionOptions(pareto='ms')


ADAM = dict(type='Adam', lr=0.1)
#: Search hooks with a budget. The first three are moved by the price of cost, the others never leave the budget.
PRICED = {
    'PARSECSearchHook': dict(num_archs=7, cost_weight=9, arch_optimizer=ADAM),
    'DARTSSearchHook': dict(score_batches=1, cost_weight=9, arch_optimizer=ADAM),
    'EntanglementSearchHook': dict(score_batches=1, cost_weight=9, arch_optimizer=ADAM),
}
BOUND = {
    'UniformSearchHook': dict(candidates=7, score_batches=1),
    'ConflictAwareSearchHook': dict(candidates=7, score_batches=1),
    'EvolutionSearchHook': dict(population=3, top_k=2, eval_batches=1),
}


def search(kind, bound, table, folder, **options):
    """One epoch of a real search; what its arch.json says, and the lines of its history by kind."""
    runner(
        dict(type=kind, budget=dict(latency_ms=bound, latency_table=table), **options), epochs=1, work_dir=str(folder)
    ).train()
    forget_runs()
    history = [json.loads(line) for line in (folder / 'search/history.jsonl').read_text().splitlines()]
    lines = {name: [line for line in history if line['kind'] == name] for name in ('epoch', 'candidate')}
    return json.loads((folder / 'search/arch.json').read_text()), lines


@pytest.mark.parametrize('kind', PRICED)
def test_a_search_pays_for_latency(kind, table, tmp_path):
    """Rejects a price of cost without the latency, and a history without it: under 5 ms, which width 2 alone keeps, it
    becomes more probable than under a bound that all keep."""
    probable = {}
    for bound in (5, 9.25):
        found, lines = search(kind, bound, table, tmp_path / str(bound), **PRICED[kind])
        (epoch,) = lines['epoch']
        assert epoch['latency_ms'] == {2: 4.0, 3: 5.75, 5: 9.25}[SPACE.decode(epoch['most_probable'])['width']]
        assert found['search']['budget']['latency_ms'] == [None, bound] and 'latency_ms' in found['cost']
        probable[bound] = epoch['probs']['width'][0]
    assert probable[5] > probable[9.25] + 0.05, probable


@pytest.mark.parametrize('kind', BOUND)
def test_a_search_keeps_a_latency(kind, table, tmp_path):
    """Rejects candidates beyond the latency, and a history without it: width 5 takes 9.25 ms."""
    options = BOUND[kind] | ({'checkpoint': checkpoint()} if kind == 'EvolutionSearchHook' else {})
    found, lines = search(kind, 6, table, tmp_path, **options)
    assert found['cost']['latency_ms'] <= 6 and found['arch']['width'] <= 3
    assert len(lines['candidate']) >= 3 and max(line['latency_ms'] for line in lines['candidate']) <= 6
    (epoch,) = lines['epoch']
    assert epoch['latency_ms'] == {2: 4.0, 3: 5.75, 5: 9.25}[SPACE.decode(epoch['most_probable'])['width']]


def test_a_clock_is_of_its_own_gpu(monkeypatch):
    """Rejects events in the queue of the current GPU, and waits for that one, where another is timed."""
    asked = []
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device=None: asked.append(('stream', device)) or device)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda device=None: asked.append(('wait', device)))
    event = type('Event', (), dict(__init__=lambda self, enable_timing: None, record=lambda self, stream=None: None))
    monkeypatch.setattr(torch.cuda, 'Event', event)
    second = torch.device('cuda', 1)
    clock = latency_timer.Clock(second)
    clock.now(), clock.wait()
    assert asked == [('stream', second), ('wait', second)]
