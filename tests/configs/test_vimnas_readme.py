"""configs/vimnas/README.md: every config, links and commands that exist, and figures that are those of the configs."""

import json
import re
from pathlib import Path

import pytest
import yaml

from mmnas_video.cost import total_range
from mmnas_video.entangle import find_searchable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'vimnas'
README = (FOLDER / 'README.md').read_text(encoding='utf-8')
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
SEARCHES = [
    name for name in NAMES if not re.search('_finetune|_retrain|_from_in1k|_evolution|ablation_', name)
] + ['ablation_vit_only.py']  # fmt: skip


def rows(text):
    """Table rows of which ``text`` is in the first two cells."""
    return [line for line in README.split('\n') if line.startswith('|') and text in '|'.join(line.split('|')[:3])]


@pytest.mark.parametrize('name', NAMES)
def test_readme_names_every_config(name):
    """Rejects a config that nobody can find."""
    assert f'({name})' in README


def test_readme_links_and_commands_exist():
    """Rejects a link to a config that was renamed, and a command whose file is not there."""
    for link in re.findall(r'\]\(([^)#]+)', README):
        assert (FOLDER / link).exists(), link
    for file in re.findall(r'(?<!work_dirs/)(?:tools|configs)/[\w/]+\.(?:py|json)', README):
        assert (ROOT / file).is_file(), file


def test_rows_have_the_cells_of_their_table():
    """Rejects a row that lost a column: its figures would stand under another heading."""
    lines = README.split('\n')
    heads = [i for i, line in enumerate(lines) if line.startswith('|---')]
    assert len(heads) >= 5
    for i in heads:
        table = [lines[i - 1]]
        while lines[i].startswith('|'):
            table.append(lines[i])
            i += 1
        assert len({line.count('|') for line in table}) == 1, table[0]


@pytest.mark.parametrize('name', SEARCHES)
def test_what_a_space_reaches(name, load, build):
    """Rejects figures of another size, of another head or at another clip."""
    cfg = load(f'vimnas/{name}')
    model = build(cfg)
    found = total_range(model, find_searchable(model)[1], tuple(cfg.cost_shape))
    params, macs = [n / 1e6 for n in found['params']], [n / 1e9 for n in found['macs']]
    digits = {'ablation_vit_only.py': ('.1f', '.1f')}.get(name, ('.2f', '.1f' if macs[1] < 1000 else ',.0f'))
    cost = f'{macs[0]:{digits[0]}} – {macs[1]:{digits[1]}}'
    assert cost in rows(name)[0]
    if not name.startswith('ablation'):
        assert f'{params[0]:.1f} – {params[1]:.1f}' in rows(name)[0]
        size = find_searchable(model)[1].space.size
        header = (FOLDER / name).read_text(encoding='utf-8')
        assert f'about {size:.1e}'.replace('e+', 'e') in header


def test_scores_of_searches_on_one_set_are_those_of_tab_8b():
    """Rejects Tab. 7's figures of the joint networks on ImageNet (79.3, 81.9, 83.4: Tab. 3 and 9b) for networks that
    are searched on ImageNet alone."""
    entries = yaml.safe_load((FOLDER / 'metafile.yml').read_text(encoding='utf-8'))['Models']
    scores = {
        entry['Name'].removeprefix('vimnas_'): [
            score['Metrics']['Top 1 Accuracy'] for score in entry.get('Reported In The Paper', [])
        ]
        for entry in entries
    }
    alone = {'tiny_in1k': 78.0, 'base_k400': 84.4, 'base_k600': 85.5, 'tiny_ssv2': 67.2, 'tiny_in1k_finetune': 78.3}
    assert {name: scores[name] for name in alone} == {name: [score] for name, score in alone.items()}
    assert not scores['small_in1k'] + scores['base_in1k']


@pytest.mark.parametrize('size', ['tiny', 'small', 'base', 'large'])
def test_figures_of_the_shipped_archs(size):
    """Rejects figures that were left behind when an arch changed (test_vimnas_models.py counts them)."""
    cost = json.loads((FOLDER / 'archs' / f'{size}_closest.json').read_text())['cost']
    (row,) = rows(f'archs/{size}_closest.json')
    assert ' | '.join(f'{cost[key]:,}' for key in ('params', 'image_macs', 'clip_macs')) in row
