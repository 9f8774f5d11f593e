"""Configs as text."""

import glob

import pytest
from mmengine.config import Config
from mmengine.hooks import IterTimerHook

from mmnas_video.registry import HOOKS
from mmnas_video.search.config_text import WIDTH, config_text

ODD = {
    'empty': [{}, [], ()],
    'one': (7,),
    'nested': [dict(type='A', b=[(1, 2), dict(c=None)]), 'x' * 90, ['y' * 40]],
    'keys': {'layer1.heads': 3, 'class': True, 5: 'five'},
    'limits': dict(high=float('inf'), low=-1e-7, words='it\'s "so"\n'),
}


def read_back(cfg, tmp_path):
    (tmp_path / 'config.py').write_text(config_text(cfg), encoding='utf-8')
    return Config.fromfile(tmp_path / 'config.py')


@pytest.mark.parametrize('file', ['', *sorted(glob.glob('configs/demo/*.py')), 'configs/vimnas/tiny_joint.py'])
def test_what_is_written_is_read_back(file, tmp_path):
    """Rejects keys that are no names, one-element tuples and numbers without end written as Python does not read them,
    items lost or sorted where a line is broken, and lines that run on though they could be broken."""
    cfg = Config.fromfile(file) if file else Config(ODD)
    again = read_back(cfg, tmp_path)
    assert again.to_dict() == cfg.to_dict() and list(again.to_dict()) == list(cfg.to_dict())
    assert all(len(line) <= WIDTH or ' ' not in line.strip() for line in config_text(cfg).splitlines())


def test_a_line_is_broken_where_it_must_be_and_only_there():
    """Rejects one entry a line for all, and one line for all."""
    cfg = Config(dict(cost_shape=(3, 8, 32, 32), long=dict(a='x' * 70, b=dict(c='y' * 60, d=1))))
    assert config_text(cfg).splitlines() == [
        'cost_shape = (3, 8, 32, 32)',
        'long = dict(',
        f"    a='{'x' * 70}',",
        f"    b=dict(c='{'y' * 60}', d=1),",
        ')',
    ]


def test_a_class_is_written_by_the_name_that_finds_it(tmp_path):
    """Rejects ``<class '...'>``, which is no Python."""
    found = read_back(Config(dict(custom_hooks=[dict(type=IterTimerHook)])), tmp_path)
    assert HOOKS.get(found.custom_hooks[0].type) is IterTimerHook
