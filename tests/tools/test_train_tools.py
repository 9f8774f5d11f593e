"""The other tools as a user meets them: cost, train, resume, dry runs, the demo, help, and their errors."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmnas_video.building import building
from mmnas_video.cost import total_cost
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.only_run import only_run
from mmnas_video.registry import MODELS
from mmnas_video.visualization.comparison import summary_rows
from tests.tools.conftest import ENV, ROOT, SEARCH
from tools import demo
from tools.extract import arguments, check_arguments

SEARCH_CONFIG, RETRAIN_CONFIG = 'configs/demo/autox3d.py', 'configs/demo/autox3d_retrain.py'
TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.py') if 'benchmarks' not in path.parts)
X3D_S = {'macs': 1962892112, 'params': 3794322, 'shape': [3, 13, 160, 160]}


# ---------------------------------------------------------------------------- help
@pytest.mark.parametrize('name', TOOLS)
def test_help_explains_every_argument(name, tool):
    """Rejects a tool without a description or an example, and an argument of which only the name is shown."""
    text = tool(name, '--help').ok().out
    first = (ROOT / name).read_text().split('"""')[1].strip().splitlines()[0]
    assert re.sub(r'\s+', ' ', first) in re.sub(r'\s+', ' ', text)
    assert f'python {name}' in text or 'make demo' in text, f'{name}: no example'
    assert max(map(len, text.splitlines())) <= 120, f'{name}: lines of its text have become one'
    entries = re.split(r'\n(?=  \S)', text[re.search(r'^(positional arguments|options):', text, re.M).start() :])[1:]
    assert entries
    for entry in entries:  # "  --name VALUE  what it is", or what it is on the next line
        explained = re.search(r'\S {2,}\S', entry.strip('\n')) or re.search(r'\n {8,}\S', entry)
        assert explained, f'{name}: no help for {entry.strip()!r}'


def test_every_option_of_a_benchmark_is_explained():
    """Rejects an option that ``--help`` shows by its name only."""
    files = sorted((ROOT / 'tools/benchmarks').glob('*.py'))
    calls = [(file.name, node) for file in files for node in ast.walk(ast.parse(file.read_text()))]
    options = [
        (name, node)
        for name, node in calls
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == 'add_argument'
    ]
    assert len(options) > 60
    bare = [(name, ast.unparse(node)) for name, node in options if 'help' not in {word.arg for word in node.keywords}]
    assert not bare


# ---------------------------------------------------------------------------- cost
def test_cost_of_x3d_s_is_the_published_one(process):
    """Rejects any change of the cost model: the figures of X3D-S at 13 x 160², as JSON and nothing else."""
    found = json.loads(process('tools/cost.py', 'configs/autox3d/x3d_s.py', '--json').ok().out)
    assert {key: found[key] for key in X3D_S} == X3D_S and found['space']['size'] == 1


def test_the_shape_asked_for_wins(tool):
    """Rejects a --shape that is ignored (the config has a cost_shape), or a part of it (T and H x W both
    change)."""
    asked = tool('tools/cost.py', 'configs/autox3d/x3d_s.py', '--json', '--shape', 3, 16, 224, 224).ok()
    found = json.loads(asked.out)
    assert (found['macs'], found['shape']) == (4732468736, [3, 16, 224, 224])  # X3D-M
    assert found['params'] == X3D_S['params']
    text = tool('tools/cost.py', 'configs/autox3d/x3d_s.py').ok().out
    assert '3,794,322' in text and '1,962,892,112' in text and '3 x 13 x 160 x 160' in text


def test_a_supernet_shows_its_size_and_range(tool, tmp_path):
    """Rejects a size that went through a float, the largest architecture's cost in place of the range, and an
    end whose architecture costs something else.
    """
    found = json.loads(tool('tools/cost.py', 'configs/autox3d/s_k200.py', '--json').ok().out)
    # Table 2: 11 groups of 6 kernels, 7 expansions, 2 attentions; 5, 6, 8 and 8 widths in stages of 2, 2, 4
    # and 3 groups.
    assert found['space']['size'] == (6 * 7 * 2) ** 11 * 5**2 * 6**2 * 8**4 * 8**3
    found = json.loads(tool('tools/cost.py', SEARCH_CONFIG, '--json').ok().out)
    text = tool('tools/cost.py', SEARCH_CONFIG).ok().out
    assert f'{found["space"]["size"]:.4g} architectures' in text
    assert 'macs' not in found and found['cheapest']['macs'] < found['dearest']['macs']
    for end in ('cheapest', 'dearest'):
        assert f'{found[end]["macs"]:,} MACs, {found[end]["params"]:,} params' in text
    space = {key: found['space'][key] for key in ('name', 'hash')}
    file, end = tmp_path / 'dearest.json', found['dearest']
    file.write_text(json.dumps({'format': 'mmnas-video/arch@1', 'space': space, 'arch': end['arch']}))
    one = json.loads(tool('tools/cost.py', SEARCH_CONFIG, '--arch', file, '--json').ok().out)
    assert (one['macs'], one['params']) == (end['macs'], end['params'])


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['configs/nothing.py'], [f"config: found no file 'configs/nothing.py' in the folder {ROOT}, expected"]),
        ([SEARCH_CONFIG, '--arch', 'nothing.json'], ['nothing.json']),
        (
            [SEARCH_CONFIG, '--arch', 'configs/autox3d/archs/x3d.json'],
            ["'autox3d'", "'autox3d-demo'", '--arch'],
        ),
        ([SEARCH_CONFIG, '--arch', 'README.md'], ['README.md', 'expected an arch file']),
        ([SEARCH_CONFIG, '--shape', 1, 8, 32, 32], ['cost_shape: found (1, 8, 32, 32)']),
        ([SEARCH_CONFIG, '--cfg-options', 'model.backbone.sharing=fare'], ['fare', 'fair']),
        ([SEARCH_CONFIG, '--cfg-options', 'cost_shape=None'], ['--shape: found none']),
    ],
    ids=['config', 'no arch', 'other space', 'no arch file', 'channels', 'option', 'no shape'],
)
def test_what_cost_cannot_use(args, words, tool):
    """Rejects tracebacks, and a cost of an architecture that is not of the space."""
    tool('tools/cost.py', *args).refused(*words)


# ---------------------------------------------------------------------------- train
def weights(work_dir: Path, epoch: int) -> dict:
    """State of the network after an epoch."""
    return torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=True)['state_dict']


def kill_after(args: list, file: Path) -> None:
    """Start a process and SIGKILL it and its workers as soon as ``file`` is there."""
    child = subprocess.Popen(
        [sys.executable, *map(str, args)],
        cwd=ROOT,
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.time() + 120
        while not file.exists() and child.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        assert child.poll() is None, 'the training ended before it could be killed'
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_a_killed_training_resumes_and_a_finished_one_stays(tool, tiny, tmp_path):
    """Rejects a resume that starts anew, repeats or skips an epoch, or draws other frames and dropout
    masks; and a resume of a finished training that trains on or touches its checkpoint. Two epochs, killed
    in the second of them."""
    options = ['--cfg-options', *tiny(epochs=2)]
    tool('tools/train.py', RETRAIN_CONFIG, '--work-dir', tmp_path / 'whole', *options).ok()
    killed = ['tools/train.py', RETRAIN_CONFIG, '--work-dir', tmp_path / 'killed', *options]
    # last_checkpoint is written after the checkpoint: then the second epoch has begun.
    kill_after(killed, tmp_path / 'killed/last_checkpoint')
    assert not (tmp_path / 'killed/epoch_2.pth').exists()
    first = (tmp_path / 'killed/epoch_1.pth').stat().st_mtime_ns
    tool(*killed[:4], '--resume', *options).ok()
    assert (tmp_path / 'killed/epoch_1.pth').stat().st_mtime_ns == first
    one, two = weights(tmp_path / 'whole', 2), weights(tmp_path / 'killed', 2)
    assert all(torch.equal(one[name], two[name]) for name in one)
    before = (tmp_path / 'killed/epoch_2.pth').stat().st_mtime_ns
    tool(*killed[:4], '--resume', tmp_path / 'killed/epoch_2.pth', *options).ok()
    assert (tmp_path / 'killed/epoch_2.pth').stat().st_mtime_ns == before


@pytest.mark.parametrize('name', ['train', 'search'])
def test_a_work_dir_that_cannot_be_written(name, tool, tmp_path):
    """Rejects an error after the data has been read, or none before the first checkpoint."""
    (tmp_path / 'file').touch()
    for work_dir in (tmp_path / 'file', tmp_path / 'file/below'):
        config = {'train': RETRAIN_CONFIG, 'search': SEARCH_CONFIG}[name]
        tool(f'tools/{name}.py', config, '--work-dir', work_dir).refused(
            f"work_dir: cannot write to '{work_dir}'", '--work-dir'
        )


@pytest.mark.parametrize('loader', ['train', 'val'])
def test_missing_data_names_path_key_and_what_to_do(loader, tool, tiny, tmp_path):
    """Rejects the host's traceback out of a worker."""
    options = [*tiny(), f'{loader}_dataloader.dataset.dataset.data_root=/nowhere/']
    tool('tools/train.py', RETRAIN_CONFIG, '--work-dir', tmp_path, '--cfg-options', *options).refused(
        f"'/nowhere/{loader}.txt'",
        f'{loader}_dataloader.dataset.dataset.ann_file',
        'make_demo.py',
        'docs/data.md',
    )


@pytest.mark.parametrize(
    ('words', 'key'),
    [
        (('configs/autox3d/x3d_s.py', '--dry-run'), 'train_dataloader.dataset.dataset'),
        (('configs/vimnas/base_joint.py',), 'train_dataloader.dataset.datasets.in1k'),
    ],
)
def test_a_published_config_without_its_data(words, key, tool, tmp_path):
    """As above for Kinetics in a dry run, and for a joint search, whose first set is named."""
    tool('tools/train.py', *words, '--work-dir', tmp_path).refused(key, 'docs/data.md')


def test_auto_scale_lr_without_a_base(tool, tmp_path):
    """Rejects MMEngine's traceback about a key of a dict."""
    tool('tools/train.py', RETRAIN_CONFIG, '--work-dir', tmp_path, '--auto-scale-lr').refused(
        'auto_scale_lr', 'base_batch_size'
    )


# ---------------------------------------------------------------------------- dry runs
def plans(text: str) -> dict[str, tuple[int, int, float, float]]:
    """Phase to (epochs, steps per epoch, seconds per step, hours) as a dry run prints them."""
    pattern = r'^full (\w+): ([\d,]+) epochs of ([\d,]+) steps, (\S+) s a step on this machine: (\S+) (hours|minutes)$'
    return {
        name: (
            int(epochs.replace(',', '')),
            int(steps.replace(',', '')),
            float(seconds),
            float(time) / (60 if unit == 'minutes' else 1),
        )
        for name, epochs, steps, seconds, time, unit in re.findall(pattern, text, re.M)
    }


def outside_dry_run(work_dir: Path) -> list[Path]:
    """Files that are not under a ``dry_run`` folder."""
    return [path for path in work_dir.rglob('*') if path.is_file() and 'dry_run' not in path.parts]


def test_dry_run_of_the_demos_search(tool, tiny, tmp_path):
    """Rejects the cost of the two steps for the cost of the run; phases left out (extraction, retraining,
    test), which would fail after days; and anything left in the real work dir. 24 clips of which a quarter
    is held out, 4 a batch."""
    options = [word for word in (*tiny(), *tiny('retrain.cfg_options.')) if 'max_epochs' not in word]
    done = tool(
        'tools/search.py',
        SEARCH_CONFIG,
        '--work-dir',
        tmp_path,
        '--dry-run',
        '--cfg-options',
        *options,
        *SEARCH,
        'train_cfg.max_epochs=17',
        'retrain.cfg_options.train_cfg.max_epochs=7',
    ).ok()
    found = plans(done.out)
    held_out = 4 * 2  # a quarter of 6 clips, per class, rounded
    assert {name: plan[:2] for name, plan in found.items()} == {
        'search': (17, (24 - held_out) // 4),
        'retrain': (7, 6),
    }
    for epochs, steps, seconds, hours in found.values():
        assert hours == pytest.approx(epochs * steps * seconds / 3600, rel=1e-2)
    assert outside_dry_run(tmp_path) == []
    for left in ('dry_run/search/arch.json', 'dry_run/search/extracted.pth', 'retrain/dry_run/epoch_1.pth'):
        assert (tmp_path / left).is_file(), left
    assert done.out.count('Epoch(test)') == 2


def test_dry_run_of_a_training_that_would_resume(tool, tiny, tmp_path):
    """Rejects a dry run that goes on from the real checkpoint (its epoch is past the only one: no step to
    time), and one that touches it. 12 clips in the test list are fewer than a batch."""
    arguments = ['tools/train.py', RETRAIN_CONFIG, '--work-dir', tmp_path, '--cfg-options', *tiny()]
    # On the way: with --verbose MMEngine's whole log is on the screen.
    whole = tool(*arguments[:4], '--verbose', *arguments[4:]).ok().out
    assert all(words in whole for words in ('System environment:', 'Hooks will be executed', 'paramwise_options'))
    before = {path: path.stat().st_mtime_ns for path in outside_dry_run(tmp_path)}
    done = tool(*arguments, '--resume', '--dry-run').ok()
    assert plans(done.out)['training'][:2] == (1, 6)
    assert {path: path.stat().st_mtime_ns for path in outside_dry_run(tmp_path)} == before


def test_a_batch_larger_than_the_data(tool, tiny, tmp_path):
    """Rejects a traceback out of the timer: an epoch of no step."""
    options = [*tiny(), 'train_dataloader.batch_size=29']
    tool('tools/train.py', RETRAIN_CONFIG, '--work-dir', tmp_path, '--dry-run', '--cfg-options', *options).refused(
        'batch_size: found 29 for 24 clips'
    )


# ---------------------------------------------------------------------------- test and extract
@pytest.mark.parametrize('options', [['test_evaluator.foo=1'], ['test_dataloader.batch_size=0'], ['model=None']])
def test_a_test_that_cannot_be_built_is_one_error(tool, tiny, tmp_path, options):
    """Rejects a traceback for a mistake in a part of the config that only the test has."""
    cfg = load_config(str(ROOT / RETRAIN_CONFIG), {'model.cls_head.num_classes': 4})
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, tmp_path / 'w.pth')
    command = ('tools/test.py', RETRAIN_CONFIG, tmp_path / 'w.pth', '--work-dir', tmp_path)
    tool(*command, '--cfg-options', *tiny(), *options).refused(
        'MMNAS_VIDEO_TRACEBACK' if 'foo' not in options[0] else 'foo'
    )


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--calibration-clips', '-3'], '--calibration-clips: found -3'),
        (['--shape', '3', '8', '0', '32'], '--shape: found 0'),
        (['--onnx', '{}/file/x.onnx'], '--onnx: cannot write'),
        (['--export', '{}'], '--export: found the folder'),
        (['--out', '{}/file/x'], '--out: cannot write'),
    ],
)
def test_what_extract_cannot_do_is_said_before_it_begins(monkeypatch, tmp_path, words, message):
    """Rejects a traceback, and an error that comes when the network is cut out and its statistics are counted."""
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(sys, 'argv', ['extract.py', 'c.py', 'w.pth', *(word.format(tmp_path) for word in words)])
    with pytest.raises(ConfigError, match=message):
        check_arguments(arguments(), (3, 8, 32, 32))


def test_errors_after_a_tested_batch_are_not_of_the_config():
    """Rejects a card that is out of memory in the middle of a test told as a mistake in the config."""
    with pytest.raises(MemoryError), building({}) as first_step:
        first_step.after_test_iter(None, 0)
        raise MemoryError


# ---------------------------------------------------------------------------- the demo
@pytest.mark.parametrize(('number', 'drawn'), [('0', 0), ('3', 3), (None, 5), ('-1', None)])
def test_the_number_of_alternatives(monkeypatch, tmp_path, number, drawn):
    """Rejects the default for 0, and a number below it."""
    words = ['--random', number] if number else []
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--work-dir', str(tmp_path), *words])
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: None)
    if drawn is None:
        with pytest.raises(ConfigError, match='--random: found -1'):
            demo.arguments('', 'demo', 'networks')
    else:
        assert demo.arguments('', 'demo', 'networks').random == drawn


def test_alternatives_cost_as_much_as_what_was_found():
    """All of the network, its head too. Rejects cheaper ones, the same for every seed, and one too many: for none every
    architecture that is admitted, until the draws are at an end."""
    model, shape = MODELS.build(load_config(str(ROOT / SEARCH_CONFIG)).model), (3, 8, 32, 32)
    assert demo.same_cost_archs(model, shape, 2_000_000, 0, 0) == []
    found = [demo.same_cost_archs(model, shape, 2_000_000, 3, seed) for seed in (3, 3, 5)]
    costs = [total_cost(model, None, arch, shape).macs for archs in found for arch in archs]
    assert len(costs) == 9 and all(abs(macs / 2_000_000 - 1) <= 0.03 for macs in costs)
    assert found[0] == found[1] and not {*found[0]} & {*found[2]} and len({*found[0]}) == 3


@pytest.mark.parametrize('top1', [(0.3, 0.1, 0.7, 0.2, 0.5), (0.3, 0.1, 0.7, 0.2)])
def test_the_median_that_is_printed_is_that_of_the_report(top1):
    """Rejects the mean of the two in the middle, which no network has, beside the size of one of them; and a share."""
    rows = [{'name': 'searched', 'params': 7_001, 'macs': 7e6, 'top1': 0.9}]
    rows += [{'name': f'random {i}', 'params': 1000 + i, 'macs': 1e6 * i, 'top1': one} for i, one in enumerate(top1, 1)]
    shown = [line.split()[-3:] for line in demo.table(rows).splitlines()[1:]]
    figures = [(f'{row.params:,}', f'{row.macs / 1e6:.2f}', f'{100 * row.top1:.1f}') for row in summary_rows(rows)]
    assert [tuple(words) for words in shown] == figures


@pytest.mark.slow
def test_the_demo(process, tmp_path):
    """Rejects alternatives at another cost than the searched network's, a table that hides one of them, a
    median or best that is not that of the random ones, and a report without the figures."""
    work_dir = tmp_path / 'w'
    done = process('tools/demo.py', '--smoke', '--work-dir', work_dir, '--data', tmp_path / 'd', '--random', 3).ok()
    rows = json.loads((work_dir / 'search/table.json').read_text())['rows']
    assert [row['name'] for row in rows] == [
        'searched',
        'uniform (X3D-like)',
        'random 1',
        'random 2',
        'random 3',
    ]
    assert all(abs(row['macs'] / rows[0]['macs'] - 1) <= 0.03 for row in rows)
    assert len({json.dumps(row['arch'], sort_keys=True) for row in rows}) == 5
    shown = dict(
        re.findall(r'^(searched|uniform \(X3D-like\)|median of 3 random|best of 3 random) +(.*\S)$', done.out, re.M)
    )
    scores = sorted(row['top1'] for row in rows[2:])
    expected = dict(zip(shown, (rows[0]['top1'], rows[1]['top1'], scores[1], scores[2]), strict=True))
    assert len(shown) == 4
    for name, top1 in expected.items():
        assert shown[name].split()[-1] == f'{100 * top1:.1f}', name
    assert f'{rows[0]["params"]:,}' in shown['searched'] and f'{rows[0]["macs"] / 1e6:.2f}' in shown['searched']
    report = Path(re.search(r'^report: (.+)$', done.out, re.M)[1])
    assert report == work_dir / 'search/report.html'
    text = report.read_text()
    assert 'uniform (X3D-like)' in text and 'searched' in text and '<svg' in text
    assert all(phase in done.out for phase in ('data ', 'search ', 'training ', 'report '))


@pytest.mark.parametrize(('name', 'config'), [('search', SEARCH_CONFIG), ('train', RETRAIN_CONFIG)])
def test_a_second_run_in_a_work_dir_is_refused(name, config, tool, tiny, tmp_path):
    """Rejects a second search that moves the results of the one that is running aside, which then end nowhere."""
    (tmp_path / 'search').mkdir()
    (tmp_path / 'search/history.jsonl').write_text('{}\n')
    with only_run(Config(dict(work_dir=str(tmp_path)))):
        tool(f'tools/{name}.py', config, '--work-dir', tmp_path, '--cfg-options', *tiny()).refused(
            f"work_dir: found another run in '{tmp_path}' (process {os.getpid()} on ", '--work-dir'
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.running', 'search']
