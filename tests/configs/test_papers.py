"""docs/papers.md and the family's README name keys, files and commands that exist."""

import inspect
import re
from pathlib import Path

import pytest

from mmnas_video.models.backbones import SuperMBConv3D, SuperP3D, SuperTSNet, SuperViT
from mmnas_video.search import (
    ConflictAwareSearchHook,
    DARTSSearchHook,
    EntanglementSearchHook,
    EvolutionSearchHook,
    PARSECSearchHook,
    SearchHook,
)
from mmnas_video.search.indicator import Likelihood

ROOT = Path(__file__).parents[2]
PAPERS = (ROOT / 'docs' / 'papers.md').read_text(encoding='utf-8')
README = (ROOT / 'configs' / 'autox3d' / 'README.md').read_text(encoding='utf-8')


def parameters(*functions):
    """Names of the arguments of constructors."""
    return {name for function in functions for name in inspect.signature(function).parameters}


def test_config_keys_in_the_table_exist():
    """Rejects a row whose key was renamed: what it says can be changed could then not be."""
    backbone = set(re.findall(r'`model\.backbone\.(\w+)`', PAPERS))
    known = parameters(SuperMBConv3D.__init__, SuperP3D.__init__, SuperTSNet.__init__, SuperViT.__init__)
    assert len(backbone) > 8 and backbone <= known, backbone
    hook = set(re.findall(r'`hook\.(\w+)(?:\.\w+)?`', PAPERS))
    hooks = (
        SearchHook,
        PARSECSearchHook,
        DARTSSearchHook,
        EvolutionSearchHook,
        EntanglementSearchHook,
        ConflictAwareSearchHook,
    )
    known = parameters(*(known.__init__ for known in hooks))
    assert len(hook) > 6 and hook <= known, hook
    assert 'hook.indicator.reduction' in PAPERS and 'reduction' in parameters(Likelihood.__init__)


def test_every_row_has_five_cells():
    """Rejects a row that lost a column (a '|' too few or too many shifts the key under another heading)."""
    rows = [line for line in PAPERS.split('\n') if line.startswith('|')]
    assert len(rows) > 40
    assert {line.count('|') for line in rows} == {6}


@pytest.mark.parametrize('name', sorted(p.name for p in (ROOT / 'configs' / 'autox3d').glob('*.py')))
def test_readme_names_every_config(name):
    """Rejects a config that nobody can find."""
    assert f'({name})' in README


def test_readme_links_and_commands_exist():
    """Rejects a link to a config that was renamed, and a command whose file is not there."""
    for link in re.findall(r'\]\(([^)#]+)', README):
        assert (ROOT / 'configs' / 'autox3d' / link).exists(), link
    for file in re.findall(r'(?:tools|configs)/[\w/]+\.py', README):
        assert (ROOT / file).is_file(), file
