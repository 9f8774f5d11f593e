"""No network notes something down for every architecture that it has been."""

import ast
import random
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.entangle import find_searchable
from mmnas_video.registry import MODELS
from mmnas_video.testing import table_entries

ROOT = Path(__file__).parents[2]
MODEL_CONFIGS = ROOT / 'configs' / '_base_' / 'models'
DEMOS = ('super_mbconv3d_demo.py', 'super_tsnet_demo.py', 'super_vit_demo.py', 'super_p3d_demo.py')


def visit(searchable, shape, rng, number):
    """Ask ``number`` random architectures for what a search asks: cost, slices, the canonical one, the windows."""
    for _ in range(number):
        arch = searchable.space.sample(rng)
        searchable.cost(arch, shape)
        searchable.canonical(arch)
        list(searchable.slices(arch))
        with searchable.use(arch):
            pass


@pytest.mark.parametrize('demo', DEMOS)
def test_tables_stand_still(demo):
    """What 300 architectures have left, 600 have too (but for a few values not met before). Rejects a table whose key
    is the architecture: an entry more for each."""
    init_default_scope('mmaction')
    cfg = Config.fromfile(MODEL_CONFIGS / demo)
    _, searchable = find_searchable(MODELS.build(cfg.model))
    rng = random.Random(5)
    number = 100 if 'p3d' in demo else 300  # whose tables are made at once, and whose slices are many
    visit(searchable, tuple(cfg.cost_shape), rng, number)
    before = table_entries(searchable)
    visit(searchable, tuple(cfg.cost_shape), rng, number)
    assert table_entries(searchable) - before < number / 2


def test_the_count_sees_a_table():
    """Rejects a count that misses what a plain object of a module keeps."""
    init_default_scope('mmaction')
    cfg = Config.fromfile(MODEL_CONFIGS / DEMOS[0])
    _, searchable = find_searchable(MODELS.build(cfg.model))
    searchable.cost(searchable.space.smallest, tuple(cfg.cost_shape))
    (cost,) = searchable._closed_forms.values()
    before = table_entries(searchable)
    cost.table = {i: (i, i) for i in range(100)}
    assert table_entries(searchable) - before >= 300


def test_functions_are_cached_without_arguments_only():
    """``functools.cache`` on a function of an architecture is a table that nobody sees. Those of no argument hold one
    value."""
    for file in (ROOT / 'mmnas_video').rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            cached = [d for d in getattr(node, 'decorator_list', ()) if 'cache' in ast.unparse(d)]
            if cached and 'cached_property' not in ast.unparse(cached[0]):
                bounded = 'maxsize=' in ast.unparse(cached[0]) and 'None' not in ast.unparse(cached[0])
                named = node.args.args
                texts = all(arg.annotation and 'Arch' not in ast.unparse(arg.annotation) for arg in named)
                assert not named or bounded or texts, f'{file.name}: {node.name}'
