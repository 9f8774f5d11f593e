"""--cfg-options: MMAction2's syntax as it is, Python's literals beside it, and nothing lost or changed."""

import argparse

import pytest
from mmengine.config import DictAction

from mmnas_video.command_line import add_cfg_options
from mmnas_video.errors import ConfigError
from mmnas_video.visualization.commands import option

AS_BEFORE = ['3', '007', '2.5e9', 'true', 'None', 'a/b.json', '1,2', '[1, 2]', '[a,b]', '(1e9,2e9)', '(7)', '[]', '[x]']
AS_BEFORE += [
    '[(1, 2, 3), [a, b], c]',
    'x(1).json',
    'run[1]/arch.json',
    "it's",
    '',
    '[[1,2],[3]]',
    '[None,true]',
    'dict(a=3)',
]


def read(*words):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


@pytest.mark.parametrize('text', AS_BEFORE)
def test_what_mmaction2_reads_is_read_alike(text):
    """Rejects a list that becomes a tuple, a number or an element that becomes a string."""
    expected = DictAction._parse_iterable(text)
    value = read(f'a={text}')['a']
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('my videos/x.json', 'my videos/x.json'),
        ('[my videos, b]', ['my videos', 'b']),
        ("'run,1/arch.json'", 'run,1/arch.json'),
        ("'3'", '3'),
        ("'a b','c,d'", ['a b', 'c,d']),
        ("{'x': [1, (2,)]}", {'x': [1, (2,)]}),
        ("[{'type': 'T'}, {}]", [{'type': 'T'}, {}]),
        ('dict(a=3, b=5)', 'dict(a=3, b=5)'),
        ('a=b', 'a=b'),
    ],
)
def test_nothing_is_lost(text, value):
    """Rejects MMEngine's: blanks left out, a quoted comma that splits, a dict or a call on which it never ends."""
    found = read(f'key={text}')['key']
    assert found == value and type(found) is type(value)


def test_options_come_together_and_the_last_one_stands():
    """Rejects options of a second --cfg-options alone."""
    assert read('a=1', 'b=2', '--cfg-options', 'b=3') == {'a': 1, 'b': 3}


@pytest.mark.parametrize('word', ['foo', '=3', 'a=[1,2', 'a=1,2]', 'a=(1,[2)'])
def test_what_is_no_option_is_refused(word):
    """Rejects a ValueError or AssertionError as a traceback."""
    with pytest.raises(ConfigError, match=r'--cfg-options.*found'):
        read(word)


@pytest.mark.parametrize(
    'value', ['a b', 'run,1/x.json', "it's, a", '3', '007', ' true', 'nan', 7, None, [1, 'a,b'], {'x': (1,)}, 'x[1]']
)
def test_the_reports_own_commands_mean_what_they_say(value):
    """Rejects a path with a comma that comes back as a list, and a string that comes back as a number."""
    found = read(option('key', value))['key']
    assert found == value and type(found) is type(value)
