"""The installed wheel in foreign projects: docs/reuse.md as it stands, and a demo with the tools in the wheel."""

import json
import zipfile

import pytest

from mmnas_video.datasets import DemoOptions, make_demo

from .conftest import ROOT

#: Few enough clips for two steps an epoch: 24 for training, a third of them held out by a search.
CLIPS = DemoOptions(motion_clips=(3, 1, 1), scene_clips=(3, 1, 1))
FOUND = """
import json, runpy, sys, torch
from pathlib import Path
from mmengine.config import Config
import small3d
from mmnas_video.entangle import find_searchable
from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS
from mmnas_video.search import extract_model

SEARCH = 'work_dirs/small3d/search/'


def read(file):
    return torch.load(file, weights_only=True, map_location='cpu')['state_dict']


def test_the_supernet_at_the_found_arch_is_the_extracted_network():
    cfg = load_config('configs/small3d_search.py')
    supernet = MODELS.build(cfg.model)
    supernet.load_state_dict(read('work_dirs/small3d/epoch_1.pth'))
    supernet.double().eval()
    arch = find_searchable(supernet)[1].space.read(SEARCH + 'arch.json', 'arch')
    pinned, _ = extract_model(cfg, supernet, arch)
    pinned.double().eval()
    clips = torch.randn(3, 1, 3, 8, 32, 32, dtype=torch.float64)
    with torch.no_grad(), supernet.backbone.use(arch):
        assert (supernet(clips, stage='head') - pinned(clips, stage='head')).abs().max() < 1e-10


def test_the_extracted_weights_are_those_of_a_plain_network():
    cfg = Config.fromfile(SEARCH + 'extracted.py')
    found = MODELS.build(cfg.model)
    weights = read(SEARCH + 'extracted.pth')
    found.load_state_dict(weights)
    values = json.loads(open(SEARCH + 'arch.json').read())['arch']
    plain = MODELS.build(dict(type='Small3D', widths=(values['width1'], values['width2'], 64)))
    own = {k.removeprefix('backbone.'): v for k, v in weights.items() if k.startswith('backbone.')}
    plain.load_state_dict(own)
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        expected, given = plain.eval()(clips), found.eval().backbone(clips)
    assert expected.abs().max() > 1e-2 and torch.allclose(given, expected, atol=1e-5)


def test_mmaction2s_own_inference_runs_it(monkeypatch):
    video = str(sorted(Path('data/demo/motion/videos').glob('*.mp4'))[0])
    monkeypatch.setattr(sys, 'argv', ['infer.py', video])
    found = runpy.run_path('infer.py')
    scores, (prediction,) = found['scores'].tolist(), found['predictions']
    assert len(scores) == 8 and abs(sum(scores) - 1) < 1e-5
    assert max(abs(a - b) for a, b in zip(scores, prediction['rec_scores'][0])) < 1e-5
"""


@pytest.fixture(scope='module')
def project(host):
    """The page's project, with data/demo."""
    make_demo(host.folder / 'data/demo', CLIPS, sets=('motion', 'scene'), report=lambda text: None)
    return host


@pytest.fixture(scope='module')
def places(page):
    """The page's words that say where configs and tools are."""
    (block,) = [text for text in page.commands if text.startswith('mim()')]
    return ''.join(line + '\n' for line in block.splitlines() if not line.startswith('python'))


@pytest.fixture(scope='module')
def short(page, places):
    """The page's command that has this word in it, for one epoch."""

    def command(word):
        (block,) = [text for text in page.commands if word in text]
        return f'{places}{block.rstrip()} --cfg-options train_cfg.max_epochs=1\n'

    return command


def test_the_wheel_holds_configs_and_tools(wheel):
    """Rejects a wheel that lacks one of the configs, tools or metafiles that git knows, or has more than these."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if '/.mim/' in name}
    expected = {
        f'mmnas_video/.mim/{path.relative_to(ROOT).as_posix()}'
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert inside == expected | {'mmnas_video/.mim/model-index.yml'}


def test_the_report_of_the_installed_package(host):
    """Rejects a test that imports the checkout after all, and a wheel without one of its modules."""
    where = host.shell('python -c "import importlib.util as u; print(u.find_spec(\'mmnas_video\').origin)"')
    assert where.startswith(str(host.python.parents[1]))
    found = json.loads(host.shell('python -m mmnas_video --json'))
    assert found['ok'] and {'SuperMBConv3D', 'PARSECSearchHook', 'JointDataset'} <= set(found['registered'])


@pytest.fixture(scope='module')
def searched(project, page, short):
    """The project after the search of its own backbone."""
    assert len(page.files['small3d/searchable.py'].splitlines()) < 60
    project.shell(short('tools/search.py'))
    return project


@pytest.mark.slow
def test_a_foreign_backbone_is_searched(searched):
    """Rejects a page whose code does not run, a search without steps, and a cost that is not that of the layers."""
    search = searched.folder / 'work_dirs/small3d/search'
    found = json.loads((search / 'arch.json').read_text())
    one, two = found['arch']['width1'], found['arch']['width2']
    macs = 27 * 8 * (3 * one * 16**2 + one * two * 8**2 + two * 64 * 4**2) + 64 * 8  # of 8 frames, halved thrice
    assert found['cost']['macs'] == macs and len(found['arch']) == 2
    kinds = [json.loads(line)['kind'] for line in (search / 'history.jsonl').read_text().splitlines()]
    assert kinds.count('step') == 2 and (search / 'report.html').is_file()


@pytest.mark.slow
def test_the_commands_of_its_report_run_there(searched):
    """Rejects commands with the checkout's ``tools/``, which a project beside the wheel has not."""
    script = 'from mmnas_video.visualization import commands, read_search as read\n'
    script += "print(*[line for _, line in commands.next_commands(read('work_dirs/small3d')) if 'cost.py' in line])"
    command = searched.shell(f'python -c "{script}"').strip()
    assert '.mim/tools/cost.py' in command and 'work_dirs/small3d/search/arch.json' in command
    found = json.loads((searched.folder / 'work_dirs/small3d/search/arch.json').read_text())
    assert json.loads(searched.shell(f'PYTHONPATH=. {command} --json'))['macs'] == found['cost']['macs']


@pytest.mark.slow
def test_the_pages_tests_pass_on_what_was_found(searched, page):
    """Rejects conformance suites that a foreign project cannot call; and a found network that is not the supernet at
    its architecture, or whose weights need the library."""
    (searched.folder / 'tests/test_found.py').write_text(FOUND)
    (command,) = [text for text in page.commands if 'pytest' in text]
    assert '7 passed' in searched.shell(command)


@pytest.mark.slow
def test_our_backbone_under_mmaction2s_own_tool(project, short):
    """Rejects a backbone that only our tools can train: stock sampler, hooks, loops and validation."""
    project.shell(short('mbconv3d.py'))
    (log,) = (project.folder / 'work_dirs/mbconv3d').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows[0]['loss'] > 0 and 'acc/top1' in rows[-1]


@pytest.mark.slow
def test_our_joint_loader_under_a_stock_recognizer(project, short):
    """Rejects batches of two datasets, and a loader whose batches only our recognizers take."""
    project.shell(short('joint_x3d.py'))
    (log,) = (project.folder / 'work_dirs/joint_x3d').glob('*/*.log')
    text = log.read_text()
    assert 'motion' in text and 'scene' in text
    assert (project.folder / 'work_dirs/joint_x3d/epoch_1.pth').is_file()


@pytest.mark.slow
def test_a_demo_runs_with_the_tools_of_the_wheel(host, places):
    """Rejects tools that find their configs in the checkout only, or in the folder where they are called."""
    host.shell(f'{places}python $NAS/tools/demo.py --smoke --random 1 --work-dir work_dirs/demo --data data/smoke\n')
    search = host.folder / 'work_dirs/demo/search'
    rows = json.loads((search / 'table.json').read_text())['rows']
    assert [row['name'] for row in rows] == ['searched', 'uniform (X3D-like)', 'random 1']
    assert (search / 'report.html').is_file()
