"""Arch files from strangers: refused in bounded time and memory, with one short error."""

import json
import os
import pickle
import time
import tracemalloc
from pathlib import Path

import pytest

from mmnas_video.errors import ConfigError, shown
from mmnas_video.space import Choice, SearchSpace, arch_to_json, read_arch_file, read_genotype
from mmnas_video.space.files import MAX_BYTES

SPACE = SearchSpace('toy', [Choice('a', (2, 3)), Choice('b', ('x', 'y'))])
GOOD = arch_to_json(SPACE.smallest, SPACE.identity)
BIG = MAX_BYTES - 500


def with_arch(arch: str) -> str:
    return f'{{"format": "mmnas-video/arch@1", "space": {json.dumps(SPACE.identity)}, "arch": {arch}}}'


HOSTILE = {
    'a key 40,000 times': with_arch('{' + '"k": 1,' * 40_000 + '"k": 1}'),
    'many pairs of keys': with_arch('{' + ','.join(f'"{i % 20_000}": 1' for i in range(40_000)) + '}'),
    'a value of a megabyte': with_arch('{"a": 2, "b": "' + 'z' * BIG + '"}'),
    'a name of a megabyte': with_arch('{"a": 2, "b": "x", "' + 'z' * BIG + '": 1}'),
    'a format of a megabyte': '{"format": "' + 'z' * BIG + '"}',
    'a space of a megabyte': '{"format": "mmnas-video/arch@1", "space": {"name": "' + 'z' * BIG + '"}, "arch": {}}',
    'a key of a megabyte twice': '{"' + 'k' * 400_000 + '": 1, "' + 'k' * 400_000 + '": 2}',
    'a number of a megabyte': with_arch('{"a": ' + '9' * BIG + '}'),
    'a fraction of a megabyte': with_arch('{"a": 2.' + '9' * BIG + '}'),
    'an exponent of a megabyte': with_arch('{"a": 1e' + '9' * BIG + '}'),
    'a large integer': with_arch('{"a": ' + '9' * 4000 + ', "b": "x"}'),
    'lists in lists': with_arch('[' * (BIG // 2)),
    'objects in objects': with_arch('{"a":' * (BIG // 5)),
    'forty thousand choices': with_arch('{' + ','.join(f'"{i}": 1' for i in range(40_000)) + '}'),
    'half a surrogate': with_arch('{"a": "\\ud800", "b": "x"}'),
    'a list as value': with_arch('{"a": [2], "b": "x"}'),
    'null': 'null',
    'NaN': with_arch('{"a": NaN, "b": "x"}'),
    'a byte order mark': '\ufeff' + GOOD,
}


@pytest.mark.parametrize('name', HOSTILE)
def test_is_refused_in_bounded_time_and_memory(name, tmp_path):
    """Rejects a look for repeated keys that takes minutes (every key against every other), messages as long as the
    file, and anything but a ConfigError."""
    path = tmp_path / 'x.json'
    path.write_text(HOSTILE[name], encoding='utf-8')
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(ConfigError) as error:
            SPACE.read(str(path))
        seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seconds < 10 and peak < 200 * MAX_BYTES
    text = str(error.value)
    assert str(path) in text and len(text) < 1500
    text.encode('utf-8')  # else it could not be printed


def test_a_gigabyte_is_not_read(tmp_path, monkeypatch):
    """A sparse file of 1 GB, and one that grows after it was looked at. Rejects reading first and measuring then."""
    path = tmp_path / 'x.json'
    with open(path, 'wb') as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(ConfigError, match='found 1073741824 bytes, expected at most 1048576'):
        read_arch_file(path)
    real, small = Path.stat, tmp_path / 'small'
    small.write_text('{}')
    monkeypatch.setattr(Path, 'stat', lambda self, **kwargs: real(small, **kwargs))
    with pytest.raises(ConfigError, match='found 1048577 bytes'):
        read_arch_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MAX_BYTES


def test_what_is_no_file(tmp_path):
    """A pipe (reading it would wait for ever), a device without end, a folder, a name that no system takes. Rejects a
    hang and a bare OSError."""
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', '/dev/zero', tmp_path, 'x' * 5000, 'a\0b'):
        with pytest.raises(ConfigError, match=r'not found|cannot be read'):
            read_arch_file(path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """One error with the reason (the permission itself does not stop the administrator, who may run this)."""
    path = tmp_path / 'x.json'
    path.write_text(GOOD)

    def refused(*_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('builtins.open', refused)
    with pytest.raises(ConfigError, match=r'x\.json.*cannot be read \(Permission denied\)'):
        read_arch_file(path)


@pytest.mark.parametrize(
    'content',
    [
        {'format': 'mmnas-video/arch@1', 'arch': {'a': 2, 'b': 'x'}},
        {'format': 'mmnas-video/arch@1', 'arch': [1], 'space': SPACE.identity},
        {'format': 'mmnas-video/arch@1', 'arch': {'a': 2, 'b': 'x'}, 'space': 'toy'},
        {'a': [2], 'b': {'x': 1}},
        {1: 2},
        5,
        None,
    ],
)
def test_content_in_a_config(content):
    """An arch file's content, or bare values, pasted into a config and mangled. Rejects a bare KeyError."""
    with pytest.raises(ConfigError, match=r'model\.backbone\.arch'):
        SPACE.read(content, 'model.backbone.arch')


@pytest.mark.parametrize('patterns', [5, 'a', ['a'], {1: 2}])
def test_patterns_of_another_kind(patterns):
    """``fixed`` of a backbone. Rejects an AttributeError."""
    with pytest.raises(ConfigError, match=r'model\.backbone\.fixed: found'):
        SPACE.match(patterns, 'model.backbone.fixed')


def test_a_genotype_file_is_treated_likewise(tmp_path):
    """The other file that a person may be handed."""
    path = tmp_path / 'g.json'
    path.write_text('{"format": "mmnas-video/genotype@1", "nodes": [["' + 'z' * BIG + '"]]}')
    with pytest.raises(ConfigError) as error:
        read_genotype(str(path))
    assert len(str(error.value)) < 1500


def test_no_message_is_without_end():
    """Rejects an error that quotes a whole value as a list of its letters (found by mutating configs), one whose
    beginning or end, which say where and what to do, is lost, and one that a worker process cannot send."""
    error = ConfigError('backbone.sparse: found the keys ' + str(list('z' * 10**5)) + ', expected none')
    assert str(error).startswith('backbone.sparse: found') and str(error).endswith(', expected none')
    assert len(str(error)) < 2600
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(ConfigError('short')) == 'short'


def test_shown_is_short():
    """Rejects a message that holds what it refuses, and an integer that Python itself refuses to print."""
    assert shown('ab') == "'ab'" and shown([1, 'x']) == "[1, 'x']"
    for value in ('z' * 10**6, list(range(10**5)), {'a': 'z' * 10**6}, 10**5000, [10**5000]):
        assert len(shown(value)) < 250
