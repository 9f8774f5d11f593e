"""From a search to a network of its own, as a user does it: command after command, on real mp4 files."""

import importlib.util
import json
import os
import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video.entangle import find_searchable, norm_layers
from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS
from mmnas_video.space import Choice, SearchSpace, arch_to_json
from tests.tools.conftest import LOADERS, SEARCH

SEARCH_CONFIG, RETRAIN_CONFIG = 'configs/demo/autox3d.py', 'configs/demo/autox3d_retrain.py'
HOST_TOOLS = Path(importlib.util.find_spec('mmaction').origin).parent / '.mim' / 'tools'
OTHER_SPACE = 'configs/autox3d/archs/x3d.json'


@pytest.fixture(scope='module')
def searched(process, tiny, tmp_path_factory):
    """Work dir and output of a whole search with its retraining, one epoch each."""
    folder = tmp_path_factory.mktemp('searched')
    done = process(
        'tools/search.py',
        SEARCH_CONFIG,
        '--work-dir',
        folder,
        '--cfg-options',
        *tiny(),
        *SEARCH,
        *tiny('retrain.cfg_options.'),
    ).ok()
    return folder, done


@pytest.fixture(scope='module')
def supernet(searched, tiny):
    """The searched supernet and a checkpoint of it in which no norm has its default weights, as (model,
    file)."""
    folder, _ = searched
    cfg = load_config(SEARCH_CONFIG, {'model.cls_head.num_classes': 4})
    model = MODELS.build(cfg.model)
    data = torch.load(folder / 'epoch_1.pth', weights_only=True)
    model.load_state_dict(data['state_dict'])
    generator = torch.Generator().manual_seed(0)
    for norm in norm_layers(model):
        for tensor in (norm.weight, norm.running_var):
            tensor.data.uniform_(0.5, 1.5, generator=generator)
        for tensor in (norm.bias, norm.running_mean):
            tensor.data.normal_(0, 0.3, generator=generator)
    for module in model.modules():
        if type(module).__name__ == 'SuperGloRe':  # of third degree in its input
            module.extend_norm.weight.data.mul_(0.03)
    file = folder / 'randomised.pth'
    torch.save({**data, 'state_dict': model.state_dict()}, file)
    return model.eval(), file


def built(config: Path):
    """The network of an extracted config with the weights beside it."""
    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(config).model)
    weights = torch.load(config.with_suffix('.pth'), weights_only=True)['state_dict']
    model.load_state_dict(weights, strict=True)
    return model.eval()


def logits(model, seed: int = 0):
    """Scores of two random clips."""
    clips = torch.randn(2, 1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(clips, mode='tensor', stage='head')


def data_options(videos: Path) -> list[str]:
    """The data's place alone."""
    return [f'{loader}.dataset.dataset.data_root={videos}/' for loader in LOADERS]


def test_the_screen_of_a_search(searched):
    """Rejects MMEngine's dumps of environment, config, hooks and options of the optimiser on the screen, a log file
    without them, a beginning that hides what is run, at which budget, for how long and where, colour in a pipe, and
    progress without the time that is left."""
    folder, done = searched
    dumps = ('System environment:', 'Config:', 'Hooks will be executed', 'paramwise_options', 'FileClient')
    log = next(folder.glob('2*/2*.log')).read_text()
    assert not [words for words in dumps if words in done.out + done.err]
    assert not [words for words in dumps if words not in log]
    assert '\x1b' not in done.out + done.err
    lines = done.out.splitlines()
    first = next(i for i, line in enumerate(lines) if 'Epoch(train)' in line)
    assert first <= 14 and 'eta: ' in lines[first], lines[: first + 1]
    opening = '\n'.join(lines[:first])
    for words in (SEARCH_CONFIG, 'SuperMBConv3D', 'budget', '1 epochs of 4 steps', str(folder), '--verbose', 'retrain'):
        assert words in opening, words
    assert all(line in log for line in lines[2:first])


def test_a_search_leaves_what_it_says(searched):
    """Rejects a search that ends without an arch of its space (or one under a stale cost), extraction of
    another one, a retraining that trains another network than the one found, and paths in the output that
    are not there."""
    folder, done = searched
    said = dict(
        line.split(': ', 1)
        for line in done.out.splitlines()
        if line.split(': ')[0] in ('arch', 'config', 'weights', 'retrained', 'metrics')
    )
    assert all(Path(said[what]).exists() for what in ('arch', 'config', 'weights', 'retrained'))
    found = json.loads(Path(said['arch']).read_text())
    space = json.loads((folder / 'search/space.json').read_text())
    assert found['space'] == {'name': space['name'], 'hash': space['hash']}
    assert all(found['arch'][choice['name']] in choice['values'] for choice in space['choices'])
    assert found['search']['final'] and found['cost']['shape'] == [3, 8, 32, 32]
    for config in (folder / 'search/extracted.py', next((folder / 'retrain').glob('*.py'))):
        arch = Config.fromfile(config).model.backbone.arch
        arch = found['arch'] if arch == said['arch'] else arch  # the retraining names the file
        assert dict(arch) == found['arch']
    weights = built(folder / 'search/extracted.py')
    assert sum(p.numel() for p in weights.parameters()) == found['cost']['params']
    retrained = torch.load(folder / 'retrain/epoch_1.pth', weights_only=True)['state_dict']
    assert {k: v.shape for k, v in retrained.items()} == {k: v.shape for k, v in weights.state_dict().items()}
    top1 = json.loads((folder / 'retrain/tested.json').read_text())['acc/top1']
    assert 0 <= top1 <= 1 and f"'acc/top1': {top1}" in said['metrics']
    report = (folder / 'search/report.html').read_text()  # written again after the test, of which it tells
    assert f'the network that was found reaches {100 * top1:.1f} % top-1.' in report
    assert {json.loads(line)['kind'] for line in (folder / 'search/history.jsonl').read_text().splitlines()} == {
        'step',
        'epoch',
    }


def accuracy(config: Path, videos: Path) -> float:
    """Top-1 on the test list, by a plain loop."""
    model, cfg = built(config), Config.fromfile(config)
    loader = cfg.test_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.dataset.data_root = f'{videos}/'
    right, count = 0, 0
    for batch in Runner.build_dataloader(loader):
        with torch.no_grad():
            samples = model(**model.data_preprocessor(batch, False), mode='predict')
        right += sum(int(s.pred_score.argmax()) == int(s.gt_label) for s in samples)
        count += len(samples)
    assert count == 12
    return right / count


def test_our_test_tool_and_the_hosts_give_the_networks_accuracy(searched, tool, process, videos, tmp_path):
    """Rejects a test of random weights (a checkpoint that is not loaded, or only in part), and an
    extracted config that only our tools can run: a plain loop over the test list, ours and MMAction2's
    stock tool agree."""
    folder, _ = searched
    config, weights = folder / 'search/extracted.py', folder / 'search/extracted.pth'
    expected = accuracy(config, videos)
    ours = tool('tools/test.py', config, weights, '--work-dir', tmp_path / 'ours').ok()
    assert json.loads((tmp_path / 'ours/test.json').read_text())['acc/top1'] == pytest.approx(expected, abs=1e-6)
    assert f'"acc/top1": {expected:.4f}'[:16] in ours.out
    assert stock_top1(process, config, weights, tmp_path / 'stock') == pytest.approx(expected, abs=1e-4)


def test_testing_a_search_leaves_its_files_alone(searched, tool, tiny):
    """Rejects a test that sets the search up anew (the hook moved ``search/`` aside, and wrote an empty one), and
    figures of the largest architecture under the name of the search: ours refuses, MMAction2's own tool warns."""
    folder, _ = searched
    before = (folder / 'search/arch.json').read_bytes()
    words = (SEARCH_CONFIG, folder / 'epoch_1.pth', '--work-dir', folder, '--cfg-options', *tiny(), *SEARCH)
    tool('tools/test.py', *words).refused('model.backbone: found a search with', 'open choices', 'tools/extract.py')
    done = tool(HOST_TOOLS / 'test.py', *words).ok()
    assert 'found a validation or test without a search' in done.out + done.err
    assert (folder / 'search/arch.json').read_bytes() == before and not (folder / 'search-1').exists()


def test_searching_with_the_config_of_a_training(tool):
    """Rejects a refusal that does not say what such a config is for."""
    tool('tools/search.py', RETRAIN_CONFIG).refused('custom_hooks: found 0 search hooks', 'tools/train.py CONFIG')


@pytest.mark.parametrize(
    ('name', 'loader', 'key'),
    [
        ('search', 'test', ''),
        ('search', 'test', 'retrain.cfg_options.'),
        ('search', 'train', 'custom_hooks.0.arch_dataloader.dataset'),
        ('train', 'val', ''),
        ('test', 'test', ''),
    ],
)
def test_a_label_without_a_class_is_said_before_the_first_step(
    name, loader, key, request, tool, tiny, videos, tmp_path
):
    """Rejects an IndexError in the middle of an epoch, a search that ends with a network scored on labels that it
    cannot give, and a retraining that fails after the search."""
    lines = (videos / f'{loader}.txt').read_text().splitlines()
    lines[2] = f'{lines[2].split(" ")[0]} 4'
    bad = tmp_path / 'bad.txt'
    bad.write_text('\n'.join(lines) + '\n')
    place = f'{loader}_dataloader.dataset.dataset'
    options = [f'{key}{place}.ann_file={bad}']
    if key.startswith('custom_hooks'):
        place = 'PARSECSearchHook.arch_dataloader.dataset.dataset'
        cfg = load_config(SEARCH_CONFIG, {'val_dataloader.dataset.dataset.data_root': f'{videos}/'})
        data = {**cfg.val_dataloader.dataset, 'dataset': {**cfg.val_dataloader.dataset.dataset, 'ann_file': str(bad)}}
        options = [f'{key}={data!r}']
    if name == 'search':
        options += [*SEARCH, *tiny('retrain.cfg_options.')]
    config = SEARCH_CONFIG if name == 'search' else RETRAIN_CONFIG
    files = [request.getfixturevalue('searched')[0] / 'retrain/epoch_1.pth'] if name == 'test' else []
    if name != 'search':
        options += [f'model.backbone.arch={request.getfixturevalue("searched")[0]}/search/arch.json']
    words = (
        f"{place}.ann_file: found the label 4 in line 3 ('{lines[2]}') of '{bad}'",
        'model.cls_head.num_classes is 4',
    )
    done = tool(f'tools/{name}.py', config, *files, '--work-dir', tmp_path / 'w', '--cfg-options', *tiny(), *options)
    done.refused(*words)
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize('which', ['found', 'random'])
def test_extracted_files_are_the_supernet(which, searched, supernet, tool, tmp_path):
    """Rejects windows that the files' network and the supernet see differently, weights saved before they
    were sliced, and norm statistics that change although no calibration was asked for. All norms are
    randomised: at their defaults most mistakes cannot be seen."""
    folder, _ = searched
    model, checkpoint = supernet
    space = find_searchable(model)[1].space
    arch = {
        'found': lambda: space.read(folder / 'search/arch.json'),
        'random': lambda: space.sample(random.Random(5)),
    }[which]()
    file = tmp_path / 'a.json'
    file.write_text(arch_to_json(arch, space.identity))
    done = tool(
        'tools/extract.py',
        SEARCH_CONFIG,
        checkpoint,
        '--arch',
        file,
        '--calibration-clips',
        0,
        '--out',
        tmp_path / 'out',
        '--cfg-options',
        'model.cls_head.num_classes=4',
    ).ok()
    names = ('extracted.py', 'inference.py', 'extracted.pth')
    assert done.out.split() == [str(tmp_path / 'out' / name) for name in names]
    pinned = built(tmp_path / 'out/extracted.py')
    with find_searchable(model)[1].use(arch):
        expected = logits(model)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(logits(pinned), expected, rtol=1e-5, atol=1e-5)


def test_extraction_calibrates_on_training_clips(searched, supernet, tool, tiny, tmp_path):
    """Rejects a calibration that is asked for (it is the default) and not done, or that moves weights too."""
    folder, _ = searched
    _, checkpoint = supernet
    states = []
    for clips in (0, 8):
        tool(
            'tools/extract.py',
            SEARCH_CONFIG,
            checkpoint,
            '--arch',
            folder / 'search/arch.json',
            '--calibration-clips',
            clips,
            '--out',
            tmp_path / str(clips),
            '--cfg-options',
            *tiny(),
        ).ok()
        states.append(torch.load(tmp_path / str(clips) / 'extracted.pth', weights_only=True)['state_dict'])
    moved = {name for name, value in states[0].items() if not torch.equal(value, states[1][name])}
    assert moved and all('running_' in name or 'tracked' in name for name in moved)
    assert all(name in moved for name in states[0] if 'running_mean' in name)


# ---------------------------------------------------------------------------- MMAction2's own tools
def stock_top1(process, config, weights, work_dir: Path, *options: str) -> float:
    """Top-1 as MMAction2's tools/test.py logs it."""
    more = ['--cfg-options', *options] if options else []
    process(HOST_TOOLS / 'test.py', config, weights, '--work-dir', work_dir, *more).ok()
    (log,) = work_dir.glob('*/*.json')
    return json.loads(log.read_text().splitlines()[-1])['acc/top1']


def test_stock_tools_train_and_test_our_config(searched, process, tiny, tmp_path):
    """Rejects a config that needs our launcher: MMAction2's own train.py and test.py, by path, in
    processes that know of this library by ``custom_imports`` alone."""
    folder, _ = searched
    options = [*tiny(), f'model.backbone.arch={folder / "search/arch.json"}']
    process(HOST_TOOLS / 'train.py', RETRAIN_CONFIG, '--work-dir', tmp_path / 't', '--cfg-options', *options).ok()
    top1 = stock_top1(process, RETRAIN_CONFIG, tmp_path / 't/epoch_1.pth', tmp_path / 'e', *options)
    assert 0 <= top1 <= 1
    # The same seed, data and step as our own retraining: the same weights, bit for bit.
    ours, theirs = (
        torch.load(path / 'epoch_1.pth', weights_only=True)['state_dict']
        for path in (folder / 'retrain', tmp_path / 't')
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_stock_train_runs_the_extracted_config(searched, tool, tmp_path):
    """Rejects an extracted config with parts of the search left in it, and one that does not start from
    its weights."""
    folder, _ = searched
    done = tool(HOST_TOOLS / 'train.py', folder / 'search/extracted.py', '--work-dir', tmp_path).ok()
    assert f'Load checkpoint from {folder / "search/extracted.pth"}' in done.out
    assert (tmp_path / 'epoch_1.pth').is_file() and not (tmp_path / 'search').exists()
    assert 'SearchHook' not in (folder / 'search/extracted.py').read_text()


# ---------------------------------------------------------------------------- what cannot be used
class RunsCode:
    """Unpickles by running a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


def other_space_checkpoint(folder: Path, file: Path) -> None:
    """The search's checkpoint under the name of another space (its network has the same parameters)."""
    data = torch.load(folder / 'epoch_1.pth', weights_only=True)
    data['search']['space'] = SearchSpace('elsewhere', [Choice('width', (2, 3))]).identity
    torch.save(data, file)


def other_network(folder: Path, file: Path) -> None:
    """Weights of which one has another shape: what MMEngine skips with a warning."""
    data = torch.load(folder / 'search/extracted.pth', weights_only=True)
    data['state_dict']['backbone.last.weight'] = torch.zeros(7, 5, 1, 1, 1)
    torch.save(data, file)


CHECKPOINTS = {
    'missing': (lambda folder, file: None, ['no such file']),
    'empty': (lambda folder, file: file.touch(), ['broken or not safe']),
    'truncated': (
        lambda folder, file: file.write_bytes((folder / 'epoch_1.pth').read_bytes()[:-5003]),
        ['broken'],
    ),
    'runs code': (
        lambda folder, file: torch.save({'state_dict': {}, 'x': RunsCode(file.with_suffix('.ran'))}, file),
        ['not safe', 'system'],
    ),
    'no weights': (lambda folder, file: torch.save([1, 2], file), ['found a list']),
    'other network': (other_network, ['another network', 'backbone.last.weight']),
}


@pytest.mark.parametrize(
    ('name', 'which'),
    [
        *(('test', which) for which in CHECKPOINTS),
        *(('extract', which) for which in ('truncated', 'runs code', 'other network')),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_clear_error(name, which, searched, tool, tmp_path):
    """Rejects a traceback, an accuracy of random weights, and above all a file that runs code when it is
    opened."""
    folder, _ = searched
    file = tmp_path / 'checkpoint.pth'
    make, words = CHECKPOINTS[which]
    make(folder, file)
    arguments = {
        'extract': [SEARCH_CONFIG, file, '--arch', folder / 'search/arch.json'],
        'test': [folder / 'search/extracted.py', file],
    }[name]
    words = ['weights of another network'] if (name, which) == ('extract', 'other network') else words
    place = ['--work-dir', tmp_path / 'w'] if name == 'test' else []
    line = tool(f'tools/{name}.py', *arguments, *place).refused(str(file), *words)
    assert 'weights_only' not in line  # torch's advice to read it unsafely
    assert not file.with_suffix('.ran').exists()


def test_a_checkpoint_of_another_space_is_refused(searched, tool, tmp_path):
    """Rejects slicing by the windows of another space, although every weight has the right shape."""
    folder, _ = searched
    other_space_checkpoint(folder, tmp_path / 'c.pth')
    tool(
        'tools/extract.py',
        SEARCH_CONFIG,
        tmp_path / 'c.pth',
        '--arch',
        folder / 'search/arch.json',
        '--cfg-options',
        'model.cls_head.num_classes=4',
    ).refused('elsewhere', 'autox3d-demo')


def test_an_arch_of_another_space_is_refused_by_every_tool(searched, tool, tiny, tmp_path):
    """Rejects an arch file that is taken for the values that happen to fit."""
    folder, _ = searched
    for args in (
        [
            'extract.py',
            SEARCH_CONFIG,
            folder / 'epoch_1.pth',
            '--arch',
            OTHER_SPACE,
            '--cfg-options',
            'model.cls_head.num_classes=4',
        ],
        [
            'train.py',
            RETRAIN_CONFIG,
            '--work-dir',
            tmp_path,
            '--cfg-options',
            *tiny(),
            f'model.backbone.arch={OTHER_SPACE}',
        ],
    ):
        tool(f'tools/{args[0]}', *args[1:]).refused(OTHER_SPACE, "'autox3d'", "'autox3d-demo'")


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['retrain.config=configs/nowhere.py'], ['configs/nowhere.py']),
        (
            ['retrain.cfg_options.test_dataloader.dataset.dataset.data_root=/nowhere/'],
            ['retrain.config', 'test_dataloader.dataset.dataset.ann_file', '/nowhere/test.txt'],
        ),
        (['custom_hooks.0.temperature=1'], ["unknown key 'temperature'"]),
    ],
    ids=['no retrain config', 'no retrain data', 'option'],
)
def test_a_search_that_cannot_end_well_does_not_start(options, words, tool, tiny, tmp_path):
    """Rejects an error after the search: a retraining that finds no data has cost the whole search."""
    line = tool(
        'tools/search.py',
        SEARCH_CONFIG,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *tiny(),
        *SEARCH,
        *tiny('retrain.cfg_options.'),
        *options,
    ).refused(*words)
    assert line and not list(tmp_path.rglob('*.pth'))
