"""Arch and its file: frozen, typed, and refused with one clear error when the file is not one."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest

from mmnas_video.errors import ConfigError, RunError
from mmnas_video.space import Arch, Choice, SearchSpace, arch_from_json, arch_to_json, read_arch_file, write_text_atomic

IDENTITY = {'name': 'toy', 'hash': '0123456789abcdef'}


def text(arch='{"a": 1}', space='{"name": "toy", "hash": "00"}', format='"mmnas-video/arch@1"'):
    return f'{{"format": {format}, "space": {space}, "arch": {arch}}}'


def test_equality_and_hash_ignore_the_order_of_names():
    """Rejects a hash over ``items()`` in order: the same arch would be scored twice."""
    first, second = Arch({'a': 1, 'b': 'x'}), Arch({'b': 'x', 'a': 1})
    assert first == second and hash(first) == hash(second) and len({first, second}) == 1
    assert first != Arch({'a': 1, 'b': 'y'}) and first != Arch({'a': 1}) and first == {'a': 1, 'b': 'x'}


def test_an_arch_does_not_change():
    """Rejects an arch that shares the caller's dict, or whose ``replace`` writes into it: keys of caches
    would move.
    """
    values = {'a': 1, 'b': 2}
    arch = Arch(values)
    before = hash(arch)
    values['a'] = 7
    other = arch.replace({'b': 3})
    assert dict(arch) == {'a': 1, 'b': 2} and hash(arch) == before and dict(other) == {'a': 1, 'b': 3}
    with pytest.raises(TypeError):
        arch['a'] = 5


def test_the_hash_stays_in_its_process():
    """Rejects a pickled arch that carries its hash: those of strings differ between processes, so an arch that came
    from another one was equal to ours and in none of our sets."""
    arch = Arch({'a': 'x', 'b': 2})
    before = pickle.dumps(arch)
    assert hash(arch) and pickle.dumps(arch) == before
    assert pickle.loads(before) in {arch} and copy.deepcopy(arch) in {arch}


def test_file_keeps_the_types_of_values():
    """Rejects a round trip that makes 1.0 an integer, True a number, or 1 a string."""
    arch = Arch({'a': 1, 'b': 1.0, 'c': True, 'd': '1', 'e': None, 'f': 2.25, 'g': 'µ'})
    data = arch_from_json(arch_to_json(arch, IDENTITY, {'cost': {'macs': 5}}))
    assert isinstance(data['arch'], Arch) and data['space'] == IDENTITY and data['cost'] == {'macs': 5}
    assert [(k, type(v), v) for k, v in data['arch'].items()] == [(k, type(v), v) for k, v in arch.items()]


BAD = {
    'not JSON': ('{', 'not JSON'),
    'nothing': ('', 'not JSON'),
    'a list': ('[]', "format 'list'"),
    'no format': ('{}', 'format None'),
    'another format': (text(format='"mmnas-video/arch@2"'), "'mmnas-video/arch@2'.*'mmnas-video/arch@1'"),
    'no arch': ('{"format": "mmnas-video/arch@1", "space": {}}', "'arch' and 'space'"),
    'arch is a list': (text(arch='[1]'), "'arch' and 'space'"),
    'space is a string': (text(space='"toy"'), "'arch' and 'space'"),
    'a list as value': (text(arch='{"k": [1]}'), "'k' holds a list"),
    'an object as value': (text(arch='{"k": {}}'), "'k' holds a dict"),
    'a choice twice': (text(arch='{"k": 1, "k": 2}'), r"\['k'\] twice"),
    'a key twice': ('{"arch": {}, ' + text()[1:], r"\['arch'\] twice"),
    'NaN': (text(arch='{"k": NaN}'), 'NaN'),
    'Infinity': (text(arch='{"k": -Infinity}'), '-Infinity'),
    'an infinite exponent': (text(arch='{"k": 1e999}'), '1e999'),
    'too many digits': (text(arch='{"k": ' + '9' * 5000 + '}'), 'not JSON'),
    'deep': (text(arch='{"k": ' + '[' * 100_000 + ']' * 100_000 + '}'), 'not JSON'),
}


def test_an_arch_file_takes_the_space_itself():
    """Rejects a traceback for the natural argument."""
    space = SearchSpace('toy', [Choice('a', (1, 2))])
    assert arch_to_json(space.smallest, space) == arch_to_json(space.smallest, space.identity)


@pytest.mark.parametrize('name', BAD)
def test_a_text_that_is_no_arch_file(name, tmp_path):
    """Rejects a parser that takes the last of two equal keys, lets NaN in, or dies with anything but
    ConfigError.

    The error names the file: a person has several.
    """
    content, expected = BAD[name]
    path = tmp_path / 'x.json'
    path.write_text(content, encoding='utf-8')
    with pytest.raises(ConfigError, match=expected) as error:
        read_arch_file(path)
    assert str(path) in str(error.value) and len(str(error.value)) < 1000
    assert error.value.__suppress_context__ or error.value.__context__ is None, 'one error, not a chain'


def test_a_large_file_is_refused_unread(tmp_path, monkeypatch):
    """Rejects reading first: a wrong path may be a checkpoint of gigabytes."""
    path = tmp_path / 'weights.pth'
    path.write_text(text() + ' ' * 2_000_000)
    monkeypatch.setattr(Path, 'read_text', lambda *_, **__: pytest.fail('was read'))
    monkeypatch.setattr(Path, 'read_bytes', lambda *_: pytest.fail('was read'))
    size = path.stat().st_size
    with pytest.raises(ConfigError, match=rf'weights\.pth.*found {size} bytes, expected at most 1048576'):
        read_arch_file(path)


def test_other_bytes_missing_files_and_folders(tmp_path):
    """Rejects a UnicodeDecodeError, FileNotFoundError or IsADirectoryError that reaches the user."""
    path = tmp_path / 'latin1.json'
    path.write_bytes(text(arch='{"k": "é"}').encode('latin-1'))
    for where, what in ((path, 'not UTF-8'), (tmp_path / 'no.json', 'not found'), (tmp_path, 'not found')):
        with pytest.raises(ConfigError, match=what) as error:
            read_arch_file(where)
        assert str(where) in str(error.value)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    """Rejects ``path.write_text``: a search killed while it writes would leave half an arch file."""
    path = tmp_path / 'new' / 'arch.json'
    write_text_atomic(path, 'old ω')
    assert path.read_text(encoding='utf-8') == 'old ω'

    def killed(_):
        raise OSError('no space left')

    monkeypatch.setattr(os, 'fsync', killed)
    with pytest.raises(RunError, match=r'no space left.*is intact'):
        write_text_atomic(path, 'new')
    assert path.read_text(encoding='utf-8') == 'old ω'
    assert [p.name for p in path.parent.iterdir()] == ['arch.json'], 'the temporary file stays behind'


def test_an_arch_file_is_plain_json_that_others_can_read(tmp_path):
    """Rejects a file only its owner can read, and a format that other tools cannot."""
    path = tmp_path / 'arch.json'
    write_text_atomic(path, arch_to_json(Arch({'a': 1}), IDENTITY))
    assert path.stat().st_mode & 0o777 == 0o644
    expected = {'format': 'mmnas-video/arch@1', 'space': IDENTITY, 'arch': {'a': 1}}
    assert json.loads(path.read_text()) == expected
