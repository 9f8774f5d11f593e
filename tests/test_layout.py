"""The reading order is the import order: a folder knows those above it only, and the space knows no torch."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'mmnas_video'
ORDER = ('space', 'cost', 'kernels', 'entangle', 'models', 'datasets', 'search', 'visualization', 'testing')
# For every folder but the space: a folder and four files.
COMMON = ('compat', 'registry', 'runner_state', 'told_again', 'errors')
FILES = sorted(PACKAGE.rglob('*.py'))
IN_FOLDERS = [file for file in FILES if file.parent != PACKAGE and file.relative_to(PACKAGE).parts[0] not in COMMON]


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Absolute dotted names of everything that ``source``, being ``module``, imports at any depth.

    ``from a import b`` counts as ``a.b``, because ``b`` may be a module. Imports inside functions and under
    TYPE_CHECKING count: they too are what a reader has to know first.
    """
    parents = module.split('.') if is_package else module.split('.')[:-1]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = '.'.join([*start, *([node.module] if node.module else [])])
            names |= {f'{base}.{alias.name}' for alias in node.names}
    return names


def folders_used(names: set[str]) -> set[str]:
    """The parts directly under ``mmnas_video`` that these names lie in."""
    return {name.split('.')[1] for name in names if name.startswith(f'{PACKAGE.name}.')}


def imports_of(file: Path) -> set[str]:
    """What a file of the package imports."""
    parts = [PACKAGE.name, *file.relative_to(PACKAGE).with_suffix('').parts]
    is_package = parts[-1] == '__init__'
    module = '.'.join(parts[:-1] if is_package else parts)
    return imports(file.read_text(encoding='utf-8'), module, is_package)


def folder_of(file: Path) -> str:
    """The folder directly under the package that a file lies in."""
    return file.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize('file', IN_FOLDERS, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_folder_imports_only_those_above_it(file):
    """Rejects a layer that knows its search method, a space that knows its network, and every cycle."""
    folder = folder_of(file)
    assert folder in ORDER, f'{folder}: found a new folder, expected one of {ORDER}'
    allowed = {*ORDER[: ORDER.index(folder) + 1], *(('errors',) if folder == 'space' else COMMON)}
    found = folders_used(imports_of(file)) - allowed
    assert not found, f'{file.relative_to(PACKAGE)} imports {sorted(found)}, which stand below {folder}'


@pytest.mark.parametrize('file', [f for f in IN_FOLDERS if folder_of(f) == 'space'], ids=lambda f: f.name)
def test_the_space_imports_the_standard_library_only(file):
    """Rejects numpy or torch in the space, also inside a function, where no import test would meet it."""
    roots = {name.partition('.')[0] for name in imports_of(file)}
    assert roots <= {*sys.stdlib_module_names, 'mmnas_video'}


@pytest.mark.parametrize('name', COMMON)
def test_what_all_may_use_uses_none_of_them(name):
    """Rejects a registry that imports models: every folder imports the registry, so that is a cycle."""
    for file in (PACKAGE / name).glob('*.py') if (PACKAGE / name).is_dir() else [PACKAGE / f'{name}.py']:
        assert folders_used(imports_of(file)) <= set(COMMON), file


def test_every_folder_is_a_package():
    """Rejects a folder without ``__init__.py``: it works in a clone and is missing from what pip installs."""
    folders = {file.parent for file in FILES}
    assert [str(f.relative_to(PACKAGE)) for f in folders if not (f / '__init__.py').is_file()] == []


def test_only_tools_know_the_command_line():
    """Rejects a program of the library, which a notebook calls, that needs what only ``tools/`` have."""
    users = [str(file.relative_to(PACKAGE)) for file in FILES if 'command_line' in folders_used(imports_of(file))]
    assert users == []


def test_contributing_says_what_each_file_is_for():
    """Rejects a file beside the folders that a reader is not told of."""
    text = (PACKAGE.parent / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    names = [file.stem for file in PACKAGE.glob('*.py') if file.stem != '__init__']
    assert [name for name in names if f'`{name}`' not in text and f'`{name}.py`' not in text] == []


def test_everything_that_registers_is_imported_with_the_package():
    """Rejects a folder whose names a config knows only after a second custom import."""
    used = folders_used(imports_of(PACKAGE / '__init__.py'))
    assert {'models', 'search', 'datasets', 'visualization'} <= used


def test_nothing_is_called_by_the_words_we_avoid():
    """Rejects the words that users of other libraries had to ask about: say Choice, Space, Arch, Sampler."""
    named = [
        f'{file.relative_to(PACKAGE)}: {node.name}'
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and any(word in node.name.lower() for word in ('mutable', 'mutator'))
    ]
    assert named == []


@pytest.mark.parametrize(
    ('module', 'is_package', 'source', 'expected'),
    [
        ('mmnas_video.cost.a', False, 'import mmnas_video.models', {'models'}),
        ('mmnas_video.cost.a', False, 'from mmnas_video import models', {'models'}),
        ('mmnas_video.cost.a', False, 'from mmnas_video.models.x import Y', {'models'}),
        ('mmnas_video.cost.a', False, 'from ..models import y', {'models'}),
        ('mmnas_video.cost.a', False, 'from .. import models as m, space', {'models', 'space'}),
        ('mmnas_video.cost.a', False, 'from . import b', {'cost'}),
        ('mmnas_video.cost', True, 'from .b import c', {'cost'}),
        ('mmnas_video.cost', True, 'from ..search import c', {'search'}),
        ('mmnas_video.cost.a', False, 'def f():\n    import mmnas_video.search.x', {'search'}),
        ('mmnas_video.cost.a', False, 'import os, torch\nimport mmnas_videos.search', set()),
    ],
)
def test_the_reader_sees_every_way_to_import(module, is_package, source, expected):
    """Rejects a reader that misses relative, renamed or local imports, and lets all the tests above pass."""
    assert folders_used(imports(source, module, is_package)) == expected
