"""The benchmarks of kernels and steps on a machine without a GPU."""

import functools
import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

import mmnas_video
from mmnas_video.cost import count
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS

FOLDER = Path(__file__).parents[2] / 'tools/benchmarks'
CONFIG = FOLDER.parents[1] / 'configs/autox3d/x3d_s.py'


@pytest.fixture
def script(monkeypatch):
    """A script as a module, by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name):
        spec = importlib.util.spec_from_file_location(f'benchmarks_{name}', FOLDER / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def benchmark(script):
    """kernels.py as a module."""
    return script('kernels')


def test_bounds_of_the_eight_layers(benchmark):
    """Rejects a bound that counts inputs instead of outputs under a stride, bytes of one tensor only, or FLOPs where
    multiply-adds are meant. By hand: B C T H W k of the output at 132 x 128 x 1.75 GHz; both maps once at 4.2 TB/s.
    """
    floors = (0.0328, 0.0328, 0.0164, 0.0082, 0.0041, 0.0760, 0.0152, 0.0055)
    roofs = (0.0856, 0.0342, 0.0171, 0.0086, 0.0043, 0.0171, 0.0171, 0.0171)
    for layer, floor, roof in zip(benchmark.LAYERS, floors, roofs, strict=True):
        for case in benchmark.depthwise(layer):
            assert round(case.macs / benchmark.FMA_A_SECOND * 1e3, 4) == floor, case.name
            assert round(case.bytes(2) / benchmark.BANDWIDTH * 1e3, 4) == roof, case.name
            assert case.bound(2) == pytest.approx(max(floor, roof) / 1e3, rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU it would measure')
def test_without_a_gpu_it_says_so(benchmark, monkeypatch, capsys, tmp_path):
    """Rejects a script that fails there, or prints times that nobody measured."""
    out = tmp_path / 'kernels.json'
    monkeypatch.setattr(sys, 'argv', ['kernels.py', '--only', 'depthwise*', '--out', str(out)])
    benchmark.main()
    assert 'No GPU here' in capsys.readouterr().out
    table = json.loads(out.read_text())
    assert len(table['rows']) == 8 * 3
    assert table['header'] == ['kernel', 'MB', 'MMACs', 'bound µs', 'goal']


def test_a_compiled_rival_knows_its_shape(script, monkeypatch):
    """Rejects a rival that torch.compile makes for any shape, because it has seen others before, or not at all, because
    it has seen many."""
    seen = []
    compile_ = functools.partial(torch.compile, backend=lambda graph, inputs: seen.append(inputs) or graph.forward)
    with torch._dynamo.config.patch(recompile_limit=8):  # which the script raises
        rivals = script('kernels_batch_norm')
        monkeypatch.setattr(torch, 'compile', compile_)
        torch._dynamo.reset()
        cases = [(shape, name) for shape in rivals.SHAPES for name in rivals.ACTIVATIONS]
        for number, ((channels, *size), activation) in enumerate(cases, 1):
            x, *rest = (torch.rand(shape) for shape in ((2, channels, size[1] // 5, 3), *[(channels,)] * 4))
            for _ in range(2):
                rivals._theirs(activation, True)(x, *rest)
            assert len(seen) == number
            assert all(isinstance(each, torch.Tensor) for each in seen[-1]), 'sizes are arguments'


def test_layers_of_the_roofline(script):
    """Rejects a layer that is left out or counted twice, products inside squeeze-and-excitation taken for layers, and
    BatchNorm that reads its input once. By hand: the published multiply-adds less the head's and the SE units' own."""
    roofline = script('roofline')
    mmnas_video.register()
    layers = roofline.x3d_layers()
    head, squeezed = 432 * 2048 + 2048 * 400, 2 * (2 * 54 * 8 + 3 * 108 * 8 + 6 * 216 * 16 + 4 * 432 * 32)
    macs = sum(number * layer.macs(1) for layer, number in layers.items() if layer.kind != 'BatchNorm')
    assert macs == 1_962_892_112 - head - squeezed
    assert sum(n for layer, n in layers.items() if layer.kind == 'depthwise') == 3 + 5 + 11 + 7 + 1
    norm = next(layer for layer in layers if layer.kind == 'BatchNorm' and layer.x == (54, 13, 40, 40))
    assert norm.bytes(32, 2) == (3 * 32 * 54 * 13 * 40 * 40 + 54) * 2
    deep = next(layer for layer in layers if layer.kind == 'depthwise' and layer.x[0] == 432 and layer.stride == 1)
    assert roofline.H200.bound(deep, 32, 2) == pytest.approx(4.28e-6, rel=1e-2)


def test_both_networks_learn_the_same(script):
    """Rejects weights that are not the other's, batches or dropout that differ, and a network that is not trained."""
    train_step = script('train_step')
    mmnas_video.register()
    init_default_scope('mmaction')
    torch.manual_seed(0)
    ours, theirs = train_step.build_pair(str(CONFIG))
    setting = train_step.Setting(torch.empty(2, 1, 3, 2, 32, 32), torch.empty(2), None)
    first, second = (train_step.losses(model, setting, 2, '') for model in (ours, theirs))
    assert first == pytest.approx(second, abs=1e-3) and first[0] != first[1]


@pytest.mark.parametrize(
    ('config', 'clip'), [('p3d/train_ucf101_example.py', '4x32'), ('vit/autoformer_tiny.py', '1x32')]
)
def test_a_step_of_any_network(config, clip, script, monkeypatch, tmp_path):
    """Rejects labels that a head of few classes has not, and a head as wide as the whole space on a network of one of
    its architectures: either would be a row with an error in the place of a time."""
    train_step, out = script('train_step'), tmp_path / 'step.json'
    chosen = ['--clip', clip, '--batch', '2', '--dtype', 'fp32', '--rounds', '1', '--inference', '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', ['train_step.py', str(CONFIG.parents[1] / config), *chosen])
    train_step.main()
    rows = [row for table in json.loads(out.read_text()) for row in table['rows']]
    assert len(rows) == 2 and all(row[0] == 'ours' and float(row[1]) > 0 for row in rows), rows


def test_the_transformer_has_the_others_multiply_adds(script):
    """Rejects an architecture of other multiply-adds than ViT-B's 17.56 G, and a closed form that is not what the timed
    network does."""
    vit_step = script('vit_step')
    arch, macs = vit_step.nearest(17_563_367_424)
    assert abs(macs / 17_563_367_424 - 1) < 0.02
    with torch.device('meta'):
        network = MODELS.build({**vit_step.SPACE, 'arch': dict(arch)})
    assert count(network, torch.empty(1, *vit_step.CLIP, device='meta'))[0].macs == macs


@pytest.mark.skipif(importlib.util.find_spec('timm') is not None, reason='timm is here')
def test_without_timm_it_says_so(script):
    """Rejects a traceback for a package that this library does not ask for."""
    with pytest.raises(ConfigError, match=r'^timm: found none .* pip install --no-deps timm$'):
        script('vit_step').TimmRecognizer(224)


def test_one_command_for_a_gpu(script, capsys):
    """Rejects a step whose script is not there, options that it does not know, batches of a CPU, a size
    or dtype that kernels are compiled for while it is timed, and 0 where nothing was measured."""
    gpu_all = script('gpu_all')
    assert gpu_all.main(['--list']) == 0
    assert capsys.readouterr().out.count('\n') == len((*gpu_all.CHECKS, *gpu_all.WARM, *gpu_all.TIMED))
    for step in (*gpu_all.WARM, *gpu_all.TIMED):
        text = Path(step.command[0]).read_text()
        options = [part for part in step.command[1:] if part.startswith('--')]
        assert all(f"'{option}'" in text for option in options), step
        assert 'add_json(parser)' in text
    commands = {step.name: step.command[1:] for step in gpu_all.TIMED}
    assert int(commands['sampled_vs_extracted'][commands['sampled_vs_extracted'].index('--batch') + 1]) >= 32
    # A kernel is compiled for a size and a dtype, which takes seconds; so all together more than a step may take.
    sizes = {
        steps: {(step.command[step.command.index('--dtype') + 1], '--clip' in step.command) for step in steps
                if step.command[0].endswith('/train_step.py')}
        for steps in (gpu_all.WARM, gpu_all.TIMED)
    }  # fmt: skip
    assert sizes[gpu_all.TIMED] <= sizes[gpu_all.WARM]
    if not torch.cuda.is_available():
        assert gpu_all.main([]) == 1
        assert 'No GPU here' in capsys.readouterr().out


def test_a_step_of_the_one_command(script, tmp_path, monkeypatch):
    """Rejects a step that loses the packages of PYTHONPATH, one that has no end, one of which something goes on when
    its time is over, and one that keeps to itself what it has said until then."""
    gpu_all = script('gpu_all')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'packages'))
    monkeypatch.delenv('PYTHONUNBUFFERED', raising=False)
    code = 'import os; print(os.environ["PYTHONPATH"].split(os.pathsep)); raise SystemExit(3)'
    step = gpu_all.Step('first', ('-c', code), 60, figures=False)
    ended = gpu_all.finish(step, gpu_all.start(step, tmp_path), time.monotonic() + 60)
    assert ended == 'exit code 3: see first.txt'
    assert (tmp_path / 'first.txt').read_text() == f'{[str(FOLDER.parents[1]), str(tmp_path / "packages")]}\n'

    code = 'import subprocess, time; print(subprocess.Popen(["sleep", "20"]).pid); time.sleep(20)'
    step = gpu_all.Step('second', ('-c', code), 60, figures=False)
    process = gpu_all.start(step, tmp_path)
    while not (said := (tmp_path / 'second.txt').read_text()):
        time.sleep(0.01)
    assert gpu_all.finish(step, process, time.monotonic()) == 'stopped: out of time'
    state = Path(f'/proc/{int(said)}/stat')
    for _ in range(500):  # a signal takes a moment
        if gone := not state.exists() or state.read_text().split()[2] == 'Z':
            break
        time.sleep(0.01)
    assert gone


def test_what_one_command_leaves(script, tmp_path, monkeypatch, capsys):
    """Rejects a part that fails or hangs and takes the others with it, results that are there only when all has ended,
    a table whose head is cut off, and figures of an earlier run."""
    gpu_all = script('gpu_all')

    def step(name, code, limit=60):
        return gpu_all.Step(name, ('-c', f'import sys, time; from pathlib import Path\n{code}'), limit)

    table = "print('noise'); print('## Title'); [print('| row', n, '|', 'x' * 40, '|') for n in range(300)]"
    figures = "Path(sys.argv[2]).write_text('[1]')"
    before = "print(Path(sys.argv[2]).with_name('results.md').read_text().count('| row'), 'rows')"
    monkeypatch.setattr(gpu_all, 'CHECKS', (step('tests', 'raise SystemExit(3)'),))
    monkeypatch.setattr(gpu_all, 'WARM', ())
    monkeypatch.setattr(
        gpu_all,
        'TIMED',
        (
            step('table', f'{table}\n{figures}'),
            step('broken', "print('row 1'); raise ValueError('of this')"),
            step('slow', "print('row 2', flush=True); time.sleep(60)", 6),
            step('last', before),
        ),
    )
    monkeypatch.setattr(gpu_all.torch.cuda, 'is_available', lambda: True)
    for name in ('slow.json', 'results.json'):
        (tmp_path / name).write_text('["old"]')
    (tmp_path / 'results.md').write_text('old')
    assert gpu_all.main(['--folder', str(tmp_path)]) == 1
    said, printed = (tmp_path / 'results.md').read_text(), capsys.readouterr().out
    parts = said.split('\n# ')
    assert [part.partition(',')[0].partition('\n')[0] for part in parts] == [
        '', 'tests: exit code 3: see tests.txt', 'table: done', 'broken: exit code 1: see broken.txt',
        'slow: stopped: out of time', 'last: done',
    ]  # fmt: skip
    assert '## Title\n| row 0 |' in parts[2] and '| row 299 |' in parts[2] and 'noise' not in parts[2]
    assert 'row 1' in parts[3] and 'ValueError: of this' in parts[3] and 'row 2' in parts[4]
    assert parts[5].split('\n')[2] == '300 rows' and all(part.strip() in printed for part in parts)
    assert json.loads((tmp_path / 'results.json').read_text()) == {'table': [1]}


def test_a_kernel_that_fails_is_a_row(benchmark, monkeypatch, capsys, tmp_path):
    """Rejects a table that is lost with one of its kernels."""
    out = tmp_path / 'kernels.json'

    def measure(case, dtype, rounds):
        if 'weight' in case.name:
            raise RuntimeError('an illegal memory access\nwas encountered')
        return 2e-5, 3e-5

    monkeypatch.setattr(benchmark, 'measure', measure)
    monkeypatch.setattr(benchmark.torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(benchmark, 'show', lambda title, header, rows, out: out_rows.extend(rows))
    out_rows = []
    monkeypatch.setattr(sys, 'argv', ['kernels.py', '--only', 'depthwise 54x13x40*', '--out', str(out)])
    benchmark.main()
    assert [row[5] for row in out_rows] == ['20.0', '20.0', 'RuntimeError: an illegal memory access']
    assert {len(row) for row in out_rows} == {9}


def test_shares_of_kernels_are_all_of_them(script, monkeypatch):
    """Rejects a kernel that no share compiles before it is timed, and one that two do."""
    pytest.importorskip('triton', reason='needs triton, which torch brings along on Linux')
    sampled = script('sampled_vs_extracted')
    launched = []
    for module in (sampled.batch_norm_launch, sampled.depthwise_launch):
        monkeypatch.setattr(
            module, 'launch', lambda kernel, grid, *args, **options: launched.append((kernel, str(options)))
        )
    x = torch.empty(2, 7, 3, 11, 13)
    parts = []
    for share in range(3):
        launched.clear()
        with sampled.only_share(share, 3):
            for kernel in ((1, 3, 3), (3, 3, 3), (5, 5, 5), (5, 3, 3)):
                sampled.depthwise_launch.convolve(x, torch.empty(11, 1, 5, 5, 5), 2, kernel, 1)
                sampled.depthwise_launch.weight_gradient(x, x, torch.empty(11, 1, 5, 5, 5), 2, kernel, 1)
            sampled.batch_norm_launch.statistics(x, None, None, 0, 0.1, True)
        parts.append(set(launched))
    assert all(parts) and not set.intersection(*parts)
    assert len(set.union(*parts)) == sum(map(len, parts)) == 4 * 4 + 3
