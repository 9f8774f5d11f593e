"""The API page names all that configs name and that the other pages import."""

import importlib
import re
from pathlib import Path

import pytest

import mmnas_video  # noqa: F401 - fills them
from mmnas_video import registry

ROOT = Path(__file__).parents[2]
API = (ROOT / 'docs' / 'api.md').read_text(encoding='utf-8')
LISTED = set(re.findall(r'^\.\. auto(?:class|function):: (\w+)$', API, re.MULTILINE))

#: Kind of an entry, its name, and the members that it names.
ENTRIES = re.findall(
    r'^\.\. (currentmodule|automodule|auto\w+):: ([\w.]+)$(?:\n   :members:(?: (.*))?)?', API, re.MULTILINE
)


def registered():
    """Names of our own components in MMAction2's registries, but for stand-ins of its parts and toys of tests."""
    found = {}
    for kinds in vars(registry).values():
        found |= getattr(kinds, 'module_dict', {})
    ours = {name: part.__module__ for name, part in found.items() if part.__module__.startswith('mmnas_video.')}
    return {name for name, module in ours.items() if module.split('.')[1] not in ('compat', 'testing')}


def imported():
    """Names that the pages import from the package, but for its registries."""
    names = set()
    for page in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')):
        for line in re.findall(r'^from mmnas_video\.\w+ import (.+)$', page.read_text(encoding='utf-8'), re.MULTILINE):
            names |= {name.strip() for name in line.split(',')}
    return names - set(vars(registry))


def test_what_configs_name_and_pages_import_is_on_the_api_page():
    """Rejects a component, or a name that a page tells its reader to import, that the page calls free to change."""
    assert {'SeededDataset', 'ReportHook', 'SuperMBConv3D'} <= registered() and 'lay_windows' in imported()
    assert not sorted((registered() | imported()) - LISTED)


def test_the_api_page_names_what_is_there():
    """Rejects an entry of something that was renamed or has moved."""
    module = None
    for kind, name, members in ENTRIES:
        if kind in ('currentmodule', 'automodule'):
            module = importlib.import_module(name)
        else:
            assert hasattr(module, name), f'{module.__name__} has no {name}'
            for member in filter(None, members.split(', ')):
                assert hasattr(getattr(module, name), member), f'{name} has no {member}'


@pytest.mark.parametrize(
    ('entry', 'member'),
    [('SearchHook', 'sampled_step'), ('SearchHook', 'held_out_batch'), ('Searchable', 'use'), ('Budget', 'admits')],
)
def test_what_a_program_calls_is_on_the_api_page(entry, member):
    """Rejects an entry that shows the class's docstring alone: Sphinx leaves methods out that nobody asks for."""
    ((options, members),) = re.findall(rf':: {entry}\n(   :members:(.*)\n)?', API)
    assert options and (not members or member in members.strip().split(', '))


def test_the_way_to_a_small_network_and_a_table_is_on_the_api_page():
    """Rejects a page with which one builds a supernet in Python, and goes on only with our tools."""
    network = {'extract_model', 'extract_state', 'copy_slices', 'recalibrate', 'arch_to_json', 'Work', 'Slice', 'Block'}
    table = {'Setting', 'Bench', 'measure_table', 'check_table', 'load_latency', 'read_table'}
    assert not sorted((network | table) - LISTED)
