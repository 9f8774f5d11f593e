"""The report page: complete, escaped, self-contained, and possible at any moment of a search."""

import base64
import json
import os
import re
import shlex
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import to_hex

from mmnas_video.errors import ConfigError, RunError
from mmnas_video.space import (
    AUTOX3D_STAGES,
    Choice,
    SearchSpace,
    mbconv3d_groups,
    tsnet_space,
    vit_space,
    vit_table,
    vit_tubes,
)
from mmnas_video.visualization import album, networks, page, report, sections, write_report
from mmnas_video.visualization.commands import next_commands
from mmnas_video.visualization.evaluated import Evaluated
from mmnas_video.visualization.page_script import SCRIPT, SCRIPT_HASH
from mmnas_video.visualization.recorded import read_search, with_labels
from mmnas_video.visualization.search_curves import cost_figure
from mmnas_video.visualization.style import SHADES, shade
from tests.visualization.artists import by_gid
from tests.visualization.conftest import SMALL

ROOT = Path(__file__).parents[2]
VOID = {'wbr', 'meta', 'br', 'hr', 'img', 'input', 'link', 'use', 'path'}


@pytest.fixture
def quick(monkeypatch):
    """Figures are made but not drawn: for tests of the words alone."""
    monkeypatch.setattr(album, 'svg_text', lambda figure: '<svg></svg>')
    monkeypatch.setattr(album, 'save_figure', lambda figure, path: path)
    monkeypatch.setattr(report, 'DRAWINGS', 0)


class _Page(HTMLParser):
    """Checks the nesting of tags; gathers ids, text and everything that a browser would fetch."""

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.fetched, self.words, self.tags = [], [], [], [], set()
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._look(attrs)
        if tag not in VOID or tag in ('use', 'path'):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self._look(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def _look(self, attrs):
        for name, value in attrs:
            if name == 'id':
                self.ids.append(value)
            if name in ('src', 'href', 'xlink:href', 'action', 'data'):
                self.fetched.append(value)
            assert not name.startswith('on')

    @property
    def text(self):
        return ' '.join(' '.join(self.words).split())


def _read(path):
    return _Page(Path(path).read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def finished(tmp_path_factory, search_writer):
    """The work directory of a finished search with its report."""
    work_dir = tmp_path_factory.mktemp('finished')
    search_writer(work_dir)
    assert write_report(work_dir, png=False) == work_dir / 'search' / 'report.html'
    return work_dir


def test_every_row_stands_in_the_page_in_its_units(finished):
    """Rejects: top-1 as a share, MACs in G or FLOPs = 2 x MACs, random rows dropped, not folded."""
    path = finished / 'search' / 'report.html'
    html = path.read_text()
    rows = json.loads((finished / 'search' / 'table.json').read_text())['rows']
    for row in rows:
        cells = (
            row['name'],
            f'{row["params"] / 1e6:.3f}',
            f'{row["macs"] / 1e6:.2f}',
            f'{100 * row["top1"]:.1f}',
        )
        bar = f'<i style="--v:{100 * row["top1"] / 0.731:.1f}"></i>'  # of the best one's
        assert ''.join(f'<td>{cell}</td>' for cell in cells) + f'<td class="bar">{bar}</td>' in html, row['name']
    text = _read(path).text
    assert 'place 1 of 7 networks' in text
    assert 'uniform (X3D-like) 68.2 %, median of 5 random (random 5) 64.1 %, best of 5 random (random 2) 70.7 %' in text


def test_a_searched_network_that_loses_is_shown_as_it_is(quick, make_search):
    """Rejects: the searched network called first whatever came out."""
    work_dir, _, _ = make_search()
    path = work_dir / 'search' / 'table.json'
    data = json.loads(path.read_text())
    data['rows'][0]['top1'] = 0.659  # that of random 4
    path.write_text(json.dumps(data))
    assert 'place 3 (shared) of 7 networks' in _read(write_report(work_dir, png=False)).text


def test_heading_says_what_was_run(quick, make_search):
    """Rejects: a report from which the search cannot be repeated."""
    work_dir, space, _ = make_search(epochs=5, steps=3, stages=AUTOX3D_STAGES)
    text = _read(write_report(work_dir, png=False)).text.replace('\N{NO-BREAK SPACE}', ' ')
    assert space.size == 6**11 * 7**11 * 3**11 * 5**2 * 6**2 * 8**7
    facts = [
        'PARSEC',
        '41',
        'MACs ≤ 53.00 M',
        'autox3d',
        space.hash,
        '2.4 × 10³² networks',
        '44 of 44',
        'c0ffee1',
    ]
    facts += [
        'torch 2.11.0',
        '5 epochs, 15 recorded steps',
        '52.35 M MACs',
        '1.235 M parameters',
        'input 3×13×160×160',
    ]
    for fact in facts:
        assert fact in text, fact


def test_names_from_files_are_escaped(make_search):
    """Rejects: a name, value, kernel, note or directory that runs as markup, in HTML or in SVG."""
    evil = "<script>alert('x')</script>&\"</svg>"
    choices = [Choice('s1.g1.kernel', (evil, 't3_s3')), Choice(f'{evil}.g.kernel', ('t1_s3', evil))]
    space = SearchSpace(evil, [*choices, Choice(evil, (evil, 3))])
    work_dir, _, _ = make_search(name="a<b> & 'c'", space=space, epochs=3)
    for name in ('arch.json', 'table.json'):
        path = work_dir / 'search' / name
        data = json.loads(path.read_text())
        for item in (data.get('search', {}), *data.get('rows', ())):
            item.update(
                {
                    'name': evil + item.get('name', ''),
                    'method': evil,
                    'commit': evil,
                    'versions': {evil: evil},
                }
            )
        path.write_text(json.dumps(data))
    other, _, _ = make_search(name='b', epochs=3)
    for path in (write_report(work_dir, png=False), write_report([work_dir, other], png=False)):
        parsed = _read(path)
        html = path.read_text()
        blocks = re.findall(r'<script.*?</script>', html.lower(), flags=re.S)
        assert [block.partition('>')[0] for block in blocks] == [
            '<script type="application/json" id="networks"',
            '<script',
        ]
        assert f'<script>{SCRIPT}</script>' in html and f"script-src '{SCRIPT_HASH}'" in html
        assert "alert('x')" in parsed.text
    for svg in (work_dir / 'search' / 'figures').glob('*.svg'):
        assert not [e for e in ElementTree.parse(svg).iter() if e.tag.endswith('script')]


def test_page_needs_nothing_else(finished):
    """Rejects: pictures by link, fonts or scripts from a network, ids that two figures share."""
    parsed = _read(finished / 'search' / 'report.html')
    assert all(ref.startswith(('#', 'data:image/png;base64,')) or ref == 'figures/' for ref in parsed.fetched)
    assert len(parsed.ids) == len(set(parsed.ids)) > 100
    assert {ref[1:] for ref in parsed.fetched if ref.startswith('#')} <= set(parsed.ids)
    html = (finished / 'search' / 'report.html').read_text()
    assert set(re.findall(r'url\(#([^)]+)\)', html)) <= set(parsed.ids)
    assert 'prefers-color-scheme: dark' in html and 'name="viewport"' in html


def test_inline_figures_take_the_colours_of_the_page(finished):
    """Rejects: black text on the dark page, a white sheet behind each figure; files that have no paper."""
    from mmnas_video.visualization.style import INK, PAPER

    html = (finished / 'search' / 'report.html').read_text()
    svgs = [svg for svg in re.findall(r'<svg.*?</svg>', html, flags=re.S) if 'class="points"' not in svg]
    assert len(svgs) == 13 and all('currentColor' in svg and INK not in svg and PAPER not in svg for svg in svgs)
    assert PAPER in (finished / 'search' / 'figures' / 'arch.svg').read_text()


@pytest.mark.parametrize('missing', ['space.json', 'arch.json', 'history.jsonl'])
def test_a_missing_file_is_said_and_the_rest_is_shown(quick, make_search, missing):
    """Rejects: an error, or silence, when one file is not there yet."""
    work_dir, _, _ = make_search(epochs=3)
    (work_dir / 'search' / missing).unlink()
    text = _read(write_report(work_dir, png=False)).text
    assert f'{missing} is not there yet' in text and text.count('is not there yet') == 1
    assert 'tools/report.py' in text
    assert ('The chosen network' in text) == (missing != 'arch.json')
    assert ('The most probable network so far' in text) == (missing == 'arch.json')
    assert ('How the search went' in text) == (missing != 'history.jsonl')


def test_a_search_without_a_comparison_lacks_nothing(quick, make_search):
    """Rejects: every ordinary search called incomplete; the result of another network's training told as this one's."""
    work_dir, _, arch = make_search(epochs=2, steps=1, candidates=0)
    (work_dir / 'search' / 'table.json').unlink()
    text = _read(write_report(work_dir, png=False)).text
    assert 'Not complete' not in text and 'no test result of the network trained from scratch' in text
    (work_dir / 'retrain').mkdir()
    (work_dir / 'retrain' / 'tested.json').write_text('{"acc/top1": 0.712, "f1": 0.5}')
    for network, told in ((dict(arch), True), ({**arch, next(iter(arch)): 't9_s9'}, False)):
        (work_dir / 'retrain' / 'trained.json').write_text(json.dumps({'network': network}))
        assert ('reaches 71.2 % top-1, f1 0.5.' in report._result(read_search(work_dir))) == told


def test_a_joint_search_says_its_accuracy_on_each_data_set(quick, make_search):
    """Rejects: the result of a joint search on the screen only; figures of a search that is still under way."""
    work_dir, _, _ = make_search(epochs=2, steps=1, candidates=0)
    (work_dir / 'search' / 'table.json').unlink()
    file = work_dir / 'search' / 'arch.json'
    found = json.loads(file.read_text())
    figures = {'image/top1': 0.575, 'image/top5': 0.912, 'mean/top1': 0.4375, 'mean/top5': None}
    found['search'].update(validated={**figures, 'image/other': 3.0}, final=True)
    file.write_text(json.dumps(found))
    text = _read(write_report(work_dir, png=False)).text
    assert 'reaches 43.8 % top-1 (mean over the data sets) in validation; there is no test result' in text
    assert re.search(r'data set\s+top-1 \[%\]\s+top-5 \[%\]\s+image\s+57.5\s+91.2\s+mean\s+43.8\s+–', text), text
    found['search'].update(validated={'acc/top1': 0.5, 'f1': 0.25})
    file.write_text(json.dumps(found))
    text = _read(write_report(work_dir, png=False)).text
    assert 'reaches 50.0 % top-1, f1 0.25 in validation' in text and 'data set' not in text
    found['search'].update(final=False)
    file.write_text(json.dumps(found))
    assert 'in validation' not in _read(write_report(work_dir, png=False)).text


@pytest.mark.parametrize(
    ('lines', 'left_out'),
    [
        (
            [
                {'kind': 'epoch', 'epoch': 1, 'most_probable': [0]},
                {'kind': 'epoch', 'epoch': 2, 'most_probable': [0, 1]},
            ],
            0,
        ),
        ([{'kind': 'epoch', 'epoch': 1, 'probs': {'a': [None, 0.5]}, 'entropies': {'a': 1}}], 1),
        ([{'kind': 'epoch', 'epoch': 1, 'probs': {'a': ['x', 'y']}, 'entropies': {'a': 1}}], 1),
        ([{'kind': 'step', 'step': 0, 'epoch': 1, 'scores': 5, 'macs': [10**400, 7]}], 0),
        ([{'kind': 'epoch', 'epoch': 1, 'score': 10**400, 'macs': float('nan')}], 0),
    ],
)
def test_broken_lines_are_left_out(quick, tmp_path, lines, left_out):
    """Rejects: a report that a line of another hand or version prevents."""
    folder = tmp_path / 'search'
    folder.mkdir()
    (folder / 'space.json').write_text(json.dumps(SearchSpace('s', [Choice('a', (1, 2))]).to_dict()))
    (folder / 'history.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    text = _read(write_report(tmp_path, png=False)).text
    assert ('left out 1 line(s)' in text) == bool(left_out)


def test_searches_of_one_name_are_told_apart(quick, make_search):
    """Rejects: two columns of one name, and a name that matplotlib leaves out of its legends."""
    work_dirs = [
        make_search(name=name, epochs=2, steps=1, candidates=0)[0] for name in ('a/mine', 'b/mine', '_uni', 'c')
    ]
    records = with_labels([read_search(path) for path in work_dirs])
    assert [r.name for r in records] == ['a/mine', 'b/mine', f'{work_dirs[2].parent.name}/_uni', 'c']
    assert [text.get_text() for text in cost_figure(records).axes[0].get_legend().get_texts()][:4] == [
        r.name for r in records
    ]
    assert '<th>a/mine</th><th>b/mine</th>' in write_report(work_dirs[:2], png=False).read_text()


def test_a_search_under_way_shows_the_most_probable_network(quick, make_search):
    """Rejects: no network before the end; a most probable one passed off as the chosen one."""
    work_dir, _, _ = make_search(finished=False, epochs=2, candidates=0)
    text = _read(write_report(work_dir, png=False)).text
    assert 'most probable at epoch 2; the search has not written arch.json' in text
    assert 'The search has not come to its end' in text and '--resume' in text


def test_a_checkpoint_is_not_the_end(quick, make_search):
    """Rejects: the arch of a checkpoint (arch.json with "final": false) passed off as the result."""
    work_dir, _, _ = make_search(epochs=3)
    path = work_dir / 'search' / 'arch.json'
    data = json.loads(path.read_text())
    data['search'].update({'final': False, 'epoch': 2, 'method': 'PARSECSearchHook'})
    path.write_text(json.dumps(data))
    text = _read(write_report(work_dir)).text
    assert 'written at epoch 2 of a search that is still under way' in text and '--resume' in text
    assert 'The most probable network so far' in text and 'PARSEC on autox3d' in text


@pytest.mark.parametrize(
    ('budget', 'text'),
    [
        ({'macs': 12_000_000}, 'MACs ≤ 12.00 M'),
        ({'macs': [3e6, 12e6], 'params': [None, 5e5]}, '3.00 M ≤ MACs ≤ 12.00 M, parameters ≤ 0.50 M'),
        ({'latency_ms': [None, 7.5]}, 'latency ≤ 7.5 ms'),
        (None, ''),
        ({'macs': [None, None]}, ''),
    ],
)
def test_budgets(budget, text):
    """Rejects: the lower bound taken for the upper one, a bound that is not set shown as one."""
    assert page.bounds(budget).replace('\N{NO-BREAK SPACE}', ' ') == text


def test_an_empty_search_folder(tmp_path):
    """Rejects: an error in the first seconds of a search."""
    (tmp_path / 'search').mkdir()
    text = _read(write_report(tmp_path)).text
    assert text.count('is not there yet') == 3


def test_broken_files_are_notes(quick, make_search):
    """Rejects: a report that fails because table.json was edited by hand."""
    work_dir, _, _ = make_search(epochs=2)
    (work_dir / 'search' / 'table.json').write_text('{"rows": [17, {"name": "searched", "top1": "high"}]}')
    (work_dir / 'search' / 'space.json').write_text('{"choices": [{"name": "a", "values": []}]}')
    text = _read(write_report(work_dir, png=False)).text
    assert 'rows that are no objects' in text and 'space.json cannot be read' in text


def test_no_search_folder_is_one_clear_error(tmp_path):
    """Rejects: a report of nothing for a mistyped directory."""
    with pytest.raises(ConfigError, match=r'typo.*search'):
        write_report(tmp_path / 'typo')
    with pytest.raises(ConfigError, match='found none'):
        write_report([])


def test_same_files_same_bytes(make_search):
    """Rejects: dates, random ids or set order in the page: a report could not be compared with another."""
    work_dir, _, _ = make_search(epochs=3)
    path = write_report(work_dir)
    first = {p.name: p.read_bytes() for p in (path, *path.parent.glob('figures/*'))}
    write_report(work_dir)
    assert first == {p.name: p.read_bytes() for p in (path, *path.parent.glob('figures/*'))}
    assert {'arch.svg', 'arch.png', 'macs.png', 'candidates.png', 'entropy_map.png'} <= set(first)


def test_a_failed_write_leaves_the_old_report(quick, make_search, monkeypatch):
    """Rejects: opening report.html for writing in place (half a page if the disk is full)."""
    work_dir, _, _ = make_search(epochs=2)
    path = write_report(work_dir, png=False)
    old = path.read_bytes()
    (work_dir / 'search' / 'table.json').unlink()
    replace = os.replace

    def full_disk(source, target):
        if Path(target) == path:
            raise OSError(28, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr('os.replace', full_disk)
    with pytest.raises(RunError, match='No space'):
        write_report(work_dir, png=False)
    assert path.read_bytes() == old and not [p for p in path.parent.rglob('.*') if p.is_file()]


def test_side_by_side(make_search):
    """Rejects: the second search's figures over the first one's, one search's own report overwritten."""
    one, _, _ = make_search(name='seed7', seed=7, epochs=3)
    two, _, _ = make_search(name='seed11', seed=11, epochs=5)
    own = write_report(one, png=False).read_bytes()
    path = write_report([one, two], png=False)
    assert path.name == 'report_of_2.html' and (one / 'search' / 'report.html').read_bytes() == own
    parsed = _read(path)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert 'seed7' in parsed.text and 'seed11' in parsed.text and '5 epochs' in parsed.text
    figures = path.parent / 'figures'
    assert (figures / '1-arch.svg').read_bytes() != (figures / '2-arch.svg').read_bytes()


def _described(make_search, space, told, shape):
    """Page, work directory and arch of a search whose space.json and arch.json say this beside their choices."""
    work_dir, _, arch = make_search(space=space, epochs=2, candidates=0)
    cost = {'macs': 7_110_000, 'params': 5_130_000, 'shape': shape}
    for name, extra in (('space.json', told), ('arch.json', {'cost': cost})):
        path = work_dir / 'search' / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **extra}))
    return _read(write_report(work_dir, png=False)), work_dir, arch


def test_two_streams_are_drawn_with_what_the_search_tells_of_them(make_search):
    """Rejects: repeats and frames lost between the files and the picture, a picture without its cost."""
    groups = mbconv3d_groups(SMALL)
    told = {'blocks': {f'sparse.{group.name}': 7 for group in groups}, 'frames': {'sparse': 3, 'dense': 12}}
    space = tsnet_space({'sparse': groups, 'dense': groups})
    parsed, work_dir, arch = _described(make_search, space, told, [3, 12, 32, 32])
    assert parsed.text.count('The chosen network: 7.11 M MACs, 5.130 M parameters') == 1
    assert '3 frames' in parsed.text and '12 frames' in parsed.text and '×7' in parsed.text
    joined = {name.removeprefix('fusion.') for name in arch if name.startswith('fusion.') and arch[name] != 'none'}
    assert {i.removeprefix('arch-fusion:') for i in parsed.ids if i.startswith('arch-fusion:')} == joined != set()
    assert 'uniform (X3D-like): 52.45 M MACs, 1.242 M parameters' in parsed.text  # the alternatives say theirs
    assert (work_dir / 'search' / 'figures' / 'arch.svg').is_file()


def test_tubes_are_drawn_in_the_clip_of_the_search(make_search):
    """Rejects: the size of a clip, clamped offsets or the rounding of heads lost between the files and the picture."""
    table = vit_table(dict(embed_dims=(7, 11), depths=(2,), heads=(3,), qkv_dims=(11,), mlp_ratios=(1.5,)))
    tubes = vit_tubes((dict(kernels=('1x2x3',), strides=('2x2x3',), offsets=('0x0x9',)),))
    told = {'clamp_offsets': True, 'qkv_rounding': 'ceil', 'pool': 'mean', 'head_dim': None}
    parsed, _, _ = _described(make_search, vit_space(table, tubes, 'vit'), told, [3, 5, 13, 11])
    assert '3×6×1 = 18 tokens' in parsed.text and 'offset 0×0×9 → 0×0×8' in parsed.text
    assert '3×4' in parsed.text and 'mean of tokens' in parsed.text


@pytest.mark.parametrize('told', [{'blocks': 7, 'frames': ['x']}, {'blocks': {'sparse.s1.g1': 'two'}, 'frames': None}])
def test_what_is_told_wrongly_is_left_out(quick, make_search, told):
    """Rejects: a report that fails for a space.json that was written by hand or by another version."""
    groups = mbconv3d_groups(SMALL)
    parsed, _, _ = _described(make_search, tsnet_space({'sparse': groups, 'dense': groups}), told, 'x')
    assert 'Fusion: ' in parsed.text


def test_a_space_without_groups_is_drawn_as_a_grid(make_search, grid_space):
    """Rejects: a report that works for one space alone."""
    work_dir, _, _ = make_search(space=grid_space, epochs=3)
    html = write_report(work_dir).read_text()
    figures = {path.name for path in (work_dir / 'search' / 'figures').iterdir()}
    assert 'choices.png' in figures and 'arch.svg' not in figures
    assert '60 networks' in html and '4 of 4' in html  # 2 * 3 * 5 * 2


def test_global_state_is_left_alone(make_search):
    """Rejects: pyplot (its figures stay open through a search) and changed rcParams for the caller."""
    work_dir, _, _ = make_search(epochs=2)
    with matplotlib.rc_context({'font.size': 17.0, 'svg.fonttype': 'path'}):
        before, figures = dict(matplotlib.rcParams), list(Gcf.figs)
        write_report(work_dir, png=False)
        assert dict(matplotlib.rcParams) == before and list(Gcf.figs) == figures


def tool(name):
    """How a command begins that is typed outside the clone."""
    return f'python {shlex.quote(str(ROOT / "tools" / name))}.py'


def test_commands_name_the_files_that_are_there(make_search, monkeypatch):
    """Rejects: the checkpoint's path before a move, unquoted spaces, a config guessed among two, and a training "from
    scratch" that starts from inherited weights."""
    work_dir, _, _ = make_search(name='my search', epochs=2)
    commands = dict(next_commands(read_search(work_dir)))
    assert any(' CONFIG CHECKPOINT ' in command for command in commands.values())
    (work_dir / 's_k200.py').write_text('')
    (work_dir / 'epoch_3.pth').write_text('')
    (work_dir / 'last_checkpoint').write_text('/elsewhere/epoch_3.pth')
    monkeypatch.chdir(work_dir.parent)
    commands = dict(next_commands(read_search('my search')))
    extract = next(command for command in commands.values() if '--arch' in command)
    arguments = "'my search/s_k200.py' 'my search/epoch_3.pth' --arch 'my search/search/arch.json'"
    assert extract == f'{tool("extract")} {arguments}'
    # Not from the weights that it inherits, which the extracted config starts from.
    scratch = "'my search/search/extracted.py' --work-dir 'my search/retrain' --cfg-options load_from=None"
    assert commands['Train the chosen network from scratch'] == f'{tool("train")} {scratch}'
    (work_dir / 'other.py').write_text('')
    assert any(' CONFIG ' in command for _, command in next_commands(read_search(work_dir)))


def test_commands_name_the_tools_where_they_are(make_search, monkeypatch, tmp_path):
    """Rejects: ``tools/`` in a folder that has none, long paths in a clone's root, and a page without the folder."""
    work_dir, _, _ = make_search(epochs=2)
    for folder, expected in ((tmp_path, ROOT / 'tools'), (ROOT, Path('tools')), (ROOT / 'docs', ROOT / 'tools')):
        monkeypatch.chdir(folder)
        commands = [shlex.split(command) for _, command in next_commands(read_search(work_dir))]
        assert {Path(words[1]).parent for words in commands} == {expected}
        assert all(words[0] == 'python' and Path(words[1]).is_file() for words in commands)
        assert f'From the folder {folder}, in this order.' in write_report(work_dir, png=False).read_text()


def test_commands_train_what_the_config_names_and_test_what_was_trained(make_search, monkeypatch):
    """Rejects: a retraining by the search's own settings where the config names another, its options lost, a config
    that is run to be read, a checkpoint in capitals where there is one, and one of a training that has not ended."""
    work_dir, _, _ = make_search(name='one', epochs=2)
    monkeypatch.chdir(work_dir.parent)
    line = "retrain = dict(cfg_options=dict({'train_cfg.max_epochs': 7}), config='configs/x y.py')\n"
    (work_dir / 's.py').write_text(f'raise SystemExit\n{line}')
    commands = dict(next_commands(read_search('one')))
    options = '--cfg-options train_cfg.max_epochs=7 model.backbone.arch=one/search/arch.json'
    train = f"{tool('train')} 'configs/x y.py' --work-dir one/retrain {options}"
    assert commands['Train the chosen network from scratch'] == train
    test = f'{tool("test")} \'configs/x y.py\' "$(cat one/retrain/last_checkpoint)" {options}'
    assert commands['Test what was trained'] == test
    (work_dir / 'retrain').mkdir()
    (work_dir / 'retrain' / 'within_epoch.pth').write_text('')
    (work_dir / 'retrain' / 'last_checkpoint').write_text('/elsewhere/within_epoch.pth')
    assert dict(next_commands(read_search('one')))['Test what was trained'] == test
    (work_dir / 'retrain' / 'epoch_7.pth').write_text('')
    (work_dir / 'retrain' / 'last_checkpoint').write_text('/elsewhere/epoch_7.pth')
    export = dict(next_commands(read_search('one')))[
        'Export what was trained for onnxruntime, and for torch.export.load'
    ]
    files = '--out one/retrain --onnx one/retrain/net.onnx --export one/retrain/net.pt2'
    assert export == f"{tool('extract')} 'configs/x y.py' one/retrain/epoch_7.pth {files} {options}"


def test_commands_of_a_search_in_stages(make_search, monkeypatch):
    """Rejects: CONFIG and CHECKPOINT in capitals where the last stage has both, and a retraining by the stage's own
    settings where the search's config names another."""
    work_dir, _, _ = make_search(name='one', epochs=2)
    monkeypatch.chdir(work_dir.parent)
    stages = {'stages': [{'name': 'a', 'folder': '1_a'}, {'name': 'b', 'folder': '2_b'}]}
    stages['retrain'] = {'config': 'configs/r.py', 'cfg_options': {'data': 'my, videos'}}
    (work_dir / 'search' / 'stages.json').write_text(json.dumps(stages))
    for name in ('1_a', '2_b'):
        (work_dir / name).mkdir()
        for file in (f'{name}.py', 'epoch_2.pth', 'last_checkpoint'):
            (work_dir / name / file).write_text('/elsewhere/epoch_2.pth')
    commands = dict(next_commands(read_search('one')))
    lines = list(commands.values())
    assert f'{tool("extract")} one/2_b/2_b.py one/2_b/epoch_2.pth --arch one/search/arch.json' in lines
    assert f'{tool("cost")} one/2_b/2_b.py --arch one/search/arch.json' in lines
    train = commands['Train the chosen network from scratch']
    assert shlex.split(train)[2:] == [
        *('configs/r.py', '--work-dir', 'one/retrain', '--cfg-options'),
        *("data='my, videos'", 'model.backbone.arch=one/search/arch.json'),
    ]


def test_lists_and_latency_stand_in_the_report(quick, make_search):
    """Rejects: hashes cut short, a latency left out of the facts, the table or the drawing's title."""
    work_dir, _, _ = make_search(epochs=2)
    folder, digest = work_dir / 'search', '5e' * 32
    data = json.loads((folder / 'arch.json').read_text())
    data['search']['data'], data['cost']['latency_ms'] = [{'file': 'data/<k>.txt', 'sha256': digest}], 17.25
    (folder / 'arch.json').write_text(json.dumps(data))
    rows = json.loads((folder / 'table.json').read_text())['rows']
    rows[0]['latency_ms'] = 17.25
    (folder / 'table.json').write_text(json.dumps({'rows': rows}))
    path = write_report(work_dir, png=False)
    parsed = _read(path)
    assert '<td>17.25</td><td>73.1</td>' in path.read_text()
    assert 'data/<k>.txt' in parsed.text and digest in parsed.text and 'latency [ms]' in parsed.text
    assert '1.235 M parameters, 17.25 ms' in parsed.text and 'latency unknown' not in parsed.text


def test_a_search_under_a_latency_shows_how_it_went(make_search):
    """Rejects: a search whose budget is in ms with curves and targets of MACs alone, of one search and of several."""
    folders = [make_search(name, epochs=2, steps=1, candidates=3)[0] for name in 'ab']
    for folder in folders:
        arch, history = (folder / 'search' / name for name in ('arch.json', 'history.jsonl'))
        data = json.loads(arch.read_text())
        data['search']['budget'] = {'latency_ms': [None, 7.5]}
        arch.write_text(json.dumps(data))
        lines = [{**json.loads(line), 'latency_ms': 8.25} for line in history.read_text().splitlines()]
        history.write_text(''.join(json.dumps({**line, 'target': None}) + '\n' for line in lines))
    one, two = (write_report(work_dirs, png=False) for work_dirs in (folders[0], folders))
    for path, name in ((one, 'latency.svg'), (two, 'all-latency.svg')):
        picture = (path.parent / 'figures' / name).read_text()
        assert 'target 7.5 ms' in picture and 'latency [ms]' in picture
        candidates = (path.parent / 'figures' / name.replace('latency', 'candidates')).read_text()
        assert 'latency [ms]' in candidates and 'target' in candidates
    assert 'latency ≤ 7.5\N{NO-BREAK SPACE}ms' in one.read_text() and 'by the latency table' in one.read_text()


def test_a_network_that_is_trained_larger_has_both_sizes(quick, make_search):
    """Rejects: two costs of one network without a word why, as of a cell that is trained in a larger network."""
    work_dir, _, _ = make_search(epochs=1, candidates=0, steps=0)
    same = _read(write_report(work_dir, png=False)).text
    assert '52.35 M MACs, 1.235 M parameters; input' in same and '(as trained' not in same
    path = work_dir / 'search' / 'table.json'
    rows = json.loads(path.read_text())['rows']
    rows[0].update(macs=97_530_000, params=7_654_321)
    path.write_text(json.dumps({'rows': rows}))
    text = _read(write_report(work_dir, png=False)).text
    assert '1.235 M parameters in the search (as trained: 97.53 M MACs, 7.654 M parameters); input' in text


def test_inherited_weights_are_not_called_trained_alone(quick, make_search):
    """Rejects: a table of networks that nobody has trained again under words that say so."""
    work_dir, _, _ = make_search(epochs=1, candidates=0, steps=0)
    alone = 'networks trained alike', 'Every network was trained', 'Trained alone, each the same way'
    said = 'networks with inherited weights', 'No network was trained again', 'Tested, inherited weights'
    text = write_report(work_dir, png=False).read_text()
    assert all(words in text for words in alone) and not any(words in text for words in said)
    path = work_dir / 'search' / 'table.json'
    rows = json.loads(path.read_text())['rows']
    path.write_text(json.dumps({'rows': [{**row, 'weights': 'inherited'} for row in rows]}))
    text = write_report(work_dir, png=False).read_text()
    assert all(words in text for words in said) and not any(words in text for words in alone)


def unpacked(networks):
    """What a page holds of each network, by its key."""
    data = json.loads(re.search(r'<script[^>]*>(.*)</script>', networks.html())[1])
    return {key: json.loads(zlib.decompress(base64.b64decode(packed))) for key, packed in data.items()}


def test_choices_are_shaded_by_the_last_epoch(make_search):
    """Rejects: how sure the search was at first."""
    work_dir, space, _ = make_search(epochs=3, steps=1, candidates=0)
    record, drawn = read_search(work_dir), {}
    kept = SimpleNamespace(add=lambda name, *picture, **options: drawn.update({name: picture}) or '')
    sections.network(record, kept)
    figure, caption = drawn['choices']
    shares, cells = record.epochs[-1]['probs'], by_gid(figure, 'cell:')
    for choice in space:
        for i, share in enumerate(shares[choice.name]):
            assert to_hex(cells[f'{choice.name}:{i}'].get_facecolor()) == to_hex(shade(SHADES, share))
    assert 'the probability at epoch 3' in caption


def test_what_a_point_opens(make_search, monkeypatch):
    """Rejects: the chosen network's values told as the point's, a file without the cost that is known, and all
    differences counted as those that are not named."""
    monkeypatch.setattr(networks, 'MAX_DIFFERENCES', 2)
    work_dir, space, arch = make_search(epochs=2, steps=1, candidates=0)
    changed = list(space)[3:8]
    other = arch.replace({one.name: next(v for v in one.values if v != arch[one.name]) for one in changed})
    kept = networks.Networks(0)
    kept.add(read_search(work_dir), Evaluated('step 3', 52_345_678, 0.5, other, None, 17.25))
    kept.add(read_search(work_dir), Evaluated('searched', 52_345_678, 73.1, arch))
    found = unpacked(kept)
    first, second = (f'{one.name} {{}} (there {{}})' for one in changed[:2])
    values = [(network[one.name]) for one in changed[:2] for network in (other, arch)]
    values = [f'{value:g}' if isinstance(value, float) else value for value in values]
    differs = f'{first}, {second}'.format(*values)
    assert found['n0']['differs'] == f'Differs from the chosen network in 5 of 12 choices: {differs} and 3 more.'
    assert found['n1']['differs'] == 'This is the chosen network.'
    file = json.loads(found['n0']['json'])
    assert file['cost'] == {'macs': 52_345_678, 'latency_ms': 17.25, 'shape': [3, 13, 160, 160]}
    assert file['arch'] == dict(other)


def test_the_front_is_drawn_first(make_search):
    """Rejects: the drawings of a page spent on what was evaluated first, and one network for two searches."""
    (one, _, arch), (two, *_) = (make_search(name=name, epochs=1, steps=1, candidates=0) for name in 'ab')
    kept = networks.Networks(1)
    point = Evaluated('step 3', 7.0, 0.5, arch)
    assert kept.add(read_search(one), point) == 'n0' and kept.add(read_search(two), point, first=True) == 'n1'
    assert kept.add(read_search(one), point) == 'n0' and kept.add(read_search(one), Evaluated('?', 7.0, 0.5)) is None
    assert {key: bool(network['svg']) for key, network in unpacked(kept).items()} == {'n0': False, 'n1': True}


def test_agreement_of_several_searches(quick, make_search):
    """Rejects: agreement with itself, of the most probable value, of choices with one value; a table of two spaces."""
    choices = [Choice('a', (2, 3)), Choice('b', (5,)), Choice('c', (7, 11, 13, 17))]
    space, found = SearchSpace('toy', choices), [{'a': 2, 'c': 7}, {'a': 2, 'c': 11}, {'a': 3, 'c': 13}]
    work_dirs = []
    for i, arch in enumerate(found):
        work_dirs.append(make_search(name=f'seed{i}', space=space, epochs=1, candidates=0, steps=0)[0])
        path = work_dirs[-1] / 'search' / 'arch.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), 'arch': {**arch, 'b': 5}}))
    html = write_report(work_dirs, png=False).read_text()
    # a: one pair of three agrees, c: none; by chance 1/2 and 1/4.
    assert 'agrees in 16.7 % of the choices on average; drawn at random it would in 37.5 %' in html
    assert '0 of the 2 open choices are the same in all 3 searches' in html
    assert '<td>a</td><td>2</td><td>2</td><td>3</td><td>0.33</td>' in html and '<td>b</td>' not in html
    figures = {'MACs [M]': '52.35', 'params [M]': '1.235'}
    lines = {**{f'chosen: {name}': value for name, value in figures.items()}, 'held-out score': '-0.317', 'seed': '41'}
    for name, value in {**lines, 'searched: top-1 [%]': '73.1'}.items():
        assert f'<tr><td>{name}</td>' + 3 * f'<td>{value}</td>' + '</tr>' in html, name
    assert html.count('<dt>Open choices</dt><dd>2 of 3</dd>') == 3
    other = make_search(name='other', epochs=1, candidates=0, steps=0)[0]
    assert 'latency [ms]' not in html  # which none of them knows
    assert 'Not compared' in write_report([work_dirs[0], other], png=False).read_text()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999_999, "9,999,999"), (10_000_000, "1.0 × 10⁷"), (99_999_999, "1.0 × 10⁸"), (24 * 10**31,
    "2.4 × 10³²"),
     (7**401, "7.7 × 10³³⁸")],
)  # fmt: skip
def test_big_numbers(number, text):
    """Rejects: float overflow (7^401 > 1e308), 10.0 × 10⁷ from rounding."""
    assert page.big(number).replace('\N{NO-BREAK SPACE}', ' ') == text


def test_tool(quick, make_search, monkeypatch, capsys, tmp_path):
    """Rejects: a traceback for a wrong directory, a path that is not printed, and a time left that counts what came
    before the drawings."""
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        import importlib.util

        spec = importlib.util.spec_from_file_location('report_tool', ROOT / 'tools' / 'report.py')
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
    finally:
        sys.path.pop(0)
    work_dir, _, _ = make_search(epochs=2)
    monkeypatch.setattr(sys, 'argv', ['report.py', str(work_dir), '--out', str(tmp_path / 'x' / 'r.html')])
    assert tool.run_tool(tool.main) == 0 and capsys.readouterr().out.strip() == str(tmp_path / 'x' / 'r.html')
    monkeypatch.setattr(sys, 'argv', ['report.py', str(tmp_path / 'typo')])
    assert tool.run_tool(tool.main) == 2 and 'typo' in capsys.readouterr().err
    times = iter([100.0, 101.0, 106.0])
    monkeypatch.setattr('time.monotonic', lambda: next(times))
    said = tool.progress()
    for done in (1, 2, 4):
        said(done, 11)
    assert capsys.readouterr().err == 'drawing networks  4/11  14 s left\n'  # three in 6 s, seven to go


def test_a_path_as_text(quick, make_search):
    """Rejects: a string iterated letter by letter."""
    work_dir, _, _ = make_search(epochs=2)
    assert write_report(str(work_dir), png=False) == work_dir / 'search' / 'report.html'
